// SPDX-License-Identifier: MIT

public import Platform

/// Which rank and node holds which expert.
///
/// Experts lie in blocks of neighbours: rank r of R holds ⌊r·E/R⌋ ..< ⌊(r+1)·E/R⌋ of E, so counts that do not divide
/// differ by one at most. Ranks lie on nodes in blocks of `ranksPerNode`; the last node may have fewer.
public struct ExpertPlacement: Sendable, Hashable {
    public let rankCount: Int
    public let ranksPerNode: Int
    public let expertCount: Int

    /// - Parameter ranksPerNode: ranks that share a node; nil for one node.
    /// - Throws: `usage` for counts below 1.
    public init(rankCount: Int, ranksPerNode: Int? = nil, expertCount: Int) throws(FathomError) {
        let perNode = ranksPerNode ?? rankCount
        guard rankCount >= 1, perNode >= 1, expertCount >= 1 else {
            throw FathomError(
                .usage,
                """
                \(expertCount) experts on \(rankCount) ranks, \(perNode) to a node: each count is 1 or more
                """)
        }
        guard rankCount <= Self.maximumRanks, expertCount <= Self.maximumExperts else {
            throw FathomError(
                .usage,
                """
                \(expertCount) experts on \(rankCount) ranks: at most \(Self.maximumExperts) experts and \
                \(Self.maximumRanks) ranks are possible
                """)
        }
        self.rankCount = rankCount
        self.ranksPerNode = min(perNode, rankCount)
        self.expertCount = expertCount
    }

    /// Ranks of a group at most: the counts that all ranks exchange grow with its square.
    public static let maximumRanks = 4096
    /// Experts at most; their ids travel as 32-bit integers.
    public static let maximumExperts = 1 << 20

    public var nodeCount: Int { (rankCount + ranksPerNode - 1) / ranksPerNode }

    /// Whether every node has the same number of ranks, which a way over same-index ranks needs.
    public var hasEvenNodes: Bool { rankCount % ranksPerNode == 0 }

    /// The experts of `rank`; empty where there are fewer experts than ranks.
    public func experts(of rank: Int) -> Range<Int> {
        rank * expertCount / rankCount..<(rank + 1) * expertCount / rankCount
    }

    /// The rank that holds `expert`.
    public func rank(ofExpert expert: Int) -> Int { ((expert + 1) * rankCount - 1) / expertCount }

    /// The node of `rank`.
    public func node(of rank: Int) -> Int { rank / ranksPerNode }

    /// The position of `rank` on its node.
    public func indexInNode(of rank: Int) -> Int { rank % ranksPerNode }

    /// The ranks of `node`.
    public func ranks(ofNode node: Int) -> Range<Int> {
        node * ranksPerNode..<min((node + 1) * ranksPerNode, rankCount)
    }
}
