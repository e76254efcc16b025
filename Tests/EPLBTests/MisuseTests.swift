// SPDX-License-Identifier: MIT

import EPLB
import Platform
import TestSupport
import Testing

@Suite("Misuse")
struct MisuseTests {
    @Test("a bad load is named by layer and expert", arguments: [Float.nan, .infinity, -.infinity, -1, -1e-30])
    func loads(value: Float) {
        expectFailure(.badData, naming: ["weight", "layer 1", "expert 2", "\(value)"]) { () throws(FathomError) in
            _ = try ExpertLoads([[1, 2, 3], [1, 2, value]])
        }
    }

    @Test("loads that are empty, ragged or too large together are errors")
    func extents() {
        expectFailure(.usage, naming: ["0 layers"]) { () throws(FathomError) in _ = try ExpertLoads([]) }
        expectFailure(.usage, naming: ["0 experts"]) { () throws(FathomError) in _ = try ExpertLoads([[]]) }
        expectFailure(.badData, naming: ["layer 1", "1", "2"]) { () throws(FathomError) in
            _ = try ExpertLoads([[1, 2], [1]])
        }
        expectFailure(.badData, naming: ["layer 0", "expert 1"]) { () throws(FathomError) in
            _ = try ExpertLoads([[1.2e38, 1.2e38]])
        }
        expectFailure(.usage, naming: ["5", "2", "3"]) { () throws(FathomError) in
            _ = try ExpertLoads(layerCount: 2, expertCount: 3, values: [1, 2, 3, 4, 5])
        }
    }

    @Test(
        "an impossible shape is named",
        arguments: [
            ("replicas", PlacementShape(replicaCount: 3, rankCount: 1)),
            ("replicas", PlacementShape(replicaCount: .max, rankCount: 1)),
            ("groups", PlacementShape(replicaCount: 4, groupCount: 0, rankCount: 1)),
            ("groups", PlacementShape(replicaCount: 4, groupCount: 5, rankCount: 1)),
            ("gpus", PlacementShape(replicaCount: 4, rankCount: 0)),
            ("gpus", PlacementShape(replicaCount: 4, rankCount: -1)),
            ("nodes", PlacementShape(replicaCount: 4, nodeCount: 0, rankCount: 2)),
            ("nodes", PlacementShape(replicaCount: 4, nodeCount: 3, rankCount: 2)),
        ])
    func shapes(field: String, shape: PlacementShape) throws {
        let loads = try ExpertLoads([[1, 2, 3, 4]])
        expectFailure(.usage, naming: [field, "found", "legal"]) { () throws(FathomError) in
            _ = try rebalanceExperts(loads, on: shape)
        }
    }

    @Test("random numbers end in a placement or in an error", arguments: 0..<500)
    func fuzz(seed: Int) {
        var random = RandomNumbers(seed: UInt64(seed))
        let odd: [Float] = [0, -0.0, .nan, .infinity, -1, 1e38, .leastNonzeroMagnitude, 1, 16_777_215]
        func count() -> Int { random.number(below: 12) - 1 }
        let experts = random.number(below: 6)
        let usual = random.number(below: 2) == 0
        let rows = (0..<random.number(below: 3)).map { _ in
            (0..<experts).map { _ in usual ? Float(random.number(below: 9)) : odd[random.number(below: odd.count)] }
        }
        let shape = PlacementShape(replicaCount: count(), groupCount: count(), nodeCount: count(), rankCount: count())
        let options = RebalanceOptions(
            policy: PlacementPolicy.allCases[random.number(below: 3)], separatesReplicas: random.number(below: 2) == 0,
            swapLimit: random.number(below: 9) - 1, spreadsOverNodes: random.number(below: 2) == 0)
        do throws(FathomError) {
            let placement = try rebalanceExperts(try ExpertLoads(rows), on: shape, options: options)
            #expect(placement.faults.isEmpty)
        } catch {
            #expect(error.code == .usage || error.code == .badData)
        }
    }
}
