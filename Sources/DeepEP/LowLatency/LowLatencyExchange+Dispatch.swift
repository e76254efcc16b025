// SPDX-License-Identifier: MIT

// SAFETY: In this file addresses are of whole rows: those that a caller keeps, and slots that `LowLatencyMemory` places
// in the shared region. The protocol says when a slot may be read or written.

internal import CFathom
internal import Kernels
internal import LowPrecision
public import Platform
internal import Ranks
internal import Telemetry

extension LowLatencyExchange {
    /// Sends each token to the ranks of its experts.
    ///
    /// - Parameters:
    ///   - rows: BF16, one for each token of `selection`; free to be changed when the call returns, but for those of
    ///     `nextRows`.
    ///   - selection: the experts of each token, each at most once, and the weights of their sum.
    /// - Throws: `badData` or `usage` for tokens that do not fit, which ends the exchange for all.
    public func dispatch(_ rows: TokenRows, _ selection: TopKSelection) throws(FathomError) -> SentDispatch {
        let span = Spans.begin()
        defer { Spans.end(span, .dispatchSend, rows.count) }
        return try guarded { () throws(FathomError) in
            look()
            guard machine.canDispatch else {
                throw FathomError(
                    .usage,
                    "rank \(rank): two dispatches are under way; the first has to be combined before the third")
            }
            guard selection.topK == shape.topK, selection.tokenCount == rows.count,
                rows.count <= shape.tokensPerRank
            else {
                throw FathomError(
                    .usage,
                    """
                    rank \(rank): \(rows.count) rows and top-\(selection.topK) choices of \(selection.tokenCount) \
                    tokens for an exchange of top-\(shape.topK) with at most \(shape.tokensPerRank) tokens
                    """)
            }
            let isMasked: [Bool]
            if let membership {
                isMasked = try membership.begin(machine.operation + 1).isMasked
                takeLosses(membership)
            } else {
                isMasked = Array(repeating: false, count: group.rankCount)
            }
            let streams = try LowLatencyStreams(selection, placement: shape.placement, isMasked: isMasked)
            let actions = machine.dispatch(isMasked: isMasked)
            var run = LowLatencyRun(
                operation: machine.operation, selection: selection, streams: streams, rows: rows,
                firstSlots: Array(repeating: 0, count: (group.rankCount + 1) * experts.count))
            for action in actions { perform(action, run) }
            run.rows = nil
            runs[run.operation & 1] = run
            return SentDispatch(exchange: self, operation: run.operation)
        }
    }

    /// Where the rows of the next dispatch can be made, so that they need not be copied: `tokensPerRank` rows, `stride`
    /// bytes apart, free until that dispatch.
    ///
    /// - Returns: nil where rows are cast on their way, or the operation before the last has not been combined.
    public var nextRows: (base: UnsafeMutableRawPointer, stride: Int)? {
        guard shape.format.scaleBytes == 0, machine.canDispatch else { return nil }
        let next = machine.operation + 1
        let first = memory.staged(next, token: 0)
        return (region.local + first, memory.staged(next, token: 1) - first)
    }

    func receiveDispatch(_ operation: Int) throws(FathomError) -> LowLatencyTokens {
        let span = Spans.begin()
        defer { Spans.end(span, .dispatchReceive, operation) }
        return try guarded { () throws(FathomError) in
            var run = try run(operation)
            guard machine.isReceiving(operation) else {
                throw FathomError(.usage, "rank \(rank): dispatch \(operation) has been received already")
            }
            look()
            while true {
                for action in machine.receive(operation) { try take(action, &run) }
                guard machine.isReceiving(operation) else { break }
                try wait(.out, operation, "dispatch")
            }
            runs[operation & 1] = run
            let experts = experts.count
            return LowLatencyTokens(
                counts: Array(run.firstSlots[(group.rankCount * experts)...]), slotsPerExpert: shape.slotsPerExpert,
                isMasked: machine.isMasked(operation), isMissing: machine.isMissing(operation), exchange: self,
                operation: operation, firstSlots: run.firstSlots)
        }
    }

    // MARK: Sending

