// SPDX-License-Identifier: MIT

/// Who talks to whom, over which signal words and which rings, in an exchange.
///
/// A token goes to its *carrier* and from there to its target. On the source's own node, and everywhere in a direct
/// exchange (which sees all ranks as one node), the source is the carrier. On another node it is the rank of that node
/// with the source's index. Combine uses the same ways backwards, and so the same words: what is a tail one way is a
/// head the other way.
struct ExchangeWiring: Sendable {
    let rankCount: Int
    /// Ranks of a node as the exchange sees it.
    let nodeSize: Int
    let rank: Int

    init(placement: ExpertPlacement, rank: Int, twoHop: Bool) {
        precondition(!twoHop || placement.hasEvenNodes, "two hops need equal nodes")
        rankCount = placement.rankCount
        nodeSize = twoHop ? placement.ranksPerNode : placement.rankCount
        self.rank = rank
    }

    var nodeCount: Int { rankCount / nodeSize }
    var node: Int { rank / nodeSize }
    var index: Int { rank % nodeSize }

    /// The rank with `rank`'s index on another node.
    func counterpart(onNode node: Int) -> Int { node * nodeSize + index }

    /// The rank that hands the tokens of `source` to `target`.
    func carrier(from source: Int, to target: Int) -> Int { target / nodeSize * nodeSize + source % nodeSize }

    /// The key, at a carrier, of the stream from `source` to `target`.
    func key(source: Int, target: Int) -> Int { source / nodeSize * nodeSize + target % nodeSize }

    /// The source that a carrier's key stands for, at this rank.
    func source(ofKey key: Int) -> Int { key / nodeSize * nodeSize + index }

    /// The target that a carrier's key stands for, at this rank.
    func target(ofKey key: Int) -> Int { node * nodeSize + key % nodeSize }

    // MARK: Signal words

    /// Set by `from`, which has entered an exchange.
    func entryWord(from: Int) -> Int { from }
    /// At a target, about the stream of `source`: tail of dispatch, head of combine.
    func targetWord(source: Int) -> Int { rankCount + source }
    /// At a carrier, about a key: head of dispatch, tail of combine.
    func carrierWord(key: Int) -> Int { 2 * rankCount + key }
    /// At a carrier, about the relay of its counterpart on `node`: tail of dispatch, head of combine.
    func relayWord(fromNode node: Int) -> Int { 3 * rankCount + node }
    /// At a source, about the relay to `node`: head of dispatch, tail of combine.
    func sourceWord(toNode node: Int) -> Int { 3 * rankCount + nodeCount + node }

    /// Words of an exchange at each rank.
    static func wordCount(rankCount: Int) -> Int { 5 * rankCount }

    /// What a word is about.
    enum Word: Equatable {
        case entry(Int)
        case target(source: Int)
        case carrier(key: Int)
        case relay(fromNode: Int)
        case source(toNode: Int)
    }

    func word(at index: Int) -> Word? {
        switch index {
        case 0..<rankCount: .entry(index)
        case rankCount..<2 * rankCount: .target(source: index - rankCount)
        case 2 * rankCount..<3 * rankCount: .carrier(key: index - 2 * rankCount)
        case 3 * rankCount..<3 * rankCount + nodeCount: .relay(fromNode: index - 3 * rankCount)
        case 3 * rankCount + nodeCount..<3 * rankCount + 2 * nodeCount:
            .source(toNode: index - 3 * rankCount - nodeCount)
        default: nil
        }
    }
}

/// A signal's value: the number of the exchange above, a count below, so that words never go back and what is left
/// from an earlier exchange is told from this one's.
enum SignalValue {
    /// Rows of a stream at most are below 2^28: then a group that exchanges 10,000 times a second lasts 80 days.
    static let countBits: UInt64 = 28

    static func make(epoch: Int, count: Int) -> UInt64 { UInt64(epoch) << countBits | UInt64(count) }
    static func epoch(_ value: UInt64) -> Int { Int(value >> countBits) }
    static func count(_ value: UInt64) -> Int { Int(value & (1 << countBits - 1)) }
}
