// SPDX-License-Identifier: MIT

import EPLB
import Platform
import TestSupport

/// Random loads: whole numbers, thirds and zeros among them, some experts far heavier.
func randomLoads(layers: Int, experts: Int, seed: UInt64) throws(FathomError) -> ExpertLoads {
    var random = RandomNumbers(seed: seed)
    let kind = random.number(below: 4)
    let values = (0..<layers * experts).map { _ in
        switch kind {
        case 0: Float(random.number(below: 4))
        case 1: Float(random.number(below: 1000)) / 3
        case 2: Float(100_000 / (1 + random.number(below: experts)))
        default: random.number(below: 3) == 0 ? 0 : Float(random.number(below: 50)) * (kind == 3 ? 1e-3 : 1)
        }
    }
    return try ExpertLoads(layerCount: layers, expertCount: experts, values: values)
}

/// A random shape for `experts` experts, whose counts divide if asked.
func randomShape(experts: Int, divides: Bool, _ random: inout RandomNumbers) -> PlacementShape {
    guard divides else {
        let ranks = 1 + random.number(below: 12)
        return PlacementShape(
            replicaCount: experts + random.number(below: experts * 2), groupCount: 1 + random.number(below: experts),
            nodeCount: 1 + random.number(below: ranks), rankCount: ranks)
    }
    let nodes = 1 + random.number(below: 4)
    let ranks = nodes * (1 + random.number(below: 4))
    let groups = (1...experts).filter { experts.isMultiple(of: $0) }
    let least = (experts + ranks - 1) / ranks
    return PlacementShape(
        replicaCount: ranks * (least + random.number(below: 4)), groupCount: groups[random.number(below: groups.count)],
        nodeCount: nodes, rankCount: ranks)
}

extension ExpertPlacement {
    /// What every placement keeps to: whatever its loads. Empty where all is well.
    var faults: [String] {
        var faults: [String] = []
        let counts = replicaCounts
        let (width, slots) = logicalToPhysical
        if physicalToLogical.count != layerCount * shape.replicaCount { faults.append("slots are missing") }
        if counts.contains(where: { $0 < 1 }) { faults.append("an expert has no replica") }
        if counts.max().map({ Int($0) }) != width { faults.append("the width is not the largest count") }
        for layer in 0..<layerCount {
            let row = counts[layer * expertCount..<(layer + 1) * expertCount]
            if row.reduce(0, +) != shape.replicaCount { faults.append("counts of layer \(layer) do not add up") }
            for expert in 0..<expertCount {
                let index = layer * expertCount + expert
                let places = slots[index * width..<(index + 1) * width]
                if places.prefix(Int(counts[index])).contains(-1) || places.count(where: { $0 >= 0 }) != counts[index] {
                    faults.append("layer \(layer), expert \(expert): the map has holes")
                }
                for slot in places where slot >= 0 {
                    if Int(physicalToLogical[layer * shape.replicaCount + Int(slot)]) != expert {
                        faults.append("layer \(layer), expert \(expert): the maps differ at slot \(slot)")
                    }
                }
            }
        }
        return faults
    }

    /// Layers and groups with replicas on two nodes.
    var splitGroupCount: Int {
        (0..<layerCount).reduce(0) { total, layer in
            var nodes = [Set<Int>](repeating: [], count: shape.groupCount)
            for (slot, expert) in experts(inLayer: layer).enumerated() {
                // Groups differ by at most one, the first are the larger.
                let (size, rest) = expertCount.quotientAndRemainder(dividingBy: shape.groupCount)
                let inLarger = rest * (size + 1)
                let group =
                    Int(expert) < inLarger ? Int(expert) / (size + 1) : rest + (Int(expert) - inLarger) / size
                nodes[group].insert(shape.node(ofRank: shape.rank(ofSlot: slot)))
            }
            return total + nodes.count { $0.count > 1 }
        }
    }
}
