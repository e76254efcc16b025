// SPDX-License-Identifier: MIT

public import KernelDispatch
public import Platform
internal import Workers

/// The lightning indexer's logits of chosen blocks of tokens: DeepGEMM's `fp8_fp4_sparse_mqa_logits`.
///
/// Column c of row i is the token that `lists` puts there: token c mod blockSize of block number
/// `lists.entries[i, c / blockSize]`. Its logit has the bits that `mqaLogits` gives for the same query and key. Holes,
/// and tokens that the query does not see, become −∞. Time grows with the tokens that are both listed and seen.
///
/// `topK` of these logits chooses columns; `IndexerBlockLists.tokens(ofColumns:)` makes tokens of them.
///
/// - Parameters:
///   - lists: a row for each query; a block may reach beyond the last key, but not begin there.
///   - starts, ends: the keys that each query sees, [s], as for `mqaLogits`; nil for all.
///   - schedule: which share of the work begins where; nil makes one for the context's threads.
///   - logits: [s, blocksPerRow · blockSize].
/// - Throws: `usage` naming the extent, list entry or schedule that does not fit, before anything is written.
public func sparseMQALogits(
    _ queries: IndexerQueries, keys: IndexerMatrix, lists: IndexerBlockLists, starts: [Int32]? = nil,
    ends: [Int32]? = nil, schedule: IndexerSchedule? = nil, into logits: IndexerLogits, on context: ComputeContext
) throws(FathomError) {
    try requireDepth(queries, keys.depth)
    for (name, bounds) in [("starts", starts), ("ends", ends)] {
        guard let bounds, bounds.count != queries.queryCount else { continue }
        throw FathomError(
            .usage, "\(bounds.count) \(name) for \(queries.queryCount) queries; one each is legal")
    }
    let work = try SparseLogits(
        queries: queries, lists: lists, schedule: schedule, logits: logits, context: context,
        tokens: { _ in keys.rowCount })
    work.run { _ in
        keys
    } visible: { row in
        let start = max(0, min(starts.map { Int($0[row]) } ?? 0, keys.rowCount))
        let end = max(start, min(ends.map { Int($0[row]) } ?? keys.rowCount, keys.rowCount))
        return start..<end
    }
}

/// The same over a paged cache: DeepGEMM's `fp8_fp4_paged_sparse_mqa_logits`.
///
/// As `sparseMQALogits`, where query n of request r is row r · N + n and sees the first `lengths.visible[row]` tokens
/// of its request. Lists count the request's tokens; the table says where these lie, in blocks of the cache's own size.
/// Each logit has the bits that `pagedMQALogits` and `mqaLogits` give for the same query and key.
///
/// - Parameters:
///   - lists: a row for each query; a block may reach beyond the context or lie beyond it, where the table has room.
///   - schedule: which share of the work begins where; nil makes one for the context's threads.
///   - logits: [requests · N, blocksPerRow · blockSize].
/// - Throws: `usage` naming the extent, request, entry or schedule that does not fit, before anything is written.
public func pagedSparseMQALogits(
    _ queries: IndexerQueries, cache: PagedIndexerCache, lengths: IndexerContextLengths, table: IndexerBlockTable,
    lists: IndexerBlockLists, schedule: IndexerSchedule? = nil, into logits: IndexerLogits, on context: ComputeContext
) throws(FathomError) {
    try requireDepth(queries, cache.depth)
    try requireQueries(queries, lengths)
    try requireTable(table, lengths, cache, width: nil)
    let work = try SparseLogits(
        queries: queries, lists: lists, schedule: schedule, logits: logits, context: context,
        tokens: { _ in table.columnCount * cache.blockSize })
    work.run { row in
        let request = row / lengths.queriesPerRequest
        return PagedIndexerKeys(
            cache: cache, blocks: table.entries[request * table.columnCount..<(request + 1) * table.columnCount])
    } visible: { row in
        0..<lengths.visible[row]
    }
}

/// What both forms share: extents, schedule and the walk over it.
private struct SparseLogits {
    let queries: IndexerQueries
    let lists: IndexerBlockLists
    let schedule: IndexerSchedule
    let logits: IndexerLogits
    let context: ComputeContext

    /// - Parameter tokens: tokens that a row's list may name blocks of.
    /// - Throws: `usage` naming what does not fit.
    init(
        queries: IndexerQueries, lists: IndexerBlockLists, schedule: IndexerSchedule?, logits: IndexerLogits,
        context: ComputeContext, tokens: (_ row: Int) -> Int
    ) throws(FathomError) {
        guard lists.rowCount == queries.queryCount else {
            throw FathomError(
                .usage, "\(lists.rowCount) block lists for \(queries.queryCount) queries; one each is legal")
        }
        try lists.requireBlocks(tokens: tokens)
        try requireExtents(logits, rows: queries.queryCount, columns: lists.columnCount)
        self.schedule = try IndexerSchedule.checked(
            schedule, for: IndexerSchedule(lists, shareCount: 1), threads: context.team.threadCount,
            of: "other block lists")
        self.queries = queries
        self.lists = lists
        self.logits = logits
        self.context = context
    }

    /// - Parameters:
    ///   - source: the keys of a row's context.
    ///   - visible: what a row sees of them.
    func run<Source: IndexerKeySource>(
        _ source: (_ row: Int) -> Source, visible: (_ row: Int) -> Range<Int>
    ) {
        let plan = IndexerPlan(headCount: queries.headCount, depth: queries.values.depth)
        context.team.run(taskCount: schedule.shareCount) { share, worker in
            let scratch = context.scratch(of: worker)
            schedule.forEachRun(of: share) { row, segments in
                let isLast = segments.upperBound == schedule.segmentCounts[row]
                let first = min(segments.lowerBound * IndexerSchedule.segmentTokens, lists.columnCount)
                let end = isLast ? lists.columnCount : segments.upperBound * IndexerSchedule.segmentTokens
                let keys = SparseIndexerKeys(
                    source(row), list: lists.row(row), blockSize: lists.blockSize, columns: first..<end,
                    visible: visible(row))
                IndexerStretch(
                    plan: plan, queries: queries, source: keys, logits: logits, kernels: context.kernels,
                    scratch: scratch
                ).compute(
                    rows: [IndexerRow(row: row, visible: 0..<keys.count, origin: -first)], keys: 0..<keys.count)
                keys.spread(logits, row: row)
            }
        }
    }
}
