// SPDX-License-Identifier: MIT

public import KernelDispatch
public import Platform
internal import Workers

/// The lightning indexer's logits: DeepGEMM's `fp8_fp4_mqa_logits`.
///
///     logits[i, j] = sf[j] · Σₕ w[i, h] · max(0, Σ_c q[i, h, c] · k[j, c])    for starts[i] ≤ j < ends[i]
///
/// with q [s, h, d], keys [s_kv, d] and their scales sf, w [s, h]; starts and ends are first clamped to 0…s_kv. Any s,
/// h, d and s_kv. Products are summed in float32 over ascending c, heads in eight interleaved sums of ascending h. A
/// logit depends on its query and key alone, bit for bit: not on the number of threads, the other rows or the mode.
///
/// - Parameters:
///   - starts, ends: the keys that each query sees, [s]; none where the end does not exceed the start.
///   - logits: [s, s_kv], or [s, compressedWidth] with `compressedWidth`: then column c of row i is key starts[i] + c.
///   - cleans: whether the columns that a query does not see become −∞. Else they are not touched.
///   - compressedWidth: DeepGEMM's `max_seqlen_k`.
/// - Throws: `usage` naming the extent, row or limit that does not fit.
public func mqaLogits(
    _ queries: IndexerQueries, keys: IndexerMatrix, starts: [Int32], ends: [Int32], into logits: IndexerLogits,
    cleans: Bool = true, compressedWidth: Int? = nil, on context: ComputeContext
) throws(FathomError) {
    try requireDepth(queries, keys.depth)
    let width = compressedWidth ?? keys.rowCount
    try requireExtents(logits, rows: queries.queryCount, columns: width)
    guard starts.count == queries.queryCount, ends.count == queries.queryCount else {
        throw FathomError(
            .usage,
            "\(starts.count) starts and \(ends.count) ends for \(queries.queryCount) queries; one of each is legal")
    }
    var rows: [IndexerRow] = []
    rows.reserveCapacity(queries.queryCount)
    for row in 0..<queries.queryCount {
        let start = max(0, min(Int(starts[row]), keys.rowCount))
        let end = max(start, min(Int(ends[row]), keys.rowCount))
        guard compressedWidth == nil || end - start <= width else {
            throw FathomError(
                .usage,
                "query \(row) sees keys \(start)..<\(end), which is \(end - start); the compressed width is \(width)")
        }
        rows.append(IndexerRow(row: row, visible: start..<end, origin: compressedWidth == nil ? 0 : start))
    }
    let plan = IndexerPlan(headCount: queries.headCount, depth: queries.values.depth)
    let tasks = PlainTasks(rowCount: rows.count, keyCount: keys.rowCount, plan: plan, threads: context.team.threadCount)
    context.team.run(taskCount: tasks.taskCount) { task, worker in
        let stretch = IndexerStretch(
            plan: plan, queries: queries, source: keys, logits: logits, kernels: context.kernels,
            scratch: context.scratch(of: worker))
        tasks.forEachPart(of: task) { rowRange, keyRange in
            let part = Array(rows[rowRange])
            stretch.compute(rows: part, keys: keyRange)
            guard cleans else { return }
            for row in part {
                clean(row, logits, isCompressed: compressedWidth != nil, keys: keyRange)
            }
        }
    }
}

/// Fills what a row does not see: of the columns that belong to `keys`, or in compressed mode all with the first keys.
private func clean(_ row: IndexerRow, _ logits: IndexerLogits, isCompressed: Bool, keys: Range<Int>) {
    if isCompressed {
        if keys.lowerBound == 0 { logits.fill(row: row.row, columns: row.visible.count..<logits.columnCount) }
        return
    }
    let seen = row.visible.clamped(to: keys)
    logits.fill(row: row.row, columns: keys.lowerBound..<(seen.isEmpty ? keys.upperBound : seen.lowerBound))
    if !seen.isEmpty { logits.fill(row: row.row, columns: seen.upperBound..<keys.upperBound) }
}

/// The plain form's work: blocks of query rows times runs of keys, bundled into tasks.
private struct PlainTasks {
    let rowCount: Int
    let keyCount: Int
    let rowsPerPart: Int
    let keysPerPart: Int
    let keyParts: Int
    let partCount: Int
    let bundle: Int

    /// Keys that a part has at least, so that packing its queries does not weigh.
    static let minimumKeys = 480

    init(rowCount: Int, keyCount: Int, plan: IndexerPlan, threads: Int) {
        self.rowCount = rowCount
        self.keyCount = keyCount
        rowsPerPart = plan.rowsPerStretch
        let rowParts = ceilDivide(rowCount, rowsPerPart)
        let wanted = ceilDivide(threads * 8, max(rowParts, 1))
        let run = max(Self.minimumKeys, ceilDivide(keyCount, max(wanted, 1)))
        keysPerPart = ceilDivide(run, plan.keyBlock) * plan.keyBlock
        // Without keys there are still columns to clean in compressed mode.
        keyParts = max(1, ceilDivide(keyCount, keysPerPart))
        partCount = rowParts * keyParts
        bundle = max(1, ceilDivide(partCount, 1 << 18))
    }

    var taskCount: Int { ceilDivide(partCount, bundle) }

    func forEachPart(of task: Int, _ body: (_ rows: Range<Int>, _ keys: Range<Int>) -> Void) {
        for part in task * bundle..<min((task + 1) * bundle, partCount) {
            let row = part / keyParts * rowsPerPart
            let key = part % keyParts * keysPerPart
            body(row..<min(row + rowsPerPart, rowCount), key..<min(key + keysPerPart, keyCount))
        }
    }
}

/// - Throws: `usage` unless queries and keys are equally deep.
func requireDepth(_ queries: IndexerQueries, _ depth: Int) throws(FathomError) {
    guard queries.values.depth == depth else {
        throw FathomError(
            .usage, "queries have depth \(queries.values.depth), keys \(depth); equal depths are legal")
    }
}

/// - Throws: `usage` unless the logits have exactly these extents.
func requireExtents(_ logits: IndexerLogits, rows: Int, columns: Int) throws(FathomError) {
    guard logits.rowCount == rows, logits.columnCount == columns else {
        throw FathomError(
            .usage, "logits [\(logits.rowCount), \(logits.columnCount)]; here [\(rows), \(columns)] is legal")
    }
}
