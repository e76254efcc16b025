// SPDX-License-Identifier: MIT

import DeepEP
import Platform
import Ranks
import TestSupport
import Testing

@Suite("Dispatch and combine on ranks", .timeLimit(.minutes(5)))
struct ExpertExchangeTests {
    @Test("threads give the reference's bits, whatever the queues", arguments: 0..<40 as Range<UInt64>)
    func threads(seed: UInt64) throws {
        var random = RandomNumbers(seed: seed)
        let twoHop = seed % 2 == 1
        let group = try TestGroup(seed: seed, evenNodes: twoHop)
        let ranks = group.placement.rankCount
        let narrow = random.number(below: 2) == 0
        let capacity = try ExchangeCapacity(
            landingRows: narrow ? ranks * 2 : 1000, relayRows: 1 + random.number(below: 4),
            returnRows: 1 + random.number(below: 4), chunkRows: 1 + random.number(below: 4), rankCount: ranks)
        let biasCount = random.number(below: 3)
        var biases: [[[[UInt8]]]] = []
        for selection in group.selections {
            biases.append(
                (0..<biasCount).map { _ in
                    (0..<selection.tokenCount).map { _ in TestGroup.bytes(random.normals(group.format.hidden)) }
                })
        }
        let exchange = TestExchange(group: group, twoHop: twoHop, capacity: capacity, biases: biases)
        let reference = try exchange.reference()
        let outcomes = try RankGroup.threads(try Topology(rankCount: ranks)) { ranks throws(FathomError) in
            try exchange.run(ranks)
        }
        for (rank, rounds) in outcomes.enumerated() {
            for outcome in rounds { #expect(outcome == reference[rank], "rank \(rank)") }
        }
    }
}
