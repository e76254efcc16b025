// SPDX-License-Identifier: MIT

public import KernelDispatch
public import Platform
internal import Workers

/// Which blocks of a paged indexer cache hold each request's tokens: row r, entry i is the block of tokens
/// i · blockSize … of request r. Entries beyond a request's context may hold anything.
public struct IndexerBlockTable: Sendable {
    /// [requests, columnCount], row-major.
    public let entries: [Int32]
    public let columnCount: Int

    /// - Throws: `usage` if the entries are not whole rows.
    public init(_ entries: [Int32], columnCount: Int) throws(FathomError) {
        guard columnCount >= 0, columnCount == 0 ? entries.isEmpty : entries.count % columnCount == 0 else {
            throw FathomError(
                .usage, "a block table of \(entries.count) entries with \(columnCount) a row; whole rows are legal")
        }
        self.entries = entries
        self.columnCount = columnCount
    }
}

/// The lightning indexer's logits over a paged cache: DeepGEMM's `fp8_fp4_paged_mqa_logits`.
///
/// As `mqaLogits`, where query n of request r is row r · N + n, sees the first `lengths.visible[row]` tokens of its
/// request, and column j is token j, found through the block table. Each logit has the bits that `mqaLogits` gives for
/// the same query and key.
///
/// - Parameters:
///   - logits: [requests · N, maximumLength], of any `maximumLength` that holds the longest context.
///   - schedule: which share of the work begins where; nil makes one for the context's threads.
///   - cleans: whether columns from a row's length on become −∞. Else they are not touched.
/// - Throws: `usage` naming the extent, request, table entry or schedule that does not fit, before anything is written.
public func pagedMQALogits(
    _ queries: IndexerQueries, cache: PagedIndexerCache, lengths: IndexerContextLengths, table: IndexerBlockTable,
    schedule: IndexerSchedule? = nil, into logits: IndexerLogits, cleans: Bool = true, on context: ComputeContext
) throws(FathomError) {
    try requireDepth(queries, cache.depth)
    try requireQueries(queries, lengths)
    try requireExtents(logits, rows: queries.queryCount, columns: logits.columnCount)
    try requireTable(table, lengths, cache, width: logits.columnCount)
    let plan = IndexerPlan(headCount: queries.headCount, depth: queries.values.depth)
    let work = try IndexerSchedule.checked(
        schedule, for: IndexerSchedule(lengths, shareCount: 1), threads: context.team.threadCount,
        of: "requests of other context lengths")
    context.team.run(taskCount: work.shareCount) { share, worker in
        let scratch = context.scratch(of: worker)
        work.forEachRun(of: share) { request, segments in
            let blocks = table.entries[request * table.columnCount..<(request + 1) * table.columnCount]
            let stretch = IndexerStretch(
                plan: plan, queries: queries, source: PagedIndexerKeys(cache: cache, blocks: blocks), logits: logits,
                kernels: context.kernels, scratch: scratch)
            let isLast = segments.upperBound == work.segmentCounts[request]
            let first = segments.lowerBound * IndexerSchedule.segmentTokens
            let end = isLast ? Int.max : segments.upperBound * IndexerSchedule.segmentTokens
            compute(stretch, lengths, rows: lengths.rows(of: request), keys: first..<end, cleans: cleans)
        }
    }
}

/// A request's rows against one run of its tokens, and −∞ for what they do not see of it.
private func compute(
    _ stretch: IndexerStretch<PagedIndexerKeys>, _ lengths: IndexerContextLengths, rows: Range<Int>,
    keys: Range<Int>, cleans: Bool
) {
    let columns = keys.clamped(to: 0..<stretch.logits.columnCount)
    var first = rows.lowerBound
    while first < rows.upperBound {
        let end = min(first + stretch.plan.rowsPerStretch, rows.upperBound)
        let part = (first..<end).map { IndexerRow(row: $0, visible: 0..<lengths.visible[$0], origin: 0) }
        stretch.compute(rows: part, keys: columns)
        if cleans {
            for row in part {
                stretch.logits.fill(
                    row: row.row, columns: (row.visible.upperBound..<Int.max).clamped(to: columns))
            }
        }
        first = end
    }
}

/// - Throws: `usage` unless there are as many queries as rows of lengths.
func requireQueries(_ queries: IndexerQueries, _ lengths: IndexerContextLengths) throws(FathomError) {
    guard queries.queryCount == lengths.visible.count else {
        throw FathomError(
            .usage,
            "\(queries.queryCount) queries for \(lengths.requestCount) requests of \(lengths.queriesPerRequest); "
                + "\(lengths.visible.count) is legal")
    }
}

/// - Parameter width: columns that must hold the longest context; nil where columns are no tokens.
/// - Throws: `usage` naming the request whose context does not fit, or the entry in use that is no block.
func requireTable(
    _ table: IndexerBlockTable, _ lengths: IndexerContextLengths, _ cache: PagedIndexerCache, width: Int?
) throws(FathomError) {
    let rows = table.columnCount == 0 ? lengths.requestCount : table.entries.count / table.columnCount
    guard rows == lengths.requestCount else {
        throw FathomError(.usage, "a block table of \(rows) rows for \(lengths.requestCount) requests")
    }
    for request in 0..<lengths.requestCount {
        let longest = lengths.longest(request)
        if let width, longest > width {
            throw FathomError(
                .usage, "request \(request) has a context of \(longest) tokens; the logits have \(width) columns")
        }
        let used = ceilDivide(longest, cache.blockSize)
        guard used <= table.columnCount else {
            throw FathomError(
                .usage,
                "request \(request) has a context of \(longest) tokens, \(used) blocks of \(cache.blockSize); its row "
                    + "of the block table has \(table.columnCount)")
        }
        for index in 0..<used {
            let block = table.entries[request * table.columnCount + index]
            guard block >= 0, Int(block) < cache.blockCount else {
                throw FathomError(
                    .usage,
                    "request \(request), block table entry \(index): block \(block); the cache has "
                        + "0..<\(cache.blockCount)")
            }
        }
    }
}
