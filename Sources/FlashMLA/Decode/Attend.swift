// SPDX-License-Identifier: MIT

public import KernelDispatch
public import Platform
internal import Telemetry
internal import Tensors
internal import Workers

/// Multi-head latent attention in its absorbed form over a paged cache, for a model's decoding and prefill alike.
///
/// For each token and head: softmax(scale · q·rowᵀ) over the visible rows, times their first `valueWidth` numbers.
/// One arithmetic serves all: keys in blocks of 64 through an online softmax, partitions of `partitionSize` tokens
/// combined in ascending order. A row's result depends on its query and the visible rows alone.
///
/// Requests may have any numbers of tokens; a library user with the same number in each has `denseDecode`, which
/// checks its arguments. Memory beyond the arguments: the context's scratch, and the sums of requests that are cut
/// along their keys (`MLASchedule.splitByteCount`).
///
/// - Throws: `unavailable` if there is no memory for these sums.
public func attend(
    _ requests: [AttentionRequest], shape: AttentionShape, cache: LatentCacheLayer, on context: ComputeContext
) throws(FathomError) {
    let span = Spans.begin()
    defer { Spans.end(span, .attention, requests.reduce(0) { $0 + $1.tokenCount }, shape.headCount, requests.count) }
    precondition(cache.rowWidth == shape.rowWidth, "cache rows are \(cache.rowWidth) wide, queries \(shape.rowWidth)")
    precondition(
        AttentionShape.isSupported(rowWidth: shape.rowWidth, valueWidth: shape.valueWidth),
        "rows are too wide for the scratch")
    let sequences = requests.map { request in
        AttentionSequence(
            extent: AttentionExtent(
                tokenCount: request.tokenCount, length: request.firstPosition + request.tokenCount, isCausal: true),
            queries: MHATensor(
                reading: request.queries, request.queryType, tokenCount: request.tokenCount, headCount: shape.headCount,
                width: shape.rowWidth),
            out: MHATensor(
                writing: request.out, .float32, tokenCount: request.tokenCount, headCount: shape.headCount,
                width: shape.valueWidth),
            logSums: nil, blockTable: request.blockTable)
    }
    let schedule = AttentionSchedule(
        extents: sequences.map(\.extent), headCount: shape.headCount, keyHeadCount: 1,
        threadCount: context.team.threadCount)
    try AttentionTask(
        sequences: sequences, shape: shape, cache: cache.paged, schedule: schedule, context: context
    ).run()
}
