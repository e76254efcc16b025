// SPDX-License-Identifier: MIT

import EPLB
import TestSupport
import Testing

/// The original sorts with a sort that keeps the order of equal loads up to 16 items only: beyond, its order depends on
/// the processor that it ran on. Replicas of one expert are equal, so that most larger plans have ties.
///
/// Equal replicas are interchangeable in a packing, whatever their order: the load in every slot is decided, and which
/// of several equal experts it holds is not. So layers with ties in a packing of more than 16 are compared by the load
/// in each slot and all counts, and the other layers slot for slot.
@Suite("Plans of the original", .enabled(if: TestPaths.hasGoldens))
struct GoldenTests {
    @Test(
        "counts and the load in every slot are the original's; maps are where no tie leaves them open",
        arguments: GoldenPlan.all)
    func plan(golden: GoldenPlan) throws {
        let placement = try rebalanceExperts(try ExpertLoads(golden.weight), on: golden.shape)
        let experts = placement.expertCount
        let (width, slots) = placement.logicalToPhysical
        #expect(placement.replicaCounts.map { Int($0) } == golden.counts.flatMap(\.self))
        #expect(width == golden.logicalToPhysical[0][0].count)
        for layer in golden.weight.indices {
            let map = placement.experts(inLayer: layer).map { Int($0) }
            #expect(golden.slotLoads(map, layer) == golden.slotLoads(golden.physicalToLogical[layer], layer))
            guard !golden.hasOpenTies(inLayer: layer) else { continue }
            #expect(map == golden.physicalToLogical[layer])
            let ours = slots[layer * experts * width..<(layer + 1) * experts * width].map { Int($0) }
            #expect(ours == golden.logicalToPhysical[layer].flatMap(\.self))
        }
    }

    @Test("there are the plans that were computed, and these are decided in every slot")
    func complete() {
        #expect(GoldenPlan.all.count == 41)
        let exact = GoldenPlan.all.filter { golden in
            golden.weight.indices.allSatisfy { !golden.hasOpenTies(inLayer: $0) }
        }
        let small = ["0", "4", "5", "8"].flatMap { shape in
            ["uniform", "zipf", "ties", "zeros"].map { "\(shape)-\($0)" }
        }
        #expect(exact.map(\.name) == ["readme"] + small + ["9-zipf"])
    }
}

extension GoldenPlan {
    /// Up to so many items the original's sort keeps equal ones in order.
    private static let stableCount = 16

    /// The load in each slot of a layer under `map`.
    func slotLoads(_ map: [Int], _ layer: Int) -> [Float] {
        map.map { weight[layer][$0] / Float(counts[layer][$0]) }
    }

    /// Whether two replicas of a node tie in a packing that the original does not decide.
    func hasOpenTies(inLayer layer: Int) -> Bool {
        let isHierarchical = shape.groupCount.isMultiple(of: shape.nodeCount)
        let size = shape.replicaCount / (isHierarchical ? shape.nodeCount : 1)
        guard size > Self.stableCount, shape.replicaCount > shape.rankCount else { return false }
        let loads = slotLoads(physicalToLogical[layer], layer)
        return stride(from: 0, to: loads.count, by: size).contains { start in
            Set(loads[start..<start + size]).count < size
        }
    }
}
