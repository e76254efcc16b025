// SPDX-License-Identifier: MIT

import EPLB
import Platform
import TestSupport
import Testing

@Suite("Placements")
struct PlacementTests {
    @Test("the planner equals its definition where counts divide", arguments: 0..<300)
    func definition(seed: Int) throws {
        var random = RandomNumbers(seed: UInt64(seed))
        let experts = 1 + random.number(below: 24)
        let shape = randomShape(experts: experts, divides: true, &random)
        let loads = try randomLoads(layers: 2, experts: experts, seed: UInt64(seed))
        let placement = try rebalanceExperts(loads, on: shape)
        let reference = (0..<2).flatMap { referencePlan(Array(loads.layer($0)), on: shape) }
        #expect(placement.physicalToLogical.map { Int($0) } == reference.map(\.expert))
        #expect(placement.replicaIndices.map { Int($0) } == reference.map(\.replica))
        #expect(placement.faults.isEmpty)
        let isHierarchical = shape.groupCount.isMultiple(of: shape.nodeCount)
        #expect(placement.policy == (isHierarchical ? .hierarchical : .global))
        #expect(!isHierarchical || placement.splitGroupCount == 0)
    }

    @Test("any counts are placed, with every option, the same way each time", arguments: 0..<300)
    func anyCounts(seed: Int) throws {
        var random = RandomNumbers(seed: UInt64(seed) &+ 1000)
        let experts = 1 + random.number(below: 24)
        let shape = randomShape(experts: experts, divides: false, &random)
        let loads = try randomLoads(layers: 2, experts: experts, seed: UInt64(seed))
        let options = RebalanceOptions(
            separatesReplicas: seed % 2 == 1 && shape.replicaCount <= experts, swapLimit: seed % 3 * 10,
            spreadsOverNodes: seed % 5 == 0)
        let placement = try rebalanceExperts(loads, on: shape, options: options)
        #expect(placement.faults.isEmpty)
        #expect(placement.policy == .global || placement.splitGroupCount == 0)
        #expect(try rebalanceExperts(loads, on: shape, options: options) == placement)
        let slots = (0..<shape.rankCount).map { shape.slots(ofRank: $0).count }
        #expect(slots.reduce(0, +) == shape.replicaCount)
        #expect((slots.max() ?? 0) - (slots.min() ?? 0) <= 1)
    }

    @Test("shares tile, differ by at most one, and know their owners")
    func shares() {
        for (replicas, ranks, nodes) in [(7, 3, 2), (288, 144, 18), (5, 8, 3), (13, 5, 5), (1, 1, 1)] {
            let shape = PlacementShape(replicaCount: replicas, nodeCount: nodes, rankCount: ranks)
            #expect((0..<ranks).flatMap { Array(shape.slots(ofRank: $0)) } == Array(0..<replicas))
            #expect((0..<nodes).flatMap { Array(shape.ranks(ofNode: $0)) } == Array(0..<ranks))
            for slot in 0..<replicas { #expect(shape.slots(ofRank: shape.rank(ofSlot: slot)).contains(slot)) }
            for rank in 0..<ranks { #expect(shape.ranks(ofNode: shape.node(ofRank: rank)).contains(rank)) }
        }
    }

    @Test("all small loads: no counts are better, no packing is better by more than a third", arguments: 1...4)
    func bounds(experts: Int) throws {
        let values: [Float] = [0, 1, 2, 3, 7]
        let cases = (0..<experts).reduce(1) { count, _ in count * values.count }
        for number in 0..<cases {
            var rest = number
            let row = (0..<experts).map { _ in
                defer { rest /= values.count }
                return values[rest % values.count]
            }
            for replicas in experts...experts + 3 {
                for ranks in 1...replicas where replicas.isMultiple(of: ranks) {
                    try checkBounds(row, PlacementShape(replicaCount: replicas, rankCount: ranks))
                }
            }
        }
    }

    private func checkBounds(_ row: [Float], _ shape: PlacementShape) throws {
        let loads = try ExpertLoads([row])
        let placement = try rebalanceExperts(loads, on: shape)
        let shares = zip(row, placement.replicaCounts).map { Double($0) / Double($1) }
        let replicaBest = Self.smallestLargestShare(row, shape.replicaCount)
        #expect(abs((shares.max() ?? 0) - replicaBest) <= replicaBest * 1e-6)
        // Exchanges come between the plain packing and the best one.
        let fullest = try placement.rankLoads(under: loads).max() ?? 0
        let best = Self.smallestLargestRank(row, placement.replicaCounts, shape.rankCount)
        let refined = try rebalanceExperts(loads, on: shape, options: .init(swapLimit: 100))
        let refinedFullest = try refined.rankLoads(under: loads).max() ?? 0
        #expect(refinedFullest >= best * (1 - 1e-6))
        #expect(fullest >= refinedFullest * (1 - 1e-6))
        #expect(fullest <= best * 4 / 3 * (1 + 1e-6), "\(row) \(shape)")
    }

    /// Over all ways to give out replicas, the smallest largest share.
    private static func smallestLargestShare(_ loads: [Float], _ replicas: Int) -> Double {
        func search(_ expert: Int, _ left: Int) -> Double {
            if expert == loads.count { return left == 0 ? 0 : .infinity }
            let most = left - (loads.count - expert - 1)
            guard most >= 1 else { return .infinity }
            return (1...most).map { max(Double(loads[expert]) / Double($0), search(expert + 1, left - $0)) }.min()
                ?? .infinity
        }
        return search(0, replicas)
    }

    /// Over all ways to pack these replicas, the smallest largest rank load.
    private static func smallestLargestRank(_ loads: [Float], _ counts: [Int32], _ ranks: Int) -> Double {
        let items = zip(loads, counts).flatMap { [Double](repeating: Double($0) / Double($1), count: Int($1)) }
        let room = items.count / ranks
        var sums = [Double](repeating: 0, count: ranks)
        var fills = [Int](repeating: 0, count: ranks)
        func search(_ item: Int) -> Double {
            if item == items.count { return sums.max() ?? 0 }
            var best = Double.infinity
            for rank in 0..<ranks where fills[rank] < room {
                sums[rank] += items[item]
                fills[rank] += 1
                best = min(best, search(item + 1))
                sums[rank] -= items[item]
                fills[rank] -= 1
                // Empty ranks are alike.
                if fills[rank] == 0 { break }
            }
            return best
        }
        return search(0)
    }

    @Test("zero loads give the further replicas to the first expert, equal loads one to each")
    func ties() throws {
        let shape = PlacementShape(replicaCount: 8, rankCount: 4)
        let zeros = try rebalanceExperts(try ExpertLoads([[0, 0, 0, -0.0]]), on: shape)
        #expect(zeros.replicaCounts == [5, 1, 1, 1])
        let equal = try rebalanceExperts(try ExpertLoads([[7, 7, 7, 7]]), on: shape)
        #expect(equal.replicaCounts == [2, 2, 2, 2])
    }
}
