// SPDX-License-Identifier: MIT

internal import Platform

/// How far a replica may be from the other experts of its group.
public enum PlacementPolicy: String, Sendable, CaseIterable, Codable {
    /// The original's rule: hierarchical where the nodes divide the groups, global otherwise; also global where
    /// hierarchical is impossible because a node may have fewer slots than experts, which only indivisible counts do.
    case automatic
    /// A group of experts stays on one node.
    case hierarchical
    /// A replica may be on any rank.
    case global

    /// The policy that is meant: `hierarchical` or `global`.
    ///
    /// - Throws: `usage` where hierarchical is asked for and impossible.
    func resolved(for shape: PlacementShape, expertCount: Int) throws(FathomError) -> PlacementPolicy {
        switch self {
        case .global: return .global
        case .hierarchical:
            if let reason = Self.obstacle(shape, expertCount) {
                throw FathomError(.usage, "the hierarchical policy is impossible: \(reason)")
            }
            return .hierarchical
        case .automatic:
            let divides = shape.groupCount.isMultiple(of: shape.nodeCount)
            return divides && Self.obstacle(shape, expertCount) == nil ? .hierarchical : .global
        }
    }

    /// Why groups cannot stay on nodes; nil where they can, however the loads lie.
    private static func obstacle(_ shape: PlacementShape, _ expertCount: Int) -> String? {
        guard shape.groupCount >= shape.nodeCount else {
            return "nodes: found \(shape.nodeCount); legal is 1 to \(shape.groupCount), the number of groups"
        }
        let largestGroup = share(0, of: shape.groupCount, total: expertCount).count
        for node in 0..<shape.nodeCount {
            let groups = share(node, of: shape.nodeCount, total: shape.groupCount).count
            let slots = shape.slots(ofNode: node).count
            if groups * largestGroup > slots {
                return "replicas: found \(shape.replicaCount), so that node \(node) has \(slots) slots for \(groups) "
                    + "groups of up to \(largestGroup) experts; legal are more replicas, or counts that divide"
            }
        }
        return nil
    }
}
