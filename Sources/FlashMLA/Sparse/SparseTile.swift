// SPDX-License-Identifier: MIT

internal import KernelDispatch
internal import Kernels
internal import Tensors

/// Some heads of one token while they are computed: a row is a head.
///
/// Holds two sets of running maximum, sum and unnormalised output: the current partition's and the total's.
struct SparseTile {
    private let problem: SparseProblem
    private let item: SparseItem
    private let kernels: KernelTable
    /// Nil where the tile computes in floats.
    private let pairs: PairOrder?
    private let rowCount: Int

    // Scratch, see `scratchCount`.
    private let partition: AttentionSums
    private let total: AttentionSums
    private let queries: UnsafeMutablePointer<Float>
    private let keys: UnsafeMutablePointer<Float>
    private let scores: UnsafeMutablePointer<Float>
    private let result: UnsafeMutablePointer<Float>
    private let limits: UnsafeMutablePointer<Int32>

    /// Floats between gathered rows; the excess keeps columns from falling on the same cache sets.
    private static func keyStride(_ rowWidth: Int) -> Int { (rowWidth + 7) / 8 * 8 + 16 }

    /// Floats from the keys to a row of scratch where keys are bfloat16 numbers, which leave half of the memory free.
    private static func rowOffset(_ rowWidth: Int) -> Int { attentionBlockSize / 4 * PairOrder.keyStride(rowWidth) }

    /// Rows that go through the kernel together at most, so that their queries and sums stay close to the processor.
    private static let maximumStep = 18

    /// Floats of scratch that a tile needs.
    static func scratchCount(rowWidth: Int, valueWidth: Int) -> Int {
        let rows = SparseSchedule.maximumHeads
        return 2 * AttentionSums.floatCount(rowCount: rows, valueWidth: valueWidth)
            + rows * (rowWidth + attentionBlockSize + 1) + attentionBlockSize * keyStride(rowWidth) + valueWidth
    }

    init(_ problem: SparseProblem, _ item: SparseItem, _ context: ComputeContext, worker: Int) {
        self.problem = problem
        self.item = item
        kernels = context.kernels
        pairs = problem.pairs(context.pairAttention)
        rowCount = item.heads.count
        var next = context.scratch(of: worker)
        func take(_ count: Int) -> UnsafeMutablePointer<Float> {
            defer { next += count }
            return next
        }
        keys = take(attentionBlockSize * Self.keyStride(problem.rowWidth))
        queries = take(rowCount * problem.rowWidth)
        scores = take(rowCount * attentionBlockSize)
        result = take(problem.valueWidth)
        let sumCount = AttentionSums.floatCount(rowCount: rowCount, valueWidth: problem.valueWidth)
        partition = AttentionSums(rowCount: rowCount, valueWidth: problem.valueWidth, memory: take(sumCount))
        total = AttentionSums(rowCount: rowCount, valueWidth: problem.valueWidth, memory: take(sumCount))
        // SAFETY: an Int32 has the size and alignment of a Float.
        limits = UnsafeMutableRawPointer(take(rowCount)).bindMemory(to: Int32.self, capacity: rowCount)
        total.clear()
    }

    /// Puts the tile's queries side by side, as floats or as pairs take them. Not needed where stored partitions are
    /// combined.
    func gatherQueries() {
        let width = problem.rowWidth
        for row in 0..<rowCount {
            // SAFETY: a checked row of queries, which is only read.
            var source = UnsafeRawPointer(
                problem.queries.row(token: item.token, head: item.heads.lowerBound + row))
            var isBFloat16 = problem.queries.scalarType == .bfloat16
            if let fusion = problem.fusion {
                // SAFETY: there are no keys yet, and two of them have room for a query in both types.
                copy(source, isBFloat16: isBFloat16, to: keys)
                let rounded = UnsafeMutableRawPointer(keys + width).assumingMemoryBound(to: UInt16.self)
                fusion.prepare(keys, width: width, token: item.token, rounded: rounded, kernels)
                (source, isBFloat16) = (UnsafeRawPointer(rounded), true)
            }
            if let pairs {
                // SAFETY: a query of bfloat16 numbers has room in one of floats.
                pairs.arrange(source, width: width, to: UnsafeMutableRawPointer(queries) + 2 * row * width)
            } else {
                copy(source, isBFloat16: isBFloat16, to: queries + row * width)
            }
        }
    }

    /// Copies a query as floats.
    private func copy(_ source: UnsafeRawPointer, isBFloat16: Bool, to target: UnsafeMutablePointer<Float>) {
        if isBFloat16 {
            kernels.decodeBFloat16(source, target, problem.rowWidth, 1)
        } else {
            // SAFETY: a checked row of floats.
            UnsafeMutableRawPointer(target).copyMemory(from: source, byteCount: problem.rowWidth * 4)
        }
    }

