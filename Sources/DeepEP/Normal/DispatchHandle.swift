// SPDX-License-Identifier: MIT

/// What a dispatch has learnt: needed to combine, and to dispatch other rows the same way without counting again.
public struct DispatchHandle: Sendable {
    let selection: TopKSelection
    let layout: DispatchLayout
    let lists: SendLists
    let counts: [ExchangeCounts]
    let plan: CombineProtocol.Plan
    /// The number of the dispatch.
    let epoch: Int
    /// Whether every rank's rows stayed where they landed.
    let staysInPlace: Bool
    /// Tokens that this rank has sent and gets back.
    public var tokenCount: Int { layout.ranksOfToken.count }
    /// Choices of each expert of this rank, by all ranks.
    public let tokensPerLocalExpert: [Int]
    /// Choices of each expert of the group, by all ranks.
    public let tokensPerExpert: [Int]
}
