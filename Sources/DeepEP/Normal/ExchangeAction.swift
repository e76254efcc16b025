// SPDX-License-Identifier: MIT

/// What happens to a rank in an exchange.
enum ProtocolEvent: Sendable {
    /// A signal word holds `value`. Told again and again, or for words of other exchanges, it changes nothing.
    case signal(word: Int, value: UInt64)
    /// What `rank` is going to send; the answer to `readCounts`.
    case counts(from: Int, ExchangeCounts)
    /// Which ranks of this node want the records, as indices in the node; the answer to `readRecords`.
    case records(fromNode: Int, targets: [[Int32]])
}

/// What a rank has to do in an exchange, in this order.
enum ExchangeAction: Sendable, Equatable {
    /// Put this exchange's counts into `rank`'s memory, before the signal that follows.
    case putCounts(to: Int)
    /// Read the counts that `rank` has put here; a `counts` event answers.
    case readCounts(from: Int)
    /// All counts are known: results can be allocated.
    case sized
    /// Write rows of the own stream to `rank` into its slots from `slot` on.
    case putRows(to: Int, rows: Range<Int>, slot: Int)
    /// Write records of the own stream to `node` into the slots of the counterpart there.
    case putRecords(toNode: Int, rows: Range<Int>, slot: Int)
    /// Read who wants these records; a `records` event answers.
    case readRecords(fromNode: Int, rows: Range<Int>, slot: Int)
    /// Copy a record from a relay slot on into a slot of `rank`.
    case forward(fromNode: Int, relaySlot: Int, to: Int, row: Int, slot: Int)
    /// Copy rows of `source` from slots out to their final places; the slots are reused afterwards.
    case takeRows(source: Int, rows: Range<Int>, slot: Int)
    /// Write rows that go back to `source` into slots of `rank`, its carrier.
    case returnRows(source: Int, to: Int, rows: Range<Int>, slot: Int)
    /// Add up what this node's ranks return for a record, and write the sum to a slot of the counterpart on `node`.
    /// Each part is a slot, ranks ascending.
    case relaySum(toNode: Int, record: Int, parts: [SumPart], slot: Int)
    /// Add up what came back for a token.
    case sum(token: Int, parts: [SumPart])
    /// Set a word of `rank`, visible there only after everything that was written to it before.
    case signal(to: Int, word: Int, value: UInt64)
}

/// A row that enters a sum.
enum SumPart: Sendable, Equatable {
    /// In the slot of a stream that a rank of this node (or any rank, in a direct exchange) returned.
    case fromRank(key: Int, row: Int, slot: Int)
    /// In the slot of a stream that a carrier on another node returned: a sum already.
    case fromNode(Int, row: Int, slot: Int)
}

/// What a rank is going to send.
struct ExchangeCounts: Sendable, Equatable {
    /// Tokens for each rank.
    var toRank: [Int32]
    /// Tokens for each node as the exchange sees it.
    var toNode: [Int32]
    /// Choices of each expert.
    var toExpert: [Int32]
}
