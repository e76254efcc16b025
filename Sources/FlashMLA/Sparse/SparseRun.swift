// SPDX-License-Identifier: MIT

internal import KernelDispatch
internal import Kernels
internal import Platform
internal import Tensors
internal import Workers

extension SparseProblem {
    /// Tasks of one run of a team; more items than that share tasks.
    private static let maximumTasks = 1 << 16

    /// Computes all results.
    ///
    /// - Throws: `unavailable` if there is no memory for partitions that are computed side by side; then nothing was
    ///   written.
    func run(on context: ComputeContext) throws(FathomError) {
        let schedule = SparseSchedule(
            tokenCount: tokenCount, headCount: headCount, partitionCount: partitionCount,
            threadCount: context.team.threadCount)
        if schedule.isSplit {
            try runSplit(schedule, context)
            return
        }
        forEach(schedule.itemCount, context) { index, worker in
            let item = schedule.item(index)
            let tile = SparseTile(self, item, context, worker: worker)
            tile.gatherQueries()
            for partition in item.partitions where tile.sum(partition: partition) { tile.combine() }
            tile.finish()
        }
    }

    /// As `run`, with one item per partition and a second pass that combines them in the same order.
    private func runSplit(_ schedule: SparseSchedule, _ context: ComputeContext) throws(FathomError) {
        let slot = AttentionSums.floatCount(rowCount: schedule.headsPerItem, valueWidth: valueWidth)
        let count = schedule.itemCount * slot
        try context.withShared(count: count, purpose: "sparse attention partitions") { sums in
            forEach(schedule.itemCount, context) { index, worker in
                let item = schedule.item(index)
                let tile = SparseTile(self, item, context, worker: worker)
                tile.gatherQueries()
                let isEmpty = !tile.sum(partition: item.partitions.lowerBound)
                tile.storePartition(to: sums + index * slot, isEmpty: isEmpty)
            }
            forEach(schedule.tileCount, context) { index, worker in
                let tile = SparseTile(self, schedule.tile(index), context, worker: worker)
                for partition in 0..<partitionCount {
                    tile.combine(storedAt: sums + (index * partitionCount + partition) * slot)
                }
                tile.finish()
            }
        }
    }

    /// Runs `body(index, worker)` for every index below `count`.
    private func forEach(_ count: Int, _ context: ComputeContext, _ body: (Int, Int) -> Void) {
        let perTask = max(1, (count + Self.maximumTasks - 1) / Self.maximumTasks)
        context.team.run(taskCount: (count + perTask - 1) / perTask) { task, worker in
            for index in task * perTask..<min((task + 1) * perTask, count) { body(index, worker) }
        }
    }

    /// How the call is computed on pairs of bfloat16 numbers; nil where its queries or a pool are no such numbers.
    func pairs(_ kernels: PairAttentionKernels?) -> PairOrder? {
        guard fusion != nil || queries.scalarType == .bfloat16, let latentWidth = selections.first?.pool.latentWidth,
            selections.allSatisfy({ $0.pool.latentWidth == latentWidth })
        else { return nil }
        return PairOrder(kernels, latentWidth: latentWidth, rowWidth: rowWidth, valueWidth: valueWidth)
    }
}
