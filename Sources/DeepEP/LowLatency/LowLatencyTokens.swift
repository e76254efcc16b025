// SPDX-License-Identifier: MIT

// SAFETY: In this file addresses are of slots that `LowLatencyMemory` places in the shared region, which the exchange
// keeps.

internal import Platform
internal import Ranks

/// What a rank has received in a low-latency dispatch, laid out for a masked grouped product: for each local expert a
/// matrix of `slotsPerExpert` rows, of which the first `counts` are there, in order of (source rank, source token).
///
/// Stays where it is until the dispatch after the next is received.
public struct LowLatencyTokens: @unchecked Sendable {
    // SAFETY: @unchecked Sendable because addresses never change; nobody writes the rows while they may be read.

    /// Rows of each local expert, as `DeepGEMM`'s masked product takes them.
    public let counts: [Int32]
    /// Rows that each expert has room for.
    public let slotsPerExpert: Int
    /// By rank, whether it took no part, so that choices of its experts count as none.
    public let isMasked: [Bool]
    /// By rank, whether nothing came from it although it was to take part: it is lost.
    public let isMissing: [Bool]
    let exchange: LowLatencyExchange
    let operation: Int
    /// [source rank, local expert] the slot of the first row, and one line behind.
    let firstSlots: [Int32]

    /// [local experts, slotsPerExpert, hidden] numbers.
    public var rows: UnsafeRawPointer { address(exchange.memory.row(operation, expert: 0, slot: 0)) }
    /// [local experts, slotsPerExpert, scales of a row]; meaningless for BF16.
    public var scales: UnsafeRawPointer { address(exchange.memory.scales(operation, expert: 0, slot: 0)) }
    public var format: RowFormat { exchange.shape.format }

    /// The numbers of a row: `format.dataBytes`.
    public func row(expert: Int, slot: Int) -> UnsafeRawPointer {
        address(exchange.memory.row(operation, expert: expert, slot: slot))
    }

    /// The scales of a row: `format.scaleBytes`.
    public func scales(expert: Int, slot: Int) -> UnsafeRawPointer {
        address(exchange.memory.scales(operation, expert: expert, slot: slot))
    }

    /// The rank that a row came from, and its token there.
    public func source(expert: Int, slot: Int) -> (rank: Int, token: Int) {
        precondition(slot >= 0 && slot < Int(counts[expert]))
        var rank = 0
        while firstSlot(source: rank + 1, expert) <= slot { rank += 1 }
        let ownExperts = counts.count
        var row = slot - firstSlot(source: rank, expert)
        for earlier in 0..<expert { row += count(source: rank, earlier) }
        let notice = address(exchange.memory.notice(operation, from: rank))
        return (rank, Int(notice.load(fromByteOffset: 4 * (ownExperts + row), as: Int32.self)))
    }

    /// The first slot of a source's rows for an expert.
    func firstSlot(source: Int, _ expert: Int) -> Int { Int(firstSlots[source * counts.count + expert]) }
    /// How many rows of a source an expert has.
    func count(source: Int, _ expert: Int) -> Int {
        firstSlot(source: source + 1, expert) - firstSlot(source: source, expert)
    }

    private func address(_ offset: Int) -> UnsafeRawPointer { UnsafeRawPointer(exchange.region.local + offset) }
}
