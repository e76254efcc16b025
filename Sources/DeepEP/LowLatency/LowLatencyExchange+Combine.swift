// SPDX-License-Identifier: MIT

// SAFETY: In this file addresses are of whole rows: those that a caller keeps, and slots that `LowLatencyMemory` places
// in the shared region. The protocol says when a slot may be read or written.

public import Platform
internal import Ranks
internal import Telemetry
internal import Tensors

extension LowLatencyExchange {
    /// Where experts can make their rows so that they need not be copied, with the layout of the tokens: for each local
    /// expert `slotsPerExpert` rows.
    ///
    /// - Returns: nil where ranks do not see each other's memory.
    public func madeRows(of tokens: LowLatencyTokens) -> ExpertRows? {
        guard (0..<group.rankCount).allSatisfy({ mapped($0) != nil }) else { return nil }
        let first = region.local + memory.made(tokens.operation, expert: 0, slot: 0)
        return ExpertRows(
            base: first, rowStride: memory.returnStride, expertStride: shape.slotsPerExpert * memory.returnStride)
    }

    /// Sends a row back for each received one.
    ///
    /// - Parameters:
    ///   - made: BF16 rows, [local experts, slotsPerExpert]; the first `counts` of each expert are read. Those of
    ///     `madeRows(of:)` are read by their sources where they are; others are free when the call returns.
    ///   - tokens: what the last dispatch but at most one brought, in the order of dispatches.
    /// - Throws: `usage` for tokens whose turn it is not.
    public func combine(_ made: ExpertRows, of tokens: LowLatencyTokens) throws(FathomError) -> SentCombine {
        let span = Spans.begin()
        defer { Spans.end(span, .combineSend, tokens.operation) }
        return try guarded { () throws(FathomError) in
            let operation = tokens.operation
            guard machine.canCombine(operation) else {
                throw FathomError(
                    .usage,
                    "rank \(rank): operation \(operation) cannot be combined now; each is, once, in order"
                )
            }
            look()
            for action in machine.combine(operation) {
                switch action {
                case .giveBack(_, let target): giveBack(made, tokens, to: target)
                case .signal(let leg, let target, let value):
                    region.signal(target, memory.word(leg, from: rank), UInt64(value), counts: true)
                default: preconditionFailure("no part of sending a combine")
                }
            }
            return SentCombine(exchange: self, operation: operation)
        }
    }

    func receiveCombine(
        _ operation: Int, into output: AlignedBuffer<UInt8>?
    ) throws(FathomError) -> CombinedTokens {
        let span = Spans.begin()
        defer { Spans.end(span, .combineReceive, operation) }
        return try guarded { () throws(FathomError) in
            let run = try run(operation)
            guard machine.isReturning(operation) else {
                throw FathomError(.usage, "rank \(rank): combine \(operation) has been received already")
            }
            let byteCount = run.selection.tokenCount * 2 * shape.format.hidden
            guard output?.count ?? byteCount >= byteCount else {
                throw FathomError(
                    .usage,
                    "rank \(rank): \(output?.count ?? 0) bytes for the sums; \(byteCount) or more are legal")
            }
            look()
            while true {
                if !machine.finish(operation).isEmpty { break }
                try wait(.back, operation, "combine")
            }
            let sums =
                if let output { output } else {
                    try AlignedBuffer<UInt8>(count: byteCount, purpose: "combined tokens")
                }
            sum(run, to: UnsafeMutableRawPointer(sums.baseAddress))
            runs[operation & 1] = nil
            return CombinedTokens(rows: sums, weights: nil)
        }
    }

    // MARK: Sending

    /// Says where the first row of each expert is, −1 where rows are put; and puts those.
    private func giveBack(_ made: ExpertRows, _ tokens: LowLatencyTokens, to target: Int) {
        let inPlace = madeRows(of: tokens)?.base == made.base
        let answer = tokens.counts.indices.map { Int32(inPlace ? tokens.firstSlot(source: target, $0) : -1) }
        answer.withUnsafeBytes { region.put($0, to: target, at: memory.answer(tokens.operation, from: rank)) }
        guard !inPlace else { return }
        var row = 0
        for expert in tokens.counts.indices {
            for slot in tokens.firstSlot(source: target, expert)..<tokens.firstSlot(source: target + 1, expert) {
                put(
                    made.row(expert: expert, slot: slot), to: target,
                    at: memory.returned(tokens.operation, from: rank, row: row))
                row += 1
            }
        }
    }

