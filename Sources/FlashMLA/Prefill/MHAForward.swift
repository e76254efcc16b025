// SPDX-License-Identifier: MIT

public import KernelDispatch
internal import Kernels
public import Platform
internal import Telemetry
internal import Tensors

#if canImport(Glibc)
internal import Glibc
#elseif canImport(Musl)
internal import Musl
#endif

/// Dense attention over packed requests of any lengths: FlashMLA's `flash_attn_varlen_func`.
///
/// For query i and head h of a request, over the visible keys j (see `MHAProblem`):
///
///     lse = ln Σ e^(scale · q·k),  out = Σ e^(scale · q·k − lse) · v
///
/// A query that sees no key has out = 0 and lse = +∞. Several query heads may share a key head: head h reads key head
/// h / (query heads / key heads). Inputs and results are float32 or bfloat16, each as its view says; all arithmetic is
/// float32. The same inputs give the same bits on any number of threads. The cost follows the number of visible pairs.
///
/// Memory beyond the arguments: the context's scratch and 48 bytes for each request.
///
/// - Parameters:
///   - queries: [query tokens, heads, width], width at most 1024.
///   - keys: [key tokens, key heads, width].
///   - values: [key tokens, key heads, value width], value width at most 1024.
///   - out: [query tokens, heads, value width]; must not overlap the inputs.
///   - logSums: the lse [heads, query tokens], natural logarithm; nil if not wanted.
/// - Throws: `usage` for views, offsets or a scale that break a rule; names it. Nothing is written then.
public func multiHeadAttention(
    queries: MHATensor, keys: MHATensor, values: MHATensor, problem: MHAProblem, out: MHATensor,
    logSums: UnsafeMutableBufferPointer<Float>?, on context: ComputeContext
) throws(FathomError) {
    let span = Spans.begin()
    defer { Spans.end(span, .attention, queries.tokenCount, queries.headCount, 1) }
    try MHARule.check(queries: queries, keys: keys, values: values)
    try MHARule.check(problem, queries: queries, keys: keys)
    try MHARule.check(out, "out", like: queries, "the queries", width: values.width, written: true)
    if let logSums { try MHARule.check(logSums: logSums.count, queries: queries) }
    let group = queries.headCount / keys.headCount
    let tiles = MHARowTiles(
        problem, group: group, keyHeads: keys.headCount, tileRows: MHASchedule.forwardRows)
    MHASchedule.run(tiles.count, on: context.team) { index, worker in
        let tile = tiles[index]
        let task = MHAForwardTask(
            queries: queries, keys: keys, values: values, out: out, logSums: logSums?.baseAddress,
            scale: problem.scale, rows: MHARows(problem, request: tile.request, group: group),
            keyHead: tile.keyHead, range: tile.rows, kernels: context.kernels,
            scratch: context.scratch(of: worker))
        task.run()
    }
}

/// One tile of query rows against all keys that it sees.
private struct MHAForwardTask {
    let queries: MHATensor
    let keys: MHATensor
    let values: MHATensor
    let out: MHATensor
    let logSums: UnsafeMutablePointer<Float>?
    let scale: Float
    let rows: MHARows
    let keyHead: Int
    let range: Range<Int>
    let kernels: KernelTable
    let transfer: MHARowTransfer

    // Scratch.
    private let queryRows: UnsafeMutablePointer<Float>
    private let decoded: UnsafeMutablePointer<Float>
    private let keyPanels: UnsafeMutablePointer<Float>
    private let valuePanels: UnsafeMutablePointer<Float>
    private let scores: UnsafeMutablePointer<Float>
    private let sums: UnsafeMutablePointer<Float>
    private let maxima: UnsafeMutablePointer<Float>
    private let totals: UnsafeMutablePointer<Float>
    private let limits: MHALimits

    private var queryStride: Int { mhaRowStride(queries.width) }
    private var outStride: Int { panelPadded(values.width) }

