// SPDX-License-Identifier: MIT

import EPLB
import Platform
import TestSupport
import Testing

@Suite("Options beyond the original")
struct OptionTests {
    @Test("replicas are apart when asked, or an error says why they cannot be", arguments: 0..<400)
    func apart(seed: Int) throws {
        var random = RandomNumbers(seed: UInt64(seed) &+ 77)
        let experts = 1 + random.number(below: 12)
        let shape = randomShape(experts: experts, divides: seed % 2 == 0, &random)
        let loads = try randomLoads(layers: 2, experts: experts, seed: UInt64(seed))
        let options = RebalanceOptions(separatesReplicas: true, swapLimit: seed % 3 * 20)
        do throws(FathomError) {
            let placement = try rebalanceExperts(loads, on: shape, options: options)
            #expect(placement.faults.isEmpty)
            #expect(try placement.quality(under: loads).crowdedRankCount == 0)
            #expect(placement.policy == .global || placement.splitGroupCount == 0)
        } catch {
            #expect(error.code == .usage && error.message.contains("replicas: found \(shape.replicaCount)"))
            // Globally it is impossible only with more slots than pairs of expert and rank.
            let isGlobal = (try? rebalanceExperts(loads, on: shape))?.policy == .global
            #expect(!isGlobal || shape.replicaCount > experts * shape.rankCount)
        }
    }

    @Test("the original's plan has crowded ranks where the separated one has none")
    func crowded() throws {
        let loads = try ExpertLoads([[90, 132, 40, 61, 104, 165, 39, 4, 73, 56, 183, 86]])
        let shape = PlacementShape(replicaCount: 16, groupCount: 4, nodeCount: 3, rankCount: 8)
        let original = try rebalanceExperts(loads, on: shape)
        #expect(try original.quality(under: loads).crowdedRankCount == 1)
        let best = try rebalanceExperts(loads, on: shape, options: .best)
        #expect(try best.quality(under: loads).crowdedRankCount == 0)
        let cost = try best.quality(under: loads).balancedness / original.quality(under: loads).balancedness
        #expect(cost > 0.95)
    }

    @Test("what cannot be separated is an error that names the counts")
    func impossible() throws {
        let loads = try ExpertLoads([[3, 1]])
        expectFailure(.usage, naming: ["replicas", "6", "2 experts", "2 gpus", "4"]) { () throws(FathomError) in
            _ = try rebalanceExperts(
                loads, on: PlacementShape(replicaCount: 6, rankCount: 2), options: .init(separatesReplicas: true))
        }
    }

    @Test("exchanges never make the fullest rank fuller, and mostly make it emptier")
    func exchanges() throws {
        var gains = 0
        for seed in 0..<30 {
            let loads = try randomLoads(layers: 3, experts: 32, seed: UInt64(seed))
            let shape = PlacementShape(replicaCount: 48, groupCount: 4, nodeCount: 2, rankCount: 8)
            let plain = try rebalanceExperts(loads, on: shape).quality(under: loads)
            let swapped = try rebalanceExperts(loads, on: shape, options: .init(swapLimit: 200)).quality(under: loads)
            #expect(zip(swapped.largestLoads, plain.largestLoads).allSatisfy { $0 <= $1 * (1 + 1e-6) })
            if swapped.balancedness > plain.balancedness * (1 + 1e-6) { gains += 1 }
        }
        #expect(gains > 10)
    }

    @Test("spreading over nodes leaves the ranks' loads and makes no expert harder to reach")
    func spread() throws {
        for seed in 0..<20 {
            let loads = try randomLoads(layers: 3, experts: 24, seed: UInt64(seed))
            let shape = PlacementShape(replicaCount: 48, groupCount: 1, nodeCount: 4, rankCount: 16)
            let plain = try rebalanceExperts(loads, on: shape)
            let spread = try rebalanceExperts(loads, on: shape, options: .init(spreadsOverNodes: true))
            #expect(plain.policy == .global)
            #expect(spread.faults.isEmpty)
            for layer in 0..<3 {
                let range = layer * 16..<(layer + 1) * 16
                #expect(
                    try spread.rankLoads(under: loads)[range].sorted() == plain.rankLoads(under: loads)[range].sorted())
            }
            let before = try plain.quality(under: loads).nodeLocality
            let after = try spread.quality(under: loads).nodeLocality
            #expect(after >= before * 0.999, "\(before) \(after)")
        }
    }

    @Test("policies are as asked for, and hierarchical says when it is impossible")
    func policies() throws {
        let loads = try randomLoads(layers: 1, experts: 12, seed: 5)
        var shape = PlacementShape(replicaCount: 16, groupCount: 4, nodeCount: 2, rankCount: 8)
        #expect(try rebalanceExperts(loads, on: shape, options: .init(policy: .global)).policy == .global)
        shape.nodeCount = 3
        #expect(try rebalanceExperts(loads, on: shape).policy == .global)
        shape.replicaCount = 24
        let forced = try rebalanceExperts(loads, on: shape, options: .init(policy: .hierarchical))
        #expect(forced.policy == .hierarchical && forced.splitGroupCount == 0 && forced.faults.isEmpty)
        shape.replicaCount = 12
        expectFailure(.usage, naming: ["hierarchical", "replicas", "12", "node"]) { () throws(FathomError) in
            _ = try rebalanceExperts(loads, on: shape, options: .init(policy: .hierarchical))
        }
        shape.nodeCount = 5
        expectFailure(.usage, naming: ["nodes", "5", "4"]) { () throws(FathomError) in
            _ = try rebalanceExperts(loads, on: shape, options: .init(policy: .hierarchical))
        }
    }
}