    /// Sums the valid entries of one partition of the list into the partition's set; false if there is none.
    func sum(partition index: Int) -> Bool {
        let places = index * partitionSize..<min((index + 1) * partitionSize, problem.listCount)
        let stride = Self.keyStride(problem.rowWidth)
        var count = 0
        var isEmpty = true
        problem.forEachRow(token: item.token, places: places) { selection, row in
            if isEmpty { partition.clear() }
            isEmpty = false
            let pool = problem.selections[selection].pool
            if let pairs {
                // SAFETY: keys of bfloat16 numbers take half of the memory, a row of floats follows them.
                let target = UnsafeMutableRawPointer(keys) + count * PairOrder.keyStride(problem.rowWidth)
                pool.decode(row, to: target, row: keys + Self.rowOffset(problem.rowWidth), pairs.kernels)
            } else {
                pool.decode(row, to: keys + count * stride, kernels)
            }
            count += 1
            if count == attentionBlockSize {
                sumBlock(keyCount: count)
                count = 0
            }
        }
        if count > 0 { sumBlock(keyCount: count) }
        guard !isEmpty else { return false }
        // A row whose every score was NaN has no maximum, and is not to be taken for one that saw no key.
        for row in 0..<rowCount where partition.maxima[row] == -.infinity {
            partition.maxima[row] = 0
            partition.sums[row] = .nan
        }
        return true
    }

    /// Folds in the gathered keys.
    private func sumBlock(keyCount: Int) {
        limits.update(repeating: Int32(keyCount), count: rowCount)
        if let pairs {
            let width = problem.rowWidth
            // SAFETY: every extent below is that of the scratch.
            var arguments = PairAttentionArguments(
                queries: queries, queryStride: 2 * width, rowCount: rowCount, keys: keys,
                keyStride: PairOrder.keyStride(width), keyCount: keyCount, keyWidth: width,
                valueWidth: problem.valueWidth, groupVectors: pairs.groupVectors(rowWidth: width), limits: limits,
                scale: problem.scale, maxima: partition.maxima, sums: partition.sums, out: partition.out,
                outStride: problem.valueWidth, scores: scores)
            return pairs.kernels.block(&arguments)
        }
        let steps = (rowCount + Self.maximumStep - 1) / Self.maximumStep
        let step = (rowCount + steps - 1) / steps
        for first in stride(from: 0, to: rowCount, by: step) {
            // SAFETY: every extent below is that of the scratch.
            var arguments = AttentionArguments(
                queries: queries + first * problem.rowWidth, queryStride: problem.rowWidth,
                rowCount: min(step, rowCount - first), keys: keys,
                keyStride: Self.keyStride(problem.rowWidth), keyCount: keyCount, keyWidth: problem.rowWidth,
                valueWidth: problem.valueWidth, limits: limits, scale: problem.scale,
                maxima: partition.maxima + first, sums: partition.sums + first,
                out: partition.out + first * problem.valueWidth, outStride: problem.valueWidth, scores: scores)
            kernels.attentionBlock(&arguments)
        }
    }

    /// Folds the partition's set into the total.
    func combine() {
        total.merge(partition, kernels)
    }

    /// Copies the partition's set to `memory`; a set without keys if it saw none.
    func storePartition(to memory: UnsafeMutablePointer<Float>, isEmpty: Bool) {
        let stored = AttentionSums(rowCount: rowCount, valueWidth: problem.valueWidth, memory: memory)
        if isEmpty {
            stored.maxima.update(repeating: -.infinity, count: rowCount)
            return
        }
        let count = AttentionSums.floatCount(rowCount: rowCount, valueWidth: problem.valueWidth)
        memory.update(from: partition.maxima, count: count)
    }

    /// Folds a partition that `storePartition` wrote for the same rows into the total.
    func combine(storedAt memory: UnsafeMutablePointer<Float>) {
        total.merge(AttentionSums(rowCount: rowCount, valueWidth: problem.valueWidth, memory: memory), kernels)
    }

    /// Writes the results of the tile's rows.
    func finish() {
        let results = problem.results
        for row in 0..<rowCount {
            let head = item.heads.lowerBound + row
            let target = results.out.row(token: item.token, head: head)
            let sink = problem.sinks.map { $0[head] }
            let logSum: Float
            // SAFETY: a checked row of results in its own type; a key has room for a value.
            if let pairs {
                logSum = total.finish(row: row, sink: sink, to: keys)
                pairs.restore(keys, width: problem.valueWidth, to: result)
            } else {
                logSum = total.finish(row: row, sink: sink, to: result)
            }
            // SAFETY: as above; keys are not needed any more.
            if let fusion = problem.fusion {
                fusion.store(
                    result, width: problem.valueWidth, token: item.token, head: head, headCount: problem.headCount,
                    scratch: keys, kernels)
            } else if results.out.scalarType == .bfloat16 {
                kernels.roundBFloat16(result, target.assumingMemoryBound(to: UInt16.self), problem.valueWidth)
            } else {
                target.assumingMemoryBound(to: Float.self).update(from: result, count: problem.valueWidth)
            }
            let place = problem.statistic(token: item.token, head: head)
            results.logSums?[place] = logSum
            results.maxima?[place] = logSum.isNaN ? .nan : total.maxima[row]
        }
    }
}
