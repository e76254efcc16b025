// SPDX-License-Identifier: MIT

import DeepEP
import Testing

@Suite("Membership in simulation")
struct MembershipSimulationTests {
    @Test("all that remain act on the same mask in every step, and go on", arguments: 0..<10 as Range<UInt64>)
    func deaths(part: UInt64) throws {
        for seed in part * 1000..<(part + 1) * 1000 { _ = try MembershipSimulation.run(seed: seed) }
    }

    @Test("ranks that are thought to be lost and are not do not part the others", arguments: 0..<10 as Range<UInt64>)
    func errors(part: UInt64) throws {
        var expelled = 0
        for seed in part * 1000..<(part + 1) * 1000 {
            expelled += try MembershipSimulation.run(seed: seed, errs: true).expelled
        }
        #expect(expelled > 0)
    }

    @Test("a seed replays")
    func replay() throws {
        #expect(try MembershipSimulation.run(seed: 4, errs: true) == MembershipSimulation.run(seed: 4, errs: true))
    }
}
