// SPDX-License-Identifier: MIT

public import Platform

/// How the ranks of a group lie on nodes: rank r is number r mod ranksPerNode on node r / ranksPerNode.
public struct Topology: Sendable, Hashable, Codable {
    /// Ranks in all.
    public let rankCount: Int
    /// Ranks of each node; the last may have fewer.
    public let ranksPerNode: Int

    /// - Parameter nodeCount: nodes that share the ranks; without one all ranks are on one node.
    /// - Throws: `usage` for no ranks, more than `RankGroup.maximumRankCount`, or more nodes than ranks.
    public init(rankCount: Int, nodeCount: Int = 1) throws(FathomError) {
        guard (1...RankGroup.maximumRankCount).contains(rankCount) else {
            throw FathomError(
                .usage, "a group of \(rankCount) ranks; legal are 1 to \(RankGroup.maximumRankCount)")
        }
        guard (1...rankCount).contains(nodeCount), rankCount % nodeCount == 0 else {
            throw FathomError(
                .usage, "\(rankCount) ranks on \(nodeCount) nodes; legal are node counts that divide the ranks")
        }
        self.rankCount = rankCount
        ranksPerNode = rankCount / nodeCount
    }

    public var nodeCount: Int { rankCount / ranksPerNode }

    /// The node of a rank.
    public func node(of rank: Int) -> Int { rank / ranksPerNode }

    /// A rank's number on its node.
    public func indexOnNode(of rank: Int) -> Int { rank % ranksPerNode }

    /// The rank with a number on a node.
    public func rank(node: Int, index: Int) -> Int { node * ranksPerNode + index }

    /// The ranks of a node.
    public func ranks(onNode node: Int) -> Range<Int> { node * ranksPerNode..<(node + 1) * ranksPerNode }
}
