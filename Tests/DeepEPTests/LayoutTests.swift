// SPDX-License-Identifier: MIT

import DeepEP
import Platform
import TestSupport
import Testing

@Suite("Layout from top-k choices")
struct LayoutTests {
    @Test("experts lie in blocks, and the inverse finds their rank", arguments: [1, 2, 3, 5, 8, 13])
    func placement(ranks: Int) throws {
        for experts in [1, 2, 7, 8, 64, 257] {
            let placement = try ExpertPlacement(rankCount: ranks, ranksPerNode: 4, expertCount: experts)
            var next = 0
            for rank in 0..<ranks {
                #expect(placement.experts(of: rank).lowerBound == next)
                for expert in placement.experts(of: rank) { #expect(placement.rank(ofExpert: expert) == rank) }
                next = placement.experts(of: rank).upperBound
                #expect(placement.ranks(ofNode: placement.node(of: rank)).contains(rank))
            }
            #expect(next == experts)
        }
    }

    @Test("counts are those of brute force", arguments: 0..<200 as Range<UInt64>)
    func counts(seed: UInt64) throws {
        let group = try TestGroup(seed: seed)
        for selection in group.selections {
            let layout = try DispatchLayout(selection, placement: group.placement)
            for expert in 0..<group.placement.expertCount {
                #expect(layout.tokensPerExpert[expert] == selection.experts.count { $0 == expert })
            }
            for rank in 0..<group.placement.rankCount {
                let own = group.placement.experts(of: rank)
                let tokens = (0..<selection.tokenCount).filter { token in
                    selection.choices(of: token).contains { own.contains(Int($0)) }
                }
                #expect(layout.tokensPerRank[rank] == tokens.count)
                for token in 0..<selection.tokenCount {
                    #expect(layout.isToken(token, inRank: rank) == tokens.contains(token))
                }
            }
            for node in 0..<group.placement.nodeCount {
                let ranks = group.placement.ranks(ofNode: node)
                let tokens = (0..<selection.tokenCount).count { token in
                    ranks.contains { layout.isToken(token, inRank: $0) }
                }
                #expect(layout.tokensPerNode[node] == tokens)
            }
        }
    }

    @Test("an id that is no expert is an error that names the token", arguments: [-2, 8, 1000] as [Int32])
    func badIds(id: Int32) throws {
        let placement = try ExpertPlacement(rankCount: 2, expertCount: 8)
        let selection = try TopKSelection(topK: 2, experts: [0, 1, 2, id])
        let error = #expect(throws: FathomError.self) { try DispatchLayout(selection, placement: placement) }
        #expect(error?.code == .badData)
        #expect(error?.message.contains("token 1, choice 1: expert \(id)") == true)
    }

    @Test("shapes that do not fit are errors")
    func badShapes() {
        #expect(throws: FathomError.self) { try TopKSelection(topK: 3, experts: [0, 1]) }
        #expect(throws: FathomError.self) { try TopKSelection(topK: 1, experts: [0, 1], weights: [1]) }
        #expect(throws: FathomError.self) { try ExpertPlacement(rankCount: 0, expertCount: 1) }
        #expect(throws: FathomError.self) { try RowFormat(hidden: 0, element: .bfloat16) }
    }
}
