// SPDX-License-Identifier: MIT

public import KernelDispatch
public import Platform

/// Multi-head latent attention of a prompt over the rows that each token lists: FlashMLA's `flash_mla_sparse_fwd`.
///
/// As `sparseDecode`, over rows that are not paged, and without requests: for several, concatenate their rows and
/// offset the entries. An entry is void if it is negative, or at or beyond the number of rows, or at or beyond its
/// token's length; every Int32 is legal.
///
/// - Parameters:
///   - queries: [tokens, heads, row width].
///   - rows: [rows, 1, row width].
///   - indices: [tokens, topK].
///   - lengths: for each token how many entries of its list are read [tokens]; nil for all.
///   - scale: multiplies the dot products; usually 1 / √row width.
///   - sinks: [heads], ±∞ included; nil for none.
///   - results: out [tokens, heads, value width]; log-sums and maxima [tokens, heads].
/// - Throws: `usage`, naming the rule, what was given and what is legal; `unavailable` if there is no memory. Then
///   nothing was written.
public func sparsePrefill(
    queries: MHATensor, rows: MHATensor, indices: UnsafeBufferPointer<Int32>, topK: Int,
    lengths: UnsafeBufferPointer<Int32>? = nil, scale: Float, sinks: UnsafeBufferPointer<Float>? = nil,
    results: SparseResults, on context: ComputeContext
) throws(FathomError) {
    try SparseRule.check(queries: queries, scale: scale, sinks: sinks, results: results)
    try SparseRule.check(rows, "rows")
    guard rows.headCount == 1 else {
        throw FathomError(.usage, "rows have \(rows.headCount) heads; all heads share one, so 1 is legal")
    }
    let selection = SparseSelection(pool: SparsePool(rows), indices: indices, topK: topK, lengths: lengths)
    try SparseRule.check(selection, "the selection", queries: queries, requestCount: queries.tokenCount)
    guard queries.tokenCount > 0 else { return }
    let problem = SparseProblem(
        queries: queries, selections: [selection], tokensPerRequest: 1, scale: scale, sinks: sinks, results: results)
    try problem.run(on: context)
}
