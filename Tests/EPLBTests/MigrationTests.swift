// SPDX-License-Identifier: MIT

import EPLB
import Platform
import TestSupport
import Testing

@Suite("Migration")
struct MigrationTests {
    private static let shapes = [
        PlacementShape(replicaCount: 48, groupCount: 4, nodeCount: 2, rankCount: 8),
        PlacementShape(replicaCount: 48, groupCount: 1, nodeCount: 4, rankCount: 12),
        PlacementShape(replicaCount: 45, groupCount: 3, nodeCount: 2, rankCount: 7),
    ]

    /// Loads, and the same with some experts lighter or heavier by up to a half.
    private static func drift(_ seed: Int) throws -> (ExpertLoads, ExpertLoads) {
        let before = try randomLoads(layers: 4, experts: 32, seed: UInt64(seed))
        var random = RandomNumbers(seed: UInt64(seed) &+ 9)
        let values = before.values.map { $0 * (0.5 + Float(random.number(below: 100)) / 100) }
        return (before, try ExpertLoads(layerCount: 4, expertCount: 32, values: values))
    }

    @Test("the balance is within the slack, and the more slack, the fewer bytes", arguments: 0..<30)
    func slack(seed: Int) throws {
        let (before, after) = try Self.drift(seed)
        let shape = Self.shapes[seed % 3]
        let options = RebalanceOptions(separatesReplicas: seed % 2 == 0, swapLimit: 50)
        let previous = try rebalanceExperts(before, on: shape, options: options)
        let scratch = try rebalanceExperts(after, on: shape, options: options)
            .migration(from: previous, bytesPerExpert: 100)
        var bytes = Int.max
        for slack in [0, 0.02, 0.1, 0.5, 10] {
            let plan = try rebalanceExperts(
                after, from: previous, groupCount: shape.groupCount,
                terms: MigrationTerms(bytesPerExpert: 100, slack: slack), options: options)
            #expect(plan.placement.faults.isEmpty)
            #expect(plan.placement.policy == .global || plan.placement.splitGroupCount == 0)
            #expect(!options.separatesReplicas || plan.quality.crowdedRankCount == 0)
            for (load, fresh) in zip(plan.quality.largestLoads, plan.freshQuality.largestLoads) {
                #expect(load <= fresh * (1 + slack) * (1 + 1e-9))
            }
            #expect(plan.cost == (try plan.placement.migration(from: previous, bytesPerExpert: 100)))
            #expect(plan.cost.bytes <= scratch.bytes)
            // Steps are taken one by one, so that a little more slack may cost a copy more.
            #expect(plan.cost.bytes <= bytes)
            bytes = plan.cost.bytes + plan.cost.bytes / 5 + 200
        }
        #expect(bytes == 200)
    }

    @Test("no more bytes move than may, and each of them helps", arguments: 0..<20)
    func budget(seed: Int) throws {
        let (before, after) = try Self.drift(seed)
        let shape = Self.shapes[seed % 3]
        let previous = try rebalanceExperts(before, on: shape)
        var balancedness = 0.0
        for copies in [0, 1, 3, 10, 1000] {
            let plan = try rebalanceExperts(
                after, from: previous, groupCount: shape.groupCount,
                terms: MigrationTerms(bytesPerExpert: 10, slack: 0, maximumBytes: copies * 10 + 9))
            #expect(plan.cost.bytes <= copies * 10)
            for (load, earlier) in zip(plan.quality.largestLoads, plan.previousQuality.largestLoads) {
                #expect(load <= earlier * (1 + 1e-9))
            }
            if copies == 0 { #expect(plan.cost == MigrationCost()) }
            balancedness = plan.quality.balancedness
        }
        #expect(balancedness > 0)
    }

    @Test("the same loads move nothing")
    func still() throws {
        for shape in Self.shapes {
            let loads = try randomLoads(layers: 3, experts: 32, seed: 4)
            let previous = try rebalanceExperts(loads, on: shape)
            let plan = try rebalanceExperts(
                loads, from: previous, groupCount: shape.groupCount, terms: MigrationTerms(slack: 0))
            #expect(plan.cost == MigrationCost())
            #expect(plan.placement.physicalToLogical == previous.physicalToLogical)
        }
    }

    @Test("bytes count each expert that a rank did not hold, by where the nearest copy was")
    func cost() throws {
        let shape = PlacementShape(replicaCount: 8, nodeCount: 2, rankCount: 4)
        let before = try ExpertPlacement(expertCount: 6, shape: shape, physicalToLogical: [[0, 1, 2, 3, 4, 5, 0, 0]])
        let after = try ExpertPlacement(expertCount: 6, shape: shape, physicalToLogical: [[1, 0, 0, 3, 1, 4, 2, 5]])
        // Rank 1 gets expert 0 from rank 0; rank 2 expert 1 and rank 3 expert 2 from the other node, 5 from rank 2.
        let cost = try after.migration(from: before, bytesPerExpert: 7)
        #expect(cost.copiesWithinNodes == 2 && cost.copiesAcrossNodes == 2)
        #expect(cost.bytesWithinNodes == 14 && cost.bytesAcrossNodes == 14 && cost.bytes == 28)
    }

    @Test("a placement in force is checked")
    func misuse() throws {
        let shape = PlacementShape(replicaCount: 4, rankCount: 2)
        func placement(_ rows: [[Int]]) throws(FathomError) -> ExpertPlacement {
            try ExpertPlacement(expertCount: 3, shape: shape, physicalToLogical: rows)
        }
        expectFailure(.badData, naming: ["layer 1", "slot 2", "3"]) { () throws(FathomError) in
            _ = try placement([[0, 1, 2, 0], [0, 1, 3, 2]])
        }
        expectFailure(.badData, naming: ["layer 0", "expert 2"]) { () throws(FathomError) in
            _ = try placement([[0, 1, 1, 0]])
        }
        expectFailure(.badData, naming: ["layer 0", "3 slots"]) { () throws(FathomError) in
            _ = try placement([[0, 1, 2]])
        }
        let previous = try placement([[0, 1, 2, 0]])
        let loads = try ExpertLoads([[1, 2, 3], [1, 2, 3]])
        expectFailure(.usage, naming: ["2 layers", "legal"]) { () throws(FathomError) in
            _ = try rebalanceExperts(loads, from: previous)
        }
        let one = try ExpertLoads([[1, 2, 3]])
        expectFailure(.usage, naming: ["slack", "-1"]) { () throws(FathomError) in
            _ = try rebalanceExperts(one, from: previous, terms: MigrationTerms(slack: -1))
        }
        expectFailure(.usage, naming: ["bytes per expert", "0"]) { () throws(FathomError) in
            _ = try rebalanceExperts(one, from: previous, terms: MigrationTerms(bytesPerExpert: 0))
        }
        expectFailure(.usage, naming: ["maximum bytes", "-5"]) { () throws(FathomError) in
            _ = try rebalanceExperts(one, from: previous, terms: MigrationTerms(maximumBytes: -5))
        }
    }
}
