// SPDX-License-Identifier: MIT

public import KernelDispatch
internal import Kernels
public import Platform
internal import Tensors
internal import Workers

/// Multi-head latent attention in its absorbed form over a paged cache, for decoding and prefill alike.
///
/// For each token and head: softmax(scale · q·rowᵀ) over the visible rows, times their first `valueWidth` numbers.
/// One arithmetic serves all: keys in blocks of 64 through an online softmax, partitions of `partitionSize` tokens
/// combined in ascending order. A row's result depends on its query and the visible rows alone.
///
/// Memory beyond the arguments: the context's scratch, and when a long sequence is split over threads its
/// partitions' sums, tokens · heads · partitions · (valueWidth + 2) floats.
///
/// - Throws: `unavailable` if there is no memory for a split.
public func attend(
    _ requests: [AttentionRequest], shape: AttentionShape, cache: LatentCacheLayer, on context: ComputeContext
) throws(FathomError) {
    precondition(cache.rowWidth == shape.rowWidth, "cache rows are \(cache.rowWidth) wide, queries \(shape.rowWidth)")
    precondition(
        AttentionShape.isSupported(rowWidth: shape.rowWidth, valueWidth: shape.valueWidth),
        "rows are too wide for the scratch")
    let schedule = AttentionSchedule(
        requests: requests.map { ($0.firstPosition, $0.tokenCount) }, headCount: shape.headCount,
        threadCount: context.team.threadCount)
    if schedule.isSplit {
        try attendSplit(requests, schedule, shape, cache, context)
        return
    }
    context.team.run(taskCount: schedule.items.count) { task, worker in
        let item = schedule.items[task]
        let tile = AttentionTile(
            request: requests[item.request], item: item, shape: shape, cache: cache, kernels: context.kernels,
            scratch: context.scratch(of: worker))
        for partition in item.partitions {
            tile.sum(partition: partition)
            tile.combine()
        }
        tile.finish()
    }
}

/// As `attend`, with one item per partition and a second pass that combines them in the same order.
private func attendSplit(
    _ requests: [AttentionRequest], _ schedule: AttentionSchedule, _ shape: AttentionShape,
    _ cache: LatentCacheLayer, _ context: ComputeContext
) throws(FathomError) {
    let slot = AttentionSums.floatCount(rowCount: AttentionSchedule.maximumRows, valueWidth: shape.valueWidth)
    let sums = try AlignedBuffer<Float>(count: schedule.items.count * slot, purpose: "attention partitions")
    context.team.run(taskCount: schedule.items.count) { task, worker in
        let item = schedule.items[task]
        let tile = AttentionTile(
            request: requests[item.request], item: item, shape: shape, cache: cache, kernels: context.kernels,
            scratch: context.scratch(of: worker))
        tile.sum(partition: item.partitions.lowerBound)
        tile.storePartition(to: sums.baseAddress + task * slot)
    }
    // Items of the same rows follow each other, partition 0 first.
    let heads = schedule.items.indices.filter { schedule.items[$0].partitions.lowerBound == 0 }
    context.team.run(taskCount: heads.count) { task, worker in
        let first = heads[task]
        let end = task + 1 < heads.count ? heads[task + 1] : schedule.items.count
        let item = schedule.items[first]
        let tile = AttentionTile(
            request: requests[item.request], item: item, shape: shape, cache: cache, kernels: context.kernels,
            scratch: context.scratch(of: worker))
        for index in first..<end {
            tile.combine(storedAt: sums.baseAddress + index * slot)
        }
        tile.finish()
    }
}