    /// Puts one row into a slot, encoded if rows are.
    private func put(_ row: UnsafeRawPointer, to target: Int, at offset: Int) {
        let hidden = shape.format.hidden
        guard shape.returnFormat == .logFMT10 else {
            region.put(UnsafeRawBufferPointer(start: row, count: 2 * hidden), to: target, at: offset)
            return
        }
        if let peer = mapped(target) {
            LogFMT10.encode(row, hidden: hidden, to: peer + offset)
        } else {
            withUnsafeTemporaryAllocation(byteCount: memory.returnStride, alignment: 8) { encoded in
                guard let start = encoded.baseAddress else { return }
                let count = LogFMT10.encode(row, hidden: hidden, to: start)
                region.put(UnsafeRawBufferPointer(start: start, count: count), to: target, at: offset)
            }
        }
    }

    // MARK: Summing

    /// Sums the choices of each token in top-k order, weighted, in floats, rounded once to BF16.
    private func sum(_ run: LowLatencyRun, to out: UnsafeMutableRawPointer) {
        let hidden = shape.format.hidden
        let isReturned = (0..<group.rankCount).map { machine.isReturned(run.operation, by: $0) }
        var parts: [LogFMT10.Part] = []
        parts.reserveCapacity(shape.topK)
        for token in 0..<run.selection.tokenCount {
            parts.removeAll(keepingCapacity: true)
            for choice in token * shape.topK..<(token + 1) * shape.topK where run.streams.rowOfChoice[choice] >= 0 {
                let expert = Int(run.selection.experts[choice])
                let rank = shape.placement.rank(ofExpert: expert)
                guard isReturned[rank] else { continue }
                let row = Int(run.streams.rowOfChoice[choice])
                let place = address(run, ofRow: row, expert: expert, rank: rank)
                let weight = run.selection.weights?[choice] ?? 1
                parts.append(LogFMT10.Part(row: place.row, weight: weight, isPlain: place.isPlain))
            }
            let place = out + token * 2 * hidden
            switch shape.returnFormat {
            case .bfloat16:
                RowSum.weightedBFloat16(parts.map { ($0.row, $0.weight) }, to: place, count: hidden)
            case .logFMT10: LogFMT10.sum(parts, to: place, hidden: hidden)
            }
        }
    }

    /// Where what came back for a row of this rank's streams lies, and whether it is as it was made.
    private func address(
        _ run: LowLatencyRun, ofRow row: Int, expert: Int, rank: Int
    ) -> (row: UnsafeRawPointer, isPlain: Bool) {
        let experts = shape.placement.experts(of: rank)
        let local = expert - experts.lowerBound
        let answer = region.local + memory.answer(run.operation, from: rank)
        let first = Int(answer.load(fromByteOffset: 4 * local, as: Int32.self))
        let start = run.streams.starts[rank]
        guard first >= 0, let peer = mapped(rank) else {
            let place = region.local + memory.returned(run.operation, from: rank, row: row - start)
            return (UnsafeRawPointer(place), false)
        }
        let slot = first + row - run.streams.firstRow(ofExpert: expert)
        return (UnsafeRawPointer(peer + memory.made(run.operation, expert: local, slot: slot)), true)
    }
}

/// Rows that the experts of a rank made, for each expert a matrix.
public struct ExpertRows: @unchecked Sendable {
    // SAFETY: @unchecked Sendable because the address never changes; the caller does not write rows that are read.

    /// Row 0 of expert 0.
    public let base: UnsafeMutableRawPointer
    /// Bytes from one row to the next.
    public let rowStride: Int
    /// Bytes from one expert's first row to the next one's.
    public let expertStride: Int

    public init(base: UnsafeMutableRawPointer, rowStride: Int, expertStride: Int) {
        self.base = base
        self.rowStride = rowStride
        self.expertStride = expertStride
    }

    /// A row.
    public func row(expert: Int, slot: Int) -> UnsafeMutableRawPointer {
        base + expert * expertStride + slot * rowStride
    }
}
