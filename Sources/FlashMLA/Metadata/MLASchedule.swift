// SPDX-License-Identifier: MIT

public import Platform

/// How a decode call is shared among threads: FlashMLA's `get_mla_metadata`.
///
/// Made once for some lengths and used for every layer. A long request is cut along its keys into items of about equal
/// cost, so that it does not leave threads idle beside short ones; items are handed out longest first. The cut follows
/// fixed partitions of 512 keys that are always summed apart and combined in ascending order: whichever schedule a call
/// uses, and on however many threads it runs, its results have the same bits.
///
/// Cost of an item: its blocks of 64 keys times (its rows + 4 for decoding), and 16 besides. An item of more than a
/// quarter of a thread's part is cut into a first piece of that size and pieces of half of it.
public struct MLASchedule: Sendable, Equatable {
    /// Keys of each request.
    public let lengths: [Int32]
    /// Query tokens of each request.
    public let queryCount: Int
    /// Query heads.
    public let headCount: Int
    /// Key heads.
    public let keyHeadCount: Int
    public let isCausal: Bool
    /// The threads that the work was cut for; it may run on any number.
    public let threadCount: Int
    package let cut: AttentionSchedule

    /// - Parameters:
    ///   - lengths: keys of each request (`cache_seqlens`), 0 or more.
    ///   - queryCount: query tokens of each request (s_q).
    ///   - headCount: query heads, a multiple of `keyHeadCount`.
    ///   - threadCount: threads to keep busy.
    /// - Throws: `usage` for a number that is out of range; names it.
    public init(
        lengths: [Int32], queryCount: Int, headCount: Int, keyHeadCount: Int = 1, isCausal: Bool, threadCount: Int
    ) throws(FathomError) {
        try DecodeRule.check(lengths: lengths)
        try DecodeRule.check(count: queryCount, "query tokens of a request")
        try DecodeRule.check(heads: headCount, keyHeads: keyHeadCount)
        try DecodeRule.check(requests: lengths.count, tokens: queryCount, heads: headCount)
        try DecodeRule.check(count: threadCount, "threads", atMost: DecodeRule.maximumThreads)
        self.lengths = lengths
        self.queryCount = queryCount
        self.headCount = headCount
        self.keyHeadCount = keyHeadCount
        self.isCausal = isCausal
        self.threadCount = threadCount
        cut = AttentionSchedule(
            extents: lengths.map {
                AttentionExtent(tokenCount: queryCount, length: Int($0), isCausal: isCausal)
            }, headCount: headCount, keyHeadCount: keyHeadCount, threadCount: threadCount)
    }

    /// Items that threads take one after the other.
    public var itemCount: Int { cut.items.count }

    /// Bytes that a call of this schedule allocates for the sums of requests that are cut along their keys: for each
    /// row of such an item and each partition (the first item of a request: once) value width + 2 floats.
    public func splitByteCount(valueWidth: Int) -> Int {
        cut.storedRowCount * (valueWidth + 2) * MemoryLayout<Float>.size
    }

    /// Expected cost of each thread if every one takes the next item as soon as it is free, in the order of threads.
    public var expectedCosts: [Int] {
        var costs = [Int](repeating: 0, count: threadCount)
        for item in cut.items {
            let free = costs.indices.min { (costs[$0], $0) < (costs[$1], $1) } ?? 0
            costs[free] += item.cost
        }
        return costs
    }
}
