// SPDX-License-Identifier: MIT

import DeepEP
import LowPrecision
import Platform
import TestSupport
import Testing

@Suite("Reference exchange")
struct ReferenceTests {
    @Test("every choice arrives once, in order of source rank and token", arguments: 0..<100 as Range<UInt64>)
    func everyChoice(seed: UInt64) throws {
        let group = try TestGroup(seed: seed)
        let received = try ReferenceExchange(placement: group.placement, selections: group.selections)
            .dispatch(group.rows)
        var choices = 0
        for (rank, tokens) in received.enumerated() {
            let own = group.placement.experts(of: rank)
            let order = tokens.map { $0.sourceRank << 32 | $0.sourceToken }
            #expect(zip(order, order.dropFirst()).allSatisfy { $0 < $1 })
            for token in tokens {
                let source = group.selections[token.sourceRank]
                #expect(token.row == group.rows[token.sourceRank][token.sourceToken])
                for (choice, local) in zip(source.choices(of: token.sourceToken), token.localExperts) {
                    #expect(local == (own.contains(Int(choice)) ? choice - Int32(own.lowerBound) : -1))
                    choices += local >= 0 ? 1 : 0
                }
            }
        }
        #expect(choices == group.selections.reduce(0) { $0 + $1.experts.count { $0 >= 0 } })
    }

    @Test("what comes back unchanged is the row times its number of ranks, plus the bias")
    func identity() throws {
        let placement = try ExpertPlacement(rankCount: 4, ranksPerNode: 2, expertCount: 8)
        let selection = try TopKSelection(topK: 3, experts: [0, 3, 7, -1, -1, -1], weights: [1, 2, 3, 4, 5, 6])
        let empty = try TopKSelection(topK: 3, experts: [], weights: [])
        let reference = try ReferenceExchange(placement: placement, selections: [selection, empty, empty, empty])
        let received = reference.dispatch([[TestGroup.bytes([1, 2]), TestGroup.bytes([5, 6])], [], [], []])
        let returned = received.map { $0.map { TestGroup.numbers($0.row) } }
        for way in ReferenceExchange.Way.allCases {
            let sums = reference.combine(
                returned, biases: [[[[0.5, 0.25], [0.5, 0.25]]], [], [], []], hidden: 2, way: way, rounded: true)
            #expect(sums[0] == [[3.5, 6.25], [0.5, 0.25]])
        }
        #expect(reference.combineWeights(received.map { $0.map(\.weights) })[0] == [[1, 2, 3], [0, 0, 0]])
    }

    @Test("two hops round twice")
    func roundings() throws {
        let placement = try ExpertPlacement(rankCount: 4, ranksPerNode: 2, expertCount: 4)
        let selection = try TopKSelection(topK: 4, experts: [0, 1, 2, 3])
        let empty = try TopKSelection(topK: 4, experts: [])
        let reference = try ReferenceExchange(placement: placement, selections: [selection, empty, empty, empty])
        // 256 + 1 is halfway between two BF16 numbers and falls to 256; all four together are 258.
        let returned: [[[Float]]] = [[[256]], [[1]], [[0.5]], [[0.5]]]
        let none: [[[[Float]]]] = [[], [], [], []]
        #expect(reference.combine(returned, biases: none, hidden: 1, way: .direct, rounded: true)[0] == [[258]])
        #expect(reference.combine(returned, biases: none, hidden: 1, way: .twoHop, rounded: true)[0] == [[256]])
    }
}