    private func perform(_ action: LowLatencyProtocol.Action, _ run: LowLatencyRun) {
        switch action {
        case .stage: stage(run)
        case .send(_, let target): send(run, to: target)
        case .signal(let leg, let target, let value):
            region.signal(target, memory.word(leg, from: rank), UInt64(value), counts: true)
        default: preconditionFailure("no part of sending a dispatch")
        }
    }

    /// Puts the rows, as they go out, where the others can read them.
    private func stage(_ run: LowLatencyRun) {
        guard let rows = run.rows else { return }
        for token in 0..<rows.count {
            let record = region.local + memory.staged(run.operation, token: token)
            if rows.row(token) == record { continue }
            switch shape.format.element {
            case .float8E4M3(let scales): quantize(rows.row(token), to: record, scales)
            default: record.copyMemory(from: rows.row(token), byteCount: shape.format.dataBytes)
            }
        }
    }

    /// Casts a row to FP8: scale = max(|x|ₘₐₓ, 10⁻⁴) / 448 for 128 neighbours, code = e4m3(x · (1 / scale)).
    private func quantize(
        _ row: UnsafeRawPointer, to record: UnsafeMutableRawPointer, _ kind: RowFormat.Scales
    ) {
        let format = shape.format
        let scaleCount = format.scaleCount
        withUnsafeTemporaryAllocation(of: Float.self, capacity: scaleCount) { buffer in
            guard let floats = buffer.baseAddress else { return }
            var arguments = QuantizeArguments(
                source: row, sourceStride: 0, rowCount: 1, columnCount: format.hidden,
                blockColumns: RowFormat.scaleBlock, powerOfTwoScales: kind == .packedUE8M0,
                codes: record.assumingMemoryBound(to: UInt8.self), codeStride: 0, scales: floats)
            kernels.quantizeE4M3BFloat16(&arguments)
            let out = record + format.scaleOffset
            switch kind {
            case .float32: out.copyMemory(from: floats, byteCount: 4 * scaleCount)
            case .packedUE8M0:
                for index in 0..<(scaleCount + 3) / 4 * 4 {
                    let exponent = index < scaleCount ? UInt8(floats[index].bitPattern >> 23) : 0
                    out.storeBytes(of: exponent, toByteOffset: index, as: UInt8.self)
                }
            }
        }
    }

    /// Says how many rows come for each expert, as −n − 1, and whose they are; and puts them where they are not read in
    /// place.
    private func send(_ run: LowLatencyRun, to target: Int) {
        let stream = run.streams.stream(to: target)
        let counts = run.streams.counts[shape.placement.experts(of: target)].map { -$0 - 1 }
        let notice = counts + run.streams.tokens[stream]
        notice.withUnsafeBytes { region.put($0, to: target, at: memory.notice(run.operation, from: rank)) }
        guard mapped(target) == nil else { return }
        for (row, index) in stream.enumerated() {
            let token = Int(run.streams.tokens[index])
            let record = UnsafeRawBufferPointer(
                start: region.local + memory.staged(run.operation, token: token), count: memory.rowBytes)
            region.put(record, to: target, at: memory.landing(run.operation, from: rank, row: row))
        }
    }

    // MARK: Receiving

    private func take(_ action: LowLatencyProtocol.Action, _ run: inout LowLatencyRun) throws(FathomError) {
        let count = experts.count
        switch action {
        case .skip(_, let source):
            for expert in 0..<count {
                run.firstSlots[(source + 1) * count + expert] = run.firstSlots[source * count + expert]
            }
        case .take(_, let source):
            let notice = region.local + memory.notice(run.operation, from: source)
            var row = 0
            for expert in 0..<count {
                let rows = -Int(notice.load(fromByteOffset: 4 * expert, as: Int32.self)) - 1
                let first = Int(run.firstSlots[source * count + expert])
                guard rows >= 0, rows <= shape.tokensPerRank else {
                    throw FathomError(.internal, "rank \(source) says that it sends \(rows) rows to one expert")
                }
                run.firstSlots[(source + 1) * count + expert] = Int32(first + rows)
                row += rows
            }
            for index in count..<count + row {
                let token = Int(notice.load(fromByteOffset: 4 * index, as: Int32.self))
                guard token >= 0, token < shape.tokensPerRank else {
                    throw FathomError(.internal, "rank \(source) says that it sends token \(token)")
                }
            }
        default: preconditionFailure("no part of receiving a dispatch")
        }
    }
}
