// SPDX-License-Identifier: MIT

public import Platform

/// What one rank is going to send, counted from its top-k choices: DeepEP's `get_dispatch_layout`.
///
/// A token counts once for each rank and node where any of its experts is, and once for each choice of an expert.
public struct DispatchLayout: Sendable, Hashable {
    /// Tokens for each rank.
    public private(set) var tokensPerRank: [Int]
    /// Tokens for each node.
    public private(set) var tokensPerNode: [Int]
    /// Choices of each expert.
    public private(set) var tokensPerExpert: [Int]
    /// [tokens] the ranks that get the token, ascending, without repetition.
    public private(set) var ranksOfToken: Lists

    /// - Throws: `badData` naming the first id that is neither −1 nor an expert.
    public init(_ selection: TopKSelection, placement: ExpertPlacement) throws(FathomError) {
        try selection.check(placement)
        tokensPerRank = Array(repeating: 0, count: placement.rankCount)
        tokensPerNode = Array(repeating: 0, count: placement.nodeCount)
        tokensPerExpert = Array(repeating: 0, count: placement.expertCount)
        ranksOfToken = Lists()
        ranksOfToken.reserve(lists: selection.tokenCount, values: selection.experts.count)
        var ranks: [Int32] = []
        for token in 0..<selection.tokenCount {
            ranks.removeAll(keepingCapacity: true)
            for id in selection.choices(of: token) where id >= 0 {
                tokensPerExpert[Int(id)] += 1
                Self.insert(Int32(placement.rank(ofExpert: Int(id))), into: &ranks)
            }
            var lastNode = -1
            for rank in ranks {
                tokensPerRank[Int(rank)] += 1
                let node = placement.node(of: Int(rank))
                if node != lastNode { tokensPerNode[node] += 1 }
                lastNode = node
            }
            ranksOfToken.append(ranks)
        }
    }

    /// Whether `token` goes to `rank`: DeepEP's `is_token_in_rank`.
    public func isToken(_ token: Int, inRank rank: Int) -> Bool { ranksOfToken[token].contains(Int32(rank)) }

    /// Keeps a short list sorted and without repetition.
    private static func insert(_ rank: Int32, into ranks: inout [Int32]) {
        var place = ranks.count
        while place > 0, ranks[place - 1] > rank { place -= 1 }
        if place > 0, ranks[place - 1] == rank { return }
        ranks.insert(rank, at: place)
    }
}

/// Short lists of small numbers, one after another in one piece of memory.
public struct Lists: Sendable, Hashable {
    private var starts: [Int] = [0]
    private var values: [Int32] = []

    init() {}

    public var count: Int { starts.count - 1 }

    public subscript(_ index: Int) -> ArraySlice<Int32> { values[starts[index]..<starts[index + 1]] }

    /// Empty lists.
    init(repeatingEmpty count: Int) { starts = Array(repeating: 0, count: count + 1) }

    mutating func append(_ list: some Sequence<Int32>) {
        values.append(contentsOf: list)
        starts.append(values.count)
    }

    /// Adds to the list that `endList` is going to end.
    mutating func add(_ value: Int32) { values.append(value) }

    /// Whether the list that `endList` is going to end has `value` last.
    func endsIn(_ value: Int32) -> Bool { values.count > starts[starts.count - 1] && values[values.count - 1] == value }

    mutating func endList() { starts.append(values.count) }

    mutating func reserve(lists: Int, values count: Int) {
        starts.reserveCapacity(lists + 1)
        values.reserveCapacity(count)
    }
}
