// SPDX-License-Identifier: MIT

public import KernelDispatch
public import Platform
internal import Telemetry
internal import Workers

/// Dense attention of a few query tokens of each request over a paged latent cache: FlashMLA's
/// `flash_mla_with_kvcache` without indices.
///
/// For query token i and head h of a request of length L, over the visible keys j (all of 0 ..< L, or with `isCausal`
/// those with j ≤ L − s_q + i), where k is the row of key head h / (query heads / key heads) and v its first
/// `out.width` numbers:
///
///     lse = ln Σ e^(scale · q·k),  out = Σ e^(scale · q·k − lse) · v
///
/// A query that sees no key has out = 0 and lse = +∞. Sums are float32; a float32 cache gives the products of unrounded
/// keys. Where queries are bfloat16, the cache is bfloat16 or packed, the processor multiplies bfloat16 pairs
/// (`ComputeContext.pairAttention`) and widths are multiples of 32 (packed: `out.width` of 64), scores are sums of
/// exact products, and the weights e^(score − maximum) are rounded to bfloat16 before they multiply values, as the
/// original does; the lse comes from unrounded ones. Elsewhere weights are float32. A row's bits depend on its query
/// and the visible rows alone: not on the other requests, the page size, the schedule, or the threads.
///
/// Memory beyond the arguments: the context's scratch and the schedule's `splitByteCount(valueWidth:)`.
///
/// - Parameters:
///   - queries: [requests, tokens, heads, row width].
///   - cache: [blocks, page, key heads, row width].
///   - sequences: the requests' blocks and lengths.
///   - isCausal: whether token i sees only what was there before token i + 1.
///   - scale: multiplies the dot products; 1 / √row width if nil.
///   - schedule: made for these lengths and this shape; nil makes one for this call.
///   - out: [requests, tokens, heads, value width], value width ≤ row width; must not overlap the inputs.
///   - logSums: the lse [requests, heads, tokens], natural logarithm; nil if not wanted.
/// - Throws: `usage` for arguments that break a rule; names the rule, what was given and what would be legal, and
///   writes nothing. `unavailable` if there is no memory for the sums of requests that are cut along their keys.
public func denseDecode(
    queries: DecodeTensor, cache: PagedLatentCache, sequences: PagedSequences, isCausal: Bool, scale: Float? = nil,
    schedule: MLASchedule? = nil, out: DecodeTensor, logSums: UnsafeMutableBufferPointer<Float>?,
    on context: ComputeContext
) throws(FathomError) {
    let span = Spans.begin()
    defer { Spans.end(span, .attention, queries.tokenCount, queries.headCount, queries.requestCount) }
    try DecodeRule.check(queries, "queries")
    try DecodeRule.check(cache)
    try DecodeRule.check(queries: queries, cache: cache)
    try DecodeRule.check(out, "out")
    try DecodeRule.check(out: out, queries: queries)
    try DecodeRule.check(writing: out, "out")
    try DecodeRule.check(sequences, cache: cache, requests: queries.requestCount)
    let scale = scale ?? 1 / Float(queries.width).squareRoot()
    try DecodeRule.check(scale: scale)
    if let logSums { try DecodeRule.check(logSums: logSums.count, queries: queries) }
    let used: MLASchedule
    if let schedule {
        try DecodeRule.check(schedule, sequences, queries, cache, isCausal: isCausal)
        used = schedule
    } else {
        used = try MLASchedule(
            lengths: sequences.lengths, queryCount: queries.tokenCount, headCount: queries.headCount,
            keyHeadCount: cache.keyHeadCount, isCausal: isCausal, threadCount: context.team.threadCount)
    }
    let shape = AttentionShape(
        headCount: queries.headCount, rowWidth: queries.width, valueWidth: out.width, scale: scale)
    // The table may be empty; then no request has a key, and its address is never used.
    let table = sequences.blockTable.isEmpty ? [0] : sequences.blockTable
    try table.withUnsafeBufferPointer { (table) throws(FathomError) in
        guard let table = table.baseAddress else { return }
        let attention = sequences.lengths.indices.map { request in
            AttentionSequence(
                extent: AttentionExtent(
                    tokenCount: queries.tokenCount, length: Int(sequences.lengths[request]), isCausal: isCausal),
                queries: queries.request(request), out: out.request(request),
                logSums: logSums?.baseAddress.map { $0 + request * queries.headCount * queries.tokenCount },
                blockTable: table + request * sequences.blocksPerRequest)
        }
        try AttentionTask(sequences: attention, shape: shape, cache: cache, schedule: used.cut, context: context)
            .run()
    }
}
