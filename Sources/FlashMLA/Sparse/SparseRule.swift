// SPDX-License-Identifier: MIT

internal import Platform

/// The rules of sparse attention; each failure names the rule, what was given and what would be legal.
enum SparseRule {
    /// The longest list.
    static let maximumTopK = 1 << 24

    static func check(
        queries: MHATensor, scale: Float, sinks: UnsafeBufferPointer<Float>?, results: SparseResults
    ) throws(FathomError) {
        try check(
            queries: queries, scale: scale, sinks: sinks, logSums: results.logSums?.count,
            maxima: results.maxima?.count)
        let out = results.out
        try MHARule.check(out, "out", like: queries, "the queries", width: min(out.width, queries.width), written: true)
    }

    /// What does not depend on the form of results.
    static func check(
        queries: MHATensor, scale: Float, sinks: UnsafeBufferPointer<Float>?, logSums: Int?, maxima: Int?
    ) throws(FathomError) {
        try check(queries, "queries")
        guard scale.isFinite else {
            throw FathomError(.usage, "the softmax scale is \(scale); it must be a finite number")
        }
        if let sinks {
            guard sinks.count == queries.headCount else {
                throw FathomError(
                    .usage, "there are \(sinks.count) sinks; \(queries.headCount) heads need as many")
            }
            for head in sinks.indices where sinks[head].isNaN {
                throw FathomError(.usage, "the sink of head \(head) is NaN; legal are numbers and ±infinity")
            }
        }
        try check(logSums, "log-sums", queries)
        try check(maxima, "maxima", queries)
    }

    /// A view for reading by itself.
    static func check(_ tensor: MHATensor, _ name: String) throws(FathomError) {
        try MHARule.check(tensor, name, like: tensor, name, width: tensor.width, written: false)
    }

    private static func check(_ count: Int?, _ name: String, _ queries: MHATensor) throws(FathomError) {
        let legal = queries.tokenCount * queries.headCount
        guard let count, count != legal else { return }
        throw FathomError(
            .usage,
            """
            the \(name) have \(count) elements; \(queries.headCount) heads of \(queries.tokenCount) tokens need \
            \(legal)
            """)
    }

    /// Extents and lengths of a selection; not its entries.
    static func check(
        _ selection: SparseSelection, _ name: String, queries: MHATensor, requestCount: Int
    ) throws(FathomError) {
        let pool = selection.pool
        guard pool.rowWidth == queries.width else {
            throw FathomError(
                .usage, "\(name): rows are \(pool.rowWidth) wide, queries \(queries.width); the two must be equal")
        }
        try check(pool, name)
        guard (0...maximumTopK).contains(selection.topK) else {
            throw FathomError(
                .usage, "\(name): lists have \(selection.topK) entries; legal are 0 to \(maximumTopK)")
        }
        let (needed, overflow) = queries.tokenCount.multipliedReportingOverflow(by: selection.topK)
        guard !overflow, selection.indices.count == needed else {
            throw FathomError(
                .usage,
                """
                \(name): there are \(selection.indices.count) indices; \(queries.tokenCount) tokens with lists of \
                \(selection.topK) need \(overflow ? "more than there can be" : "\(needed)")
                """)
        }
        guard let lengths = selection.lengths else { return }
        guard lengths.count == requestCount else {
            throw FathomError(.usage, "\(name): there are \(lengths.count) lengths; \(requestCount) are needed")
        }
        for request in lengths.indices where lengths[request] < 0 || Int(lengths[request]) > selection.topK {
            throw FathomError(
                .usage,
                """
                \(name): length \(request) is \(lengths[request]); legal are 0 to \(selection.topK), the entries of \
                a list
                """)
        }
    }

    /// A pool's extents; those of packed pages and views were checked before.
    private static func check(_ pool: SparsePool, _ name: String) throws(FathomError) {
        guard pool.pageSize >= 1, pool.pageSize <= 1 << 31, (0...1 << 31).contains(pool.pageCount) else {
            throw FathomError(
                .usage,
                """
                \(name): the pool has \(pool.pageCount) pages of \(pool.pageSize) tokens; legal are 0 to 2^31 pages \
                of 1 to 2^31 tokens
                """)
        }
        // A single page needs no stride.
        guard pool.pageCount > 1 else { return }
        let bytes = pool.pageSize * pool.rowStride
        let isTooFar = pool.pageStride.multipliedReportingOverflow(by: pool.pageCount).overflow
        guard pool.pageStride < bytes || isTooFar else { return }
        throw FathomError(
            .usage, "\(name): pages are \(pool.pageStride) bytes apart; a page of the pool has \(bytes)")
    }

    /// Every entry that is read is −1 or a row of the pool.
    static func checkEntries(
        _ selection: SparseSelection, _ name: String, tokenCount: Int, tokensPerRequest: Int
    ) throws(FathomError) {
        let rowCount = selection.pool.rowCount
        for token in 0..<tokenCount {
            let (request, i) = token.quotientAndRemainder(dividingBy: tokensPerRequest)
            for place in 0..<selection.length(request) {
                let entry = Int(selection.indices[token * selection.topK + place])
                guard entry < -1 || entry >= rowCount else { continue }
                throw FathomError(
                    .usage,
                    """
                    \(name): entry \(place) of request \(request), token \(i) is \(entry); legal are -1 for a hole \
                    and the \(rowCount) rows of the pool from 0
                    """)
            }
        }
    }
}
