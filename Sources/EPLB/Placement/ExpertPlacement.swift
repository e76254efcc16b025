// SPDX-License-Identifier: MIT

public import Platform

/// Which expert is in which slot, for every layer.
public struct ExpertPlacement: Sendable, Equatable {
    public let layerCount: Int
    public let expertCount: Int
    public let shape: PlacementShape
    /// The policy that was used: `hierarchical` or `global`.
    public let policy: PlacementPolicy
    /// The logical expert in each slot: [layers, replicas].
    public let physicalToLogical: [Int32]
    /// Which replica of its expert is in each slot, from 0: [layers, replicas].
    public let replicaIndices: [Int32]

    init(
        layerCount: Int, expertCount: Int, shape: PlacementShape, policy: PlacementPolicy, physicalToLogical: [Int32],
        replicaIndices: [Int32]
    ) {
        self.layerCount = layerCount
        self.expertCount = expertCount
        self.shape = shape
        self.policy = policy
        self.physicalToLogical = physicalToLogical
        self.replicaIndices = replicaIndices
    }

    /// A placement that is in force somewhere, from its map; replicas of an expert are numbered by slot.
    ///
    /// - Parameter physicalToLogical: [layers, replicas].
    /// - Throws: `usage` for an impossible shape; `badData` that names layer and slot, or layer and expert, where a
    ///   slot holds no expert or an expert has no slot.
    public init(
        expertCount: Int, shape: PlacementShape, policy: PlacementPolicy = .global, physicalToLogical: [[Int]]
    ) throws(FathomError) {
        try shape.validate(expertCount: expertCount)
        var map: [Int32] = []
        var indices: [Int32] = []
        for (layer, row) in physicalToLogical.enumerated() {
            guard row.count == shape.replicaCount else {
                throw FathomError(
                    .badData, "phy2log, layer \(layer): found \(row.count) slots; legal are \(shape.replicaCount)")
            }
            var counts = [Int32](repeating: 0, count: expertCount)
            for (slot, expert) in row.enumerated() {
                guard 0..<expertCount ~= expert else {
                    throw FathomError(
                        .badData,
                        "phy2log, layer \(layer), slot \(slot): found expert \(expert); legal is 0…\(expertCount - 1)")
                }
                map.append(Int32(expert))
                indices.append(counts[expert])
                counts[expert] += 1
            }
            if let expert = counts.firstIndex(of: 0) {
                throw FathomError(
                    .badData, "phy2log, layer \(layer): expert \(expert) is in no slot; legal is one at least")
            }
        }
        self.init(
            layerCount: physicalToLogical.count, expertCount: expertCount, shape: shape, policy: policy,
            physicalToLogical: map, replicaIndices: indices)
    }

    /// The placement without redundancy's rule: slot s holds expert s modulo the experts.
    public static func identity(
        layerCount: Int, expertCount: Int, shape: PlacementShape
    ) throws(FathomError) -> ExpertPlacement {
        let row = (0..<max(shape.replicaCount, 0)).map { $0 % max(expertCount, 1) }
        return try ExpertPlacement(
            expertCount: expertCount, shape: shape,
            physicalToLogical: [[Int]](repeating: row, count: layerCount))
    }
}

extension ExpertPlacement {
    /// The experts in a layer's slots.
    public func experts(inLayer layer: Int) -> ArraySlice<Int32> {
        physicalToLogical[layer * shape.replicaCount..<(layer + 1) * shape.replicaCount]
    }

    /// How many replicas each expert has: [layers, experts].
    public var replicaCounts: [Int32] {
        var counts = [Int32](repeating: 0, count: layerCount * expertCount)
        for layer in 0..<layerCount {
            for expert in experts(inLayer: layer) { counts[layer * expertCount + Int(expert)] += 1 }
        }
        return counts
    }

    /// The slot of each replica of each expert, in the order of the replicas: [layers, experts, width], −1 where an
    /// expert has fewer than `width`, the largest count of all layers.
    public var logicalToPhysical: (width: Int, slots: [Int32]) {
        let width = Int((replicaIndices.max() ?? 0) + 1)
        var slots = [Int32](repeating: -1, count: layerCount * expertCount * width)
        for layer in 0..<layerCount {
            for (slot, expert) in experts(inLayer: layer).enumerated() {
                let replica = Int(replicaIndices[layer * shape.replicaCount + slot])
                slots[(layer * expertCount + Int(expert)) * width + replica] = Int32(slot)
            }
        }
        return (width, slots)
    }
}
