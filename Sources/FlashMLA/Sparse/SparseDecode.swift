// SPDX-License-Identifier: MIT

public import KernelDispatch
public import Platform

/// Multi-head latent attention over the cache rows that each token lists: FlashMLA's `flash_mla_with_kvcache` with
/// `indices`.
///
/// For each token and head, over the valid entries of its lists, each as often as it is listed:
///
///     p = scale · q·row,  lse = ln Σ e^p,  out = Σ e^(p − lse) · row[0 ..< value width] · 1 / (1 + e^(sink − lse))
///
/// An entry is void if it is −1 or at or beyond its request's length; the row behind it is never read. A token without
/// a valid entry has out 0 and lse +∞, whatever the sink. A row with a NaN makes its token's results NaN.
///
/// Any number of heads, list length and page size. Arithmetic is that of `denseDecode`: with bfloat16 queries weights
/// are rounded to bfloat16 where the processor multiplies pairs, if both pools are bfloat16 or both are packed with
/// codes of one width. The result of a token depends on its query and lists alone, bit for bit: not on other requests
/// or threads. Time grows with the valid entries, and by a glance with the void ones.
///
/// Memory beyond the arguments: the context's scratch; where there are fewer than two shares of work (up to 128 heads
/// of a token) for a thread and lists are longer than 512, also the sums of their partitions, tokens · heads ·
/// ⌈list / 512⌉ · (value width + 2) floats.
///
/// - Parameters:
///   - queries: [requests · tokens, heads, row width], requests one after the other.
///   - requestCount: requests, whose tokens are equal in number.
///   - selection: lists [requests, tokens, topK] into the first pool.
///   - extra: lists of their own length into a second pool with rows of the same width; its entries follow.
///   - scale: multiplies the dot products; usually 1 / √row width.
///   - sinks: [heads], ±∞ included; nil for none.
///   - results: out [requests · tokens, heads, value width], the first columns of a row being its value; log-sums and
///     maxima [requests, heads, tokens].
/// - Throws: `usage`, naming the rule, what was given and what is legal: an entry that is below −1 or beyond the pool
///   is named by request, token and place. `unavailable` if there is no memory. Then nothing was written.
public func sparseDecode(
    queries: MHATensor, requestCount: Int, selection: SparseSelection, extra: SparseSelection? = nil, scale: Float,
    sinks: UnsafeBufferPointer<Float>? = nil, results: SparseResults, on context: ComputeContext
) throws(FathomError) {
    try SparseRule.check(queries: queries, scale: scale, sinks: sinks, results: results)
    try runSparseDecode(
        queries: queries, requestCount: requestCount, selection: selection, extra: extra, scale: scale, sinks: sinks,
        results: results, fusion: nil, on: context)
}

/// Checks the lists of a call whose other arguments were checked, and runs it.
func runSparseDecode(
    queries: MHATensor, requestCount: Int, selection: SparseSelection, extra: SparseSelection?, scale: Float,
    sinks: UnsafeBufferPointer<Float>?, results: SparseResults, fusion: SparseFusion?, on context: ComputeContext
) throws(FathomError) {
    guard requestCount >= 0, requestCount == 0 ? queries.tokenCount == 0 : queries.tokenCount % requestCount == 0 else {
        throw FathomError(
            .usage,
            """
            queries have \(queries.tokenCount) tokens for \(requestCount) requests; legal is the same number of \
            tokens for each
            """)
    }
    let tokens = requestCount == 0 ? 1 : queries.tokenCount / requestCount
    try SparseRule.check(selection, "the selection", queries: queries, requestCount: requestCount)
    if let extra { try SparseRule.check(extra, "the extra selection", queries: queries, requestCount: requestCount) }
    guard queries.tokenCount > 0 else { return }
    try SparseRule.checkEntries(selection, "the selection", tokenCount: queries.tokenCount, tokensPerRequest: tokens)
    if let extra {
        try SparseRule.checkEntries(
            extra, "the extra selection", tokenCount: queries.tokenCount, tokensPerRequest: tokens)
    }
    let problem = SparseProblem(
        queries: queries, selections: [selection] + (extra.map { [$0] } ?? []), tokensPerRequest: tokens,
        scale: scale, sinks: sinks, results: results, fusion: fusion)
    try problem.run(on: context)
}
