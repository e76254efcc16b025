// SPDX-License-Identifier: MIT

import DeepEP
import Testing

@Suite("Normal dispatch and combine in simulation")
struct ExchangeSimulationTests {
    @Test("no deadlock, no lost or doubled token, no slot read too early", arguments: 0..<20 as Range<UInt64>)
    func schedules(part: UInt64) throws {
        for seed in part * 500..<(part + 1) * 500 { _ = try ExchangeSimulation.run(seed: seed) }
    }

    @Test("a death holds up nobody but those who wait for the dead", arguments: 0..<5 as Range<UInt64>)
    func deaths(part: UInt64) throws {
        for seed in part * 500..<(part + 1) * 500 { _ = try ExchangeSimulation.run(seed: seed, dies: true) }
    }

    @Test("a seed replays")
    func replay() throws {
        #expect(try ExchangeSimulation.run(seed: 42) == ExchangeSimulation.run(seed: 42))
    }
}
