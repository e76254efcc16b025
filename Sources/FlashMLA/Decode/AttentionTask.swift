// SPDX-License-Identifier: MIT

internal import KernelDispatch
internal import Kernels
internal import Platform
internal import Tensors

/// One request of an attention call, whoever asks: a decode call's or the model's.
struct AttentionSequence {
    var extent: AttentionExtent
    /// [tokens, heads, row width], float32 or bfloat16.
    var queries: MHATensor
    /// [tokens, heads, value width], float32 or bfloat16.
    var out: MHATensor
    /// [heads, tokens], or nil if not wanted.
    var logSums: UnsafeMutablePointer<Float>?
    /// The blocks of positions 0 ..< extent.length.
    var blockTable: UnsafePointer<Int32>
}

/// An attention call whose arguments are known to be right: the one machine under `attend` and `denseDecode`.
struct AttentionTask {
    let sequences: [AttentionSequence]
    let shape: AttentionShape
    let cache: PagedLatentCache
    let schedule: AttentionSchedule
    let context: ComputeContext

    /// Query heads that read one key head.
    var group: Int { shape.headCount / cache.keyHeadCount }

    /// - Throws: `unavailable` if there is no memory for the sums of requests that are cut along their keys.
    func run() throws(FathomError) {
        let count = schedule.storedRowCount * (2 + shape.valueWidth)
        try context.withShared(count: count, purpose: "attention partitions") { run(storingTo: $0) }
    }

    /// - Parameter stored: memory for the sums of requests that are cut.
    private func run(storingTo stored: UnsafeMutablePointer<Float>) {
        let items = schedule.items
        MHASchedule.run(items.count, on: context.team) { index, worker in
            let item = items[index]
            let tile = AttentionTile(rows: item.rows, task: self, scratch: context.scratch(of: worker))
            tile.gatherQueries()
            if let row = item.storedRows {
                tile.sum(item.partitions, storingTo: stored + row * (2 + shape.valueWidth))
            } else {
                tile.sum(item.partitions)
                tile.finish()
            }
        }
        merge(stored)
    }

    /// Combines the sums of requests that were cut along their keys, some rows of a merge in a task.
    private func merge(_ stored: UnsafeMutablePointer<Float>) {
        let rowsPerTask = 4
        let tasks = schedule.merges.indices.flatMap { merge in
            stride(from: 0, to: schedule.merges[merge].rows.count, by: rowsPerTask).map { (merge, $0) }
        }
        MHASchedule.run(tasks.count, on: context.team) { index, worker in
            let (mergeIndex, first) = tasks[index]
            let merge = schedule.merges[mergeIndex]
            let tile = AttentionTile(rows: merge.rows, task: self, scratch: context.scratch(of: worker))
            let size = AttentionSums.floatCount(rowCount: merge.rows.count, valueWidth: shape.valueWidth)
            let start = stored + merge.storedRows * (2 + shape.valueWidth)
            let sets = (0..<merge.setCount).map { set in
                AttentionSums(
                    rowCount: merge.rows.count, valueWidth: shape.valueWidth, memory: start + set * size)
            }
            for row in first..<min(first + rowsPerTask, merge.rows.count) {
                // Into the first set, which holds the first keys: no other task has this row.
                for later in sets.dropFirst() { sets[0].merge(later, row: row, context.kernels) }
                tile.finish(row: row, of: sets[0])
            }
        }
    }
}