    init(
        queries: MHATensor, keys: MHATensor, values: MHATensor, out: MHATensor,
        logSums: UnsafeMutablePointer<Float>?, scale: Float, rows: MHARows, keyHead: Int, range: Range<Int>,
        kernels: KernelTable, scratch: UnsafeMutablePointer<Float>
    ) {
        self.queries = queries
        self.keys = keys
        self.values = values
        self.out = out
        self.logSums = logSums
        self.scale = scale
        self.rows = rows
        self.keyHead = keyHead
        self.range = range
        self.kernels = kernels
        transfer = MHARowTransfer(kernels: kernels)
        let tile = MHASchedule.forwardRows
        var scratch = MHAScratch(scratch)
        limits = MHALimits(&scratch)
        sums = scratch.take(tile)
        maxima = scratch.take(tile)
        scores = scratch.take(tile * MHASchedule.tileKeys)
        queryRows = scratch.take(tile * mhaRowStride(queries.width))
        totals = scratch.take(tile * panelPadded(values.width))
        keyPanels = scratch.take(MHASchedule.tileKeys * queries.width)
        valuePanels = scratch.take(MHASchedule.tileKeys * panelPadded(values.width))
        decoded = scratch.take(MHASchedule.tileKeys * max(queries.width, values.width))
    }

    func run() {
        transfer.load(
            queries, rows: rows, keyHead: keyHead, range: range, to: queryRows, stride: queryStride)
        sums.update(repeating: 0, count: range.count)
        maxima.update(repeating: -.infinity, count: range.count)
        totals.update(repeating: 0, count: range.count * outStride)
        let end = rows.limit(range.upperBound - 1)
        for first in stride(from: 0, to: end, by: MHASchedule.tileKeys) {
            attend(first..<min(first + MHASchedule.tileKeys, end))
        }
        finish()
    }

    /// Folds in one tile of keys.
    private func attend(_ block: Range<Int>) {
        let tokens = rows.firstKey + block.lowerBound..<rows.firstKey + block.upperBound
        transfer.load(keys, head: keyHead, tokens: tokens, to: decoded)
        kernels.mha.packColumnPanels(decoded, keys.width, block.count, keys.width, keyPanels, 16 * keys.width)
        transfer.load(values, head: keyHead, tokens: tokens, to: decoded)
        kernels.mha.packRowPanels(decoded, values.width, block.count, values.width, valuePanels, 16 * block.count)
        let isFull = limits.set(rows, range: range, keys: block)
        let step = isFull ? range.count : MHASchedule.edgeRows
        for first in stride(from: 0, to: range.count, by: step) {
            multiplyScores(first..<min(first + step, range.count))
        }
        var softmax = MHASoftmaxArguments(
            scores: scores, scoreStride: MHASchedule.tileKeys, rowCount: range.count, keyCount: block.count,
            limits: limits.values, scale: scale, maxima: maxima, sums: sums, out: totals, outStride: outStride,
            outWidth: outStride)
        kernels.mha.softmax(&softmax)
        for first in stride(from: 0, to: range.count, by: step) {
            multiplyValues(first..<min(first + step, range.count), keyCount: block.count)
        }
    }

    /// Scores of some of the tile's rows, with the keys that the last of them sees.
    private func multiplyScores(_ part: Range<Int>) {
        let seen = Int(limits.values[part.upperBound - 1])
        var product = PanelProductArguments(
            a: queryRows + part.lowerBound * queryStride, aRowStride: queryStride, aStepStride: 1, b: keyPanels,
            bPanelStride: 16 * keys.width, out: scores + part.lowerBound * MHASchedule.tileKeys,
            outStride: MHASchedule.tileKeys, rowCount: part.count, innerCount: keys.width,
            panelCount: panelPadded(seen) / 16, accumulates: false)
        kernels.mha.panelProduct(&product)
    }

    /// Adds weights times values for some of the tile's rows.
    private func multiplyValues(_ part: Range<Int>, keyCount: Int) {
        let seen = Int(limits.values[part.upperBound - 1])
        guard seen > 0 else { return }
        var product = PanelProductArguments(
            a: scores + part.lowerBound * MHASchedule.tileKeys, aRowStride: MHASchedule.tileKeys, aStepStride: 1,
            b: valuePanels, bPanelStride: 16 * keyCount, out: totals + part.lowerBound * outStride,
            outStride: outStride, rowCount: part.count, innerCount: seen, panelCount: outStride / 16,
            accumulates: true)
        kernels.mha.panelProduct(&product)
    }

    /// Divides by the sums, and writes results and log-sums.
    private func finish() {
        kernels.mha.normalise(totals, outStride, outStride, range.count, sums)
        for (index, row) in range.enumerated() {
            let token = rows.firstToken + row / rows.group
            let head = keyHead * rows.group + row % rows.group
            transfer.store(totals + index * outStride, out, token: token, head: head)
            guard let logSums else { continue }
            let isEmpty = rows.limit(row) == 0
            logSums[head * queries.tokenCount + token] =
                isEmpty ? .infinity : maxima[index] + logf(sums[index])
        }
    }
}
