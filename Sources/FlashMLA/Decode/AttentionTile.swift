// SPDX-License-Identifier: MIT

internal import Kernels

/// The rows of one item while they are computed: a row is one head of one token, token by token.
///
/// Holds two sets of running maximum, sum and unnormalised output: the current partition's and the total's.
struct AttentionTile {
    private let request: AttentionRequest
    private let item: AttentionItem
    private let shape: AttentionShape
    private let cache: LatentCacheLayer
    private let kernels: KernelTable
    private let rowCount: Int

    // Scratch, see `scratchCount`.
    private let partition: AttentionSums
    private let total: AttentionSums
    private let queries: UnsafeMutablePointer<Float>
    private let keys: UnsafeMutablePointer<Float>
    private let scores: UnsafeMutablePointer<Float>
    private let limits: UnsafeMutablePointer<Int32>

    /// Floats of scratch that a tile needs.
    static func scratchCount(rowWidth: Int, valueWidth: Int) -> Int {
        let rows = AttentionSchedule.maximumRows
        return 2 * AttentionSums.floatCount(rowCount: rows, valueWidth: valueWidth)
            + rows * (rowWidth + attentionBlockSize + 1) + attentionBlockSize * rowWidth
    }

    init(
        request: AttentionRequest, item: AttentionItem, shape: AttentionShape, cache: LatentCacheLayer,
        kernels: KernelTable, scratch: UnsafeMutablePointer<Float>
    ) {
        self.request = request
        self.item = item
        self.shape = shape
        self.cache = cache
        self.kernels = kernels
        rowCount = item.tokens.count * item.heads.count
        // SAFETY: the scratch is large enough for all of these (`scratchCount`) and belongs to this task.
        let rows = AttentionSchedule.maximumRows
        var next = scratch
        func take(_ count: Int) -> UnsafeMutablePointer<Float> {
            defer { next += count }
            return next
        }
        let sumCount = AttentionSums.floatCount(rowCount: rowCount, valueWidth: shape.valueWidth)
        partition = AttentionSums(rowCount: rowCount, valueWidth: shape.valueWidth, memory: take(sumCount))
        total = AttentionSums(rowCount: rowCount, valueWidth: shape.valueWidth, memory: take(sumCount))
        queries = take(rows * shape.rowWidth)
        keys = take(attentionBlockSize * shape.rowWidth)
        scores = take(rows * attentionBlockSize)
        // SAFETY: an Int32 has the size and alignment of a Float.
        limits = UnsafeMutableRawPointer(take(rows)).bindMemory(to: Int32.self, capacity: rows)
        total.clear()
        gatherQueries()
    }

    /// Puts the tile's queries side by side; heads of one token are a slice of the request's.
    private func gatherQueries() {
        let width = item.heads.count * shape.rowWidth
        for (index, token) in item.tokens.enumerated() {
            let source = request.queries + (token * shape.headCount + item.heads.lowerBound) * shape.rowWidth
            (queries + index * width).update(from: source, count: width)
        }
    }

    /// Sums one partition of the cache into the partition's set.
    func sum(partition index: Int) {
        partition.clear()
        let visible = request.firstPosition + item.tokens.upperBound
        let end = min((index + 1) * partitionSize, visible)
        for first in stride(from: index * partitionSize, to: end, by: attentionBlockSize) {
            sumBlock(first: first, keyCount: min(attentionBlockSize, end - first))
        }
    }

    /// Folds in the keys at positions first ..< first + keyCount, which lie in one block of the cache.
    private func sumBlock(first: Int, keyCount: Int) {
        for row in 0..<rowCount {
            let position = request.firstPosition + item.tokens.lowerBound + row / item.heads.count
            limits[row] = Int32(position + 1 - first)
        }
        let source = cache.row(first, blockTable: request.blockTable)
        // SAFETY: a float32 cache holds floats, aligned to the row; decoded keys lie in this task's scratch.
        let keyPointer: UnsafePointer<Float>
        switch cache.format {
        case .float32: keyPointer = UnsafePointer(source.assumingMemoryBound(to: Float.self))
        case .bfloat16:
            kernels.decodeBFloat16(source, keys, keyCount * shape.rowWidth, 1)
            keyPointer = UnsafePointer(keys)
        }
        // SAFETY: every extent below is that of the scratch, the cache block or the tile.
        var arguments = AttentionArguments(
            queries: queries, queryStride: shape.rowWidth, rowCount: rowCount, keys: keyPointer,
            keyStride: shape.rowWidth, keyCount: keyCount, keyWidth: shape.rowWidth, valueWidth: shape.valueWidth,
            limits: limits, scale: shape.scale, maxima: partition.maxima, sums: partition.sums, out: partition.out,
            outStride: shape.valueWidth, scores: scores)
        kernels.attentionBlock(&arguments)
    }

    /// Folds the partition's set into the total.
    func combine() {
        total.merge(partition, kernels)
    }

    /// Folds a partition that `storePartition` wrote for the same rows into the total.
    func combine(storedAt memory: UnsafeMutablePointer<Float>) {
        total.merge(AttentionSums(rowCount: rowCount, valueWidth: shape.valueWidth, memory: memory), kernels)
    }

    /// Writes the total, divided by its sums, to the request's results.
    func finish() {
        for row in 0..<rowCount {
            let token = item.tokens.lowerBound + row / item.heads.count
            let head = item.heads.lowerBound + row % item.heads.count
            total.finish(row: row, to: request.out + (token * shape.headCount + head) * shape.valueWidth)
        }
    }

    /// Copies the partition's set to `memory`.
    func storePartition(to memory: UnsafeMutablePointer<Float>) {
        let count = AttentionSums.floatCount(rowCount: rowCount, valueWidth: shape.valueWidth)
        memory.update(from: partition.maxima, count: count)
    }
}
