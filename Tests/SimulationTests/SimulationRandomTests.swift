// SPDX-License-Identifier: MIT

import Simulation
import Testing

@Suite("Random numbers of simulations")
struct SimulationRandomTests {
    @Test("the same seed gives the same numbers, another seed others")
    func seeds() {
        var a = SimulationRandom(seed: 7)
        var b = SimulationRandom(seed: 7)
        var c = SimulationRandom(seed: 8)
        let first = (0..<8).map { _ in a.next() }
        #expect(first == (0..<8).map { _ in b.next() })
        #expect(first != (0..<8).map { _ in c.next() })
    }
}
