// SPDX-License-Identifier: MIT

// SAFETY: In this file addresses are of slots that `LowLatencyMemory` places in the shared region, which the exchange
// keeps, of this rank and of those whose memory is mapped here.

internal import Platform
internal import Ranks

/// What a rank has received in a low-latency dispatch: for each local expert `counts` rows, in order of (source rank,
/// source token).
///
/// Rows are where they came to rest: in their source's memory, where that is seen here, else in this rank's. They stay
/// until this rank sends the combine of these tokens. `gather` makes matrices of them for a masked grouped product.
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

    public var format: RowFormat { exchange.shape.format }

    /// The rows of an expert, each `format.dataBytes`; scales are `format.scaleOffset` bytes behind its start.
    public func rows(ofExpert expert: Int) -> [UnsafeRawPointer] {
        var rows: [UnsafeRawPointer] = []
        rows.reserveCapacity(Int(counts[expert]))
        for source in 0..<firstSlots.count / counts.count - 1 {
            let first = firstRow(source: source, expert)
            for row in first..<first + count(source: source, expert) { rows.append(record(source, row)) }
        }
        return rows
    }

    /// The numbers of a row: `format.dataBytes`.
    public func row(expert: Int, slot: Int) -> UnsafeRawPointer {
        let (source, row) = place(expert, slot)
        return record(source, row)
    }

    /// The scales of a row: `format.scaleBytes`.
    public func scales(expert: Int, slot: Int) -> UnsafeRawPointer {
        row(expert: expert, slot: slot) + format.scaleOffset
    }

    /// Copies all rows to their places in matrices of `slotsPerExpert` rows each, of which the first `counts` are there
    /// then, as `DeepGEMM`'s masked product takes them; they stay until the dispatch after the next is gathered.
    ///
    /// - Returns: [local experts, slotsPerExpert, hidden] numbers, and [local experts, slotsPerExpert, scales of a row]
    ///   that mean nothing for BF16.
    @discardableResult
    public func gather() -> (rows: UnsafeRawPointer, scales: UnsafeRawPointer) {
        let memory = exchange.memory
        let local = exchange.region.local
        for expert in counts.indices {
            var row = local + memory.row(operation, expert: expert, slot: 0)
            var scales = local + memory.scales(operation, expert: expert, slot: 0)
            for record in rows(ofExpert: expert) {
                row.copyMemory(from: record, byteCount: format.dataBytes)
                scales.copyMemory(from: record + format.scaleOffset, byteCount: format.scaleBytes)
                row += format.dataBytes
                scales += format.scaleBytes
            }
        }
        return (
            UnsafeRawPointer(local + memory.row(operation, expert: 0, slot: 0)),
            UnsafeRawPointer(local + memory.scales(operation, expert: 0, slot: 0))
        )
    }

    /// The rank that a row came from, and its token there.
    public func source(expert: Int, slot: Int) -> (rank: Int, token: Int) {
        let (source, row) = place(expert, slot)
        return (source, token(source, row))
    }

    /// The source of a row and its place in the source's stream.
    private func place(_ expert: Int, _ slot: Int) -> (source: Int, row: Int) {
        precondition(slot >= 0 && slot < Int(counts[expert]))
        var source = 0
        while firstSlot(source: source + 1, expert) <= slot { source += 1 }
        return (source, firstRow(source: source, expert) + slot - firstSlot(source: source, expert))
    }

    /// The first row for an expert in a source's stream.
    private func firstRow(source: Int, _ expert: Int) -> Int {
        (0..<expert).reduce(0) { $0 + count(source: source, $1) }
    }

    /// The token of a row of a source's stream.
    private func token(_ source: Int, _ row: Int) -> Int {
        let notice = exchange.region.local + exchange.memory.notice(operation, from: source)
        return Int(notice.load(fromByteOffset: 4 * (counts.count + row), as: Int32.self))
    }

    /// Where a row of a source's stream is.
    private func record(_ source: Int, _ row: Int) -> UnsafeRawPointer {
        guard let peer = exchange.mapped(source) else {
            return UnsafeRawPointer(
                exchange.region.local + exchange.memory.landing(operation, from: source, row: row))
        }
        return UnsafeRawPointer(peer + exchange.memory.staged(operation, token: token(source, row)))
    }

    /// The first slot of a source's rows for an expert.
    func firstSlot(source: Int, _ expert: Int) -> Int { Int(firstSlots[source * counts.count + expert]) }
    /// How many rows of a source an expert has.
    func count(source: Int, _ expert: Int) -> Int {
        firstSlot(source: source + 1, expert) - firstSlot(source: source, expert)
    }
}
