// SPDX-License-Identifier: MIT

public import Platform

extension ExpertPlacement {
    /// What it costs to come here from `previous`: a rank receives each expert that it did not hold before, once, even
    /// if it gets two replicas of it. Moving an expert to another slot of its rank costs nothing.
    ///
    /// - Throws: `usage` unless both placements are of the same layers, experts, slots, ranks and nodes.
    public func migration(
        from previous: ExpertPlacement, bytesPerExpert: Int
    ) throws(FathomError) -> MigrationCost {
        try check(previous)
        var cost = MigrationCost()
        for layer in 0..<layerCount {
            for node in 0..<shape.nodeCount {
                var isNear = [Bool](repeating: false, count: expertCount)
                for expert in previous.physicalToLogical[slots(shape.slots(ofNode: node), inLayer: layer)] {
                    isNear[Int(expert)] = true
                }
                for rank in shape.ranks(ofNode: node) {
                    let slots = slots(shape.slots(ofRank: rank), inLayer: layer)
                    for slot in slots {
                        let expert = physicalToLogical[slot]
                        if previous.physicalToLogical[slots].contains(expert)
                            || physicalToLogical[slots.lowerBound..<slot].contains(expert)
                        {
                            continue
                        }
                        if isNear[Int(expert)] { cost.copiesWithinNodes += 1 } else { cost.copiesAcrossNodes += 1 }
                    }
                }
            }
        }
        cost.bytesWithinNodes = cost.copiesWithinNodes * bytesPerExpert
        cost.bytesAcrossNodes = cost.copiesAcrossNodes * bytesPerExpert
        return cost
    }

    /// Checks that `other` is of the same kind.
    func check(_ other: ExpertPlacement) throws(FathomError) {
        guard other.layerCount == layerCount, other.expertCount == expertCount else {
            throw FathomError(
                .usage,
                "previous: found \(other.layerCount) layers of \(other.expertCount) experts; legal are \(layerCount) "
                    + "of \(expertCount)")
        }
        let (ours, theirs) = (shape, other.shape)
        guard
            ours.replicaCount == theirs.replicaCount, ours.rankCount == theirs.rankCount,
            ours.nodeCount == theirs.nodeCount
        else {
            throw FathomError(
                .usage,
                "previous: found \(theirs.replicaCount) slots on \(theirs.rankCount) gpus of \(theirs.nodeCount) "
                    + "nodes; legal are \(ours.replicaCount) on \(ours.rankCount) of \(ours.nodeCount)")
        }
    }
}
