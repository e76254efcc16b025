// SPDX-License-Identifier: MIT

public import Platform

/// What experts are placed on: slots for replicas, on ranks, on nodes.
///
/// Nothing needs to divide anything. Where the original refuses, shares differ by at most one and the first ones are
/// the larger: slots of ranks, ranks of nodes, experts of groups, groups of nodes.
public struct PlacementShape: Sendable, Equatable {
    /// Slots at most.
    public static let maximumReplicaCount = 1 << 20

    /// Physical experts of a layer: slots, all of which are filled.
    public var replicaCount: Int
    /// Routing groups of a layer's logical experts.
    public var groupCount: Int
    /// Servers.
    public var nodeCount: Int
    /// GPUs or processes. A rank owns a contiguous block of slots, a node a contiguous block of ranks.
    public var rankCount: Int

    public init(replicaCount: Int, groupCount: Int = 1, nodeCount: Int = 1, rankCount: Int) {
        self.replicaCount = replicaCount
        self.groupCount = groupCount
        self.nodeCount = nodeCount
        self.rankCount = rankCount
    }

    /// The slots of a rank.
    public func slots(ofRank rank: Int) -> Range<Int> { share(rank, of: rankCount, total: replicaCount) }

    /// The ranks of a node.
    public func ranks(ofNode node: Int) -> Range<Int> { share(node, of: nodeCount, total: rankCount) }

    /// The node of a rank.
    public func node(ofRank rank: Int) -> Int { shareIndex(of: rank, shares: nodeCount, total: rankCount) }

    /// The rank of a slot.
    public func rank(ofSlot slot: Int) -> Int { shareIndex(of: slot, shares: rankCount, total: replicaCount) }

    /// The slots of a node.
    func slots(ofNode node: Int) -> Range<Int> {
        let ranks = ranks(ofNode: node)
        return slots(ofRank: ranks.lowerBound).lowerBound..<slots(ofRank: ranks.upperBound - 1).upperBound
    }

    /// Checks the shape for layers of `expertCount` experts.
    ///
    /// - Throws: `usage` naming the count, what was found and what is legal.
    public func validate(expertCount: Int) throws(FathomError) {
        guard replicaCount >= expertCount, replicaCount <= Self.maximumReplicaCount else {
            throw Self.failure(
                "replicas", replicaCount, "\(expertCount), the number of experts, to \(Self.maximumReplicaCount)")
        }
        guard 1...expertCount ~= groupCount else {
            throw Self.failure("groups", groupCount, "1 to \(expertCount), the number of experts")
        }
        guard 1...Self.maximumReplicaCount ~= rankCount else {
            throw Self.failure("gpus", rankCount, "1 to \(Self.maximumReplicaCount)")
        }
        guard 1...rankCount ~= nodeCount else {
            throw Self.failure("nodes", nodeCount, "1 to \(rankCount), the number of gpus")
        }
    }

    private static func failure(_ field: String, _ found: Int, _ legal: String) -> FathomError {
        FathomError(.usage, "\(field): found \(found); legal is \(legal)")
    }
}

/// The part of `0..<total` that share `index` of `count` has: shares differ by at most one, the first are the larger.
func share(_ index: Int, of count: Int, total: Int) -> Range<Int> {
    let (size, rest) = total.quotientAndRemainder(dividingBy: count)
    let start = index * size + min(index, rest)
    return start..<start + size + (index < rest ? 1 : 0)
}

/// The share that `item` lies in.
func shareIndex(of item: Int, shares: Int, total: Int) -> Int {
    let (size, rest) = total.quotientAndRemainder(dividingBy: shares)
    let inLarger = rest * (size + 1)
    return item < inLarger ? item / (size + 1) : rest + (item - inLarger) / max(size, 1)
}
