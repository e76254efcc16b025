// SPDX-License-Identifier: MIT

internal import KernelDispatch
internal import Kernels
internal import Tensors

/// The rows of one item while they are computed, token by token, the heads of a token side by side.
///
/// Holds two sets of running maximum, sum and unnormalised output: the current partition's and the total's.
struct AttentionTile {
    let sequence: AttentionSequence
    let rows: AttentionRows
    let shape: AttentionShape
    let cache: PagedLatentCache
    private let keyHead: Int
    private let kernels: KernelTable
    /// Nil where the tile computes in floats.
    let pairs: PairOrder?

    // Scratch, see `scratchCount`.
    private let partition: AttentionSums
    private let total: AttentionSums
    let queries: UnsafeMutablePointer<Float>
    let keys: UnsafeMutablePointer<Float>
    let scores: UnsafeMutablePointer<Float>
    let limits: UnsafeMutablePointer<Int32>
    /// Not zero where packed keys may be multiplied as they are stored.
    let areQueriesModerate: UnsafeMutablePointer<Int32>

    /// Floats of scratch that a tile needs.
    static func scratchCount(rowWidth: Int, valueWidth: Int) -> Int {
        let rows = AttentionSchedule.maximumRows
        return 2 * AttentionSums.floatCount(rowCount: rows, valueWidth: valueWidth)
            + rows * (rowWidth + attentionBlockSize + 1) + attentionBlockSize * rowWidth + 1 + 7 * lineFloats
    }

    /// Floats of a cache line, at whose bounds each part of the scratch begins: vectors of queries and keys that
    /// straddle lines are loaded twice.
    private static let lineFloats = 16

    init(rows: AttentionRows, task: AttentionTask, scratch: UnsafeMutablePointer<Float>) {
        sequence = task.sequences[rows.request]
        self.rows = rows
        shape = task.shape
        cache = task.cache
        keyHead = rows.heads.lowerBound / task.group
        kernels = task.context.kernels
        pairs = task.pairs(for: sequence)
        // SAFETY: the scratch is large enough for all of these (`scratchCount`) and belongs to this task.
        let limit = AttentionSchedule.maximumRows
        var next = scratch
        func take(_ count: Int) -> UnsafeMutablePointer<Float> {
            defer { next += (count + Self.lineFloats - 1) / Self.lineFloats * Self.lineFloats }
            return next
        }
        let sumCount = AttentionSums.floatCount(rowCount: rows.count, valueWidth: shape.valueWidth)
        partition = AttentionSums(rowCount: rows.count, valueWidth: shape.valueWidth, memory: take(sumCount))
        total = AttentionSums(rowCount: rows.count, valueWidth: shape.valueWidth, memory: take(sumCount))
        queries = take(limit * shape.rowWidth)
        keys = take(attentionBlockSize * shape.rowWidth)
        scores = take(limit * attentionBlockSize)
        // SAFETY: an Int32 has the size and alignment of a Float.
        limits = UnsafeMutableRawPointer(take(limit)).bindMemory(to: Int32.self, capacity: limit)
        areQueriesModerate = UnsafeMutableRawPointer(take(1)).bindMemory(to: Int32.self, capacity: 1)
    }

    /// Token and head of row `row`.
    func place(_ row: Int) -> (token: Int, head: Int) {
        (
            rows.tokens.lowerBound + row / rows.heads.count,
            rows.heads.lowerBound + row % rows.heads.count
        )
    }

    /// Puts the tile's queries side by side, as floats or as pairs take them.
    func gatherQueries() {
        if let pairs { return gatherQueries(pairs) }
        for row in 0..<rows.count {
            let (token, head) = place(row)
            let source = sequence.queries.row(token: token, head: head)
            let target = queries + row * shape.rowWidth
            // SAFETY: a row of queries holds `rowWidth` numbers of its type, aligned to it.
            if sequence.queries.scalarType == .float32 {
                target.update(from: source.assumingMemoryBound(to: Float.self), count: shape.rowWidth)
            } else {
                kernels.decodeBFloat16(source, target, shape.rowWidth, 1)
            }
        }
    }

    /// Sums some partitions, the first of all included, into the total.
    func sum(_ partitions: Range<Int>) {
        total.clear()
        for index in partitions {
            sum(partition: index, into: partition)
            total.merge(partition, kernels)
        }
    }

    /// Sums some partitions to memory: together if they begin with the first of all, else each by itself.
    func sum(_ partitions: Range<Int>, storingTo memory: UnsafeMutablePointer<Float>) {
        if partitions.lowerBound == 0 {
            sum(partitions)
            total.copy(to: memory)
            return
        }
        let size = AttentionSums.floatCount(rowCount: rows.count, valueWidth: shape.valueWidth)
        for (set, index) in partitions.enumerated() {
            let sums = AttentionSums(
                rowCount: rows.count, valueWidth: shape.valueWidth, memory: memory + set * size)
            sum(partition: index, into: sums)
        }
    }

    private func sum(partition index: Int, into sums: AttentionSums) {
        sums.clear()
        let visible = sequence.extent.visible(rows.tokens.upperBound - 1)
        let end = min((index + 1) * partitionSize, visible)
        for first in stride(from: index * partitionSize, to: end, by: attentionBlockSize) {
            sumBlock(first: first, keyCount: min(attentionBlockSize, end - first), into: sums)
        }
        // A row whose every score was NaN has no maximum, and is not to be taken for one that saw no key.
        for row in 0..<rows.count where sums.maxima[row] == -.infinity {
            guard sequence.extent.visible(place(row).token) > index * partitionSize else { continue }
            sums.maxima[row] = 0
            sums.sums[row] = .nan
        }
    }

    /// Folds in the keys at positions first ..< first + keyCount.
    private func sumBlock(first: Int, keyCount: Int, into sums: AttentionSums) {
        for row in 0..<rows.count {
            limits[row] = Int32(clamping: sequence.extent.visible(place(row).token) - first)
        }
        if let pairs { return sumBlock(first: first, keyCount: keyCount, into: sums, pairs) }
        let stored = usesStoredKeys ? storedKeys(first: first, count: keyCount) : nil
        let (pointer, stride) =
            stored.map { ($0, cache.rowStride) } ?? keys(first: first, count: keyCount)
        // SAFETY: every extent below is that of the scratch, the cache's rows or the tile.
        var arguments = AttentionArguments(
            queries: queries, queryStride: shape.rowWidth, rowCount: rows.count, keys: pointer,
            keyStride: stride, keyCount: keyCount, keyWidth: shape.rowWidth, valueWidth: shape.valueWidth,
            limits: limits, scale: shape.scale, maxima: sums.maxima, sums: sums.sums, out: sums.out,
            outStride: shape.valueWidth, scores: scores)
        guard stored != nil else { return kernels.attentionBlock(&arguments) }
        // Where the next page lies only the table tells.
        if cache.rowStride == shape.rowWidth, first + attentionBlockSize < visibleCount {
            arguments.ahead = storedKeys(first: first + attentionBlockSize, count: 1)
        }
        if cache.scalarType == .bfloat16 {
            kernels.attentionBlockBFloat16(&arguments)
        } else {
            kernels.attentionBlockFloat16(&arguments)
        }
    }

    /// Keys that some row of the tile sees.
    var visibleCount: Int { sequence.extent.visible(rows.tokens.upperBound - 1) }

    /// Whether keys are multiplied as they are stored.
    private var usesStoredKeys: Bool {
        rows.count <= storedAttentionRows && cache.packed == nil
            && (cache.scalarType == .bfloat16 || cache.scalarType == .float16)
            && allowsStoredAttention(keyWidth: shape.rowWidth, valueWidth: shape.valueWidth)
    }

    /// Where the keys at some positions lie; nil where not in one page.
    func storedKeys(first: Int, count: Int) -> UnsafeRawPointer? {
        let (entry, offset) = first.quotientAndRemainder(dividingBy: cache.pageSize)
        guard offset + count <= cache.pageSize else { return nil }
        return cache.row(block: Int(sequence.blockTable[entry]), offset: offset, keyHead: keyHead)
    }

    /// The keys of some positions as floats, and the distance between them: where they lie if they are floats of one
    /// page, else in scratch.
    private func keys(first: Int, count: Int) -> (UnsafeRawPointer, stride: Int) {
        var position = first
        let end = first + count
        while position < end {
            let offset = position % cache.pageSize
            let run = min(cache.pageSize - offset, end - position)
            let block = Int(sequence.blockTable[position / cache.pageSize])
            let target = keys + (position - first) * shape.rowWidth
            position += run
            if let pages = cache.packed {
                for row in 0..<run {
                    ask(for: position - run + row + attentionBlockSize)
                    pages.decode(block * cache.pageSize + offset + row, to: target + row * shape.rowWidth, kernels)
                }
                continue
            }
            let source = cache.row(block: block, offset: offset, keyHead: keyHead)
            // SAFETY: a float32 cache holds floats, aligned to the row; decoded keys lie in this task's scratch.
            if run == count, cache.scalarType == .float32 {
                return (source, cache.rowStride)
            }
            decode(source, rowCount: run, from: position - run, to: target)
        }
        // SAFETY: the scratch holds `count` decoded rows now.
        return (UnsafeRawPointer(keys), shape.rowWidth)
    }

    /// Decodes rows of one page, the first of them at `position`.
    private func decode(
        _ source: UnsafeRawPointer, rowCount: Int, from position: Int, to target: UnsafeMutablePointer<Float>
    ) {
        for row in 0..<rowCount {
            ask(for: position + row + attentionBlockSize)
            // SAFETY: the row lies in the page, the target in scratch.
            let from = source + row * cache.rowStride * cache.scalarType.byteCount
            let to = target + row * shape.rowWidth
            switch cache.scalarType {
            case .bfloat16: kernels.decodeBFloat16(from, to, shape.rowWidth, 1)
            case .float16: kernels.decodeFloat16(from, to, shape.rowWidth, 1)
            default: to.update(from: from.assumingMemoryBound(to: Float.self), count: shape.rowWidth)
            }
        }
    }

    /// Asks for the row of a later position, if there is one: where the next page lies only the table tells.
    func ask(for position: Int) {
        guard position < visibleCount else { return }
        let (entry, offset) = position.quotientAndRemainder(dividingBy: cache.pageSize)
        let block = Int(sequence.blockTable[entry])
        if let pages = cache.packed {
            let row = pages.row(block * cache.pageSize + offset)
            kernels.prefetchRows(row.codes, 1, pages.format.tokenByteCount, 0)
        } else {
            kernels.prefetchRows(
                cache.row(block: block, offset: offset, keyHead: keyHead), 1,
                shape.rowWidth * cache.scalarType.byteCount, 0)
        }
    }

    /// Writes the results of all rows from the total.
    func finish() {
        for row in 0..<rows.count { finish(row: row, of: total) }
    }

    /// Writes the result of row `row`: its output divided by its sum, and the logarithm of the sum.
    func finish(row: Int, of sums: AttentionSums) {
        let (token, head) = place(row)
        let target = sequence.out.row(token: token, head: head)
        let logSum: Float
        // SAFETY: a row of results has room for `valueWidth` numbers of its type, aligned to it.
        if let pairs {
            // Neither keys nor queries are needed any more, and each has room for a value.
            logSum = sums.finish(row: row, to: keys)
            pairs.restore(keys, width: shape.valueWidth, to: queries)
            write(queries, to: target)
        } else if sequence.out.scalarType == .float32 {
            logSum = sums.finish(row: row, to: target.assumingMemoryBound(to: Float.self))
        } else {
            logSum = sums.finish(row: row, to: queries)
            write(queries, to: target)
        }
        if let logSums = sequence.logSums { logSums[head * sequence.extent.tokenCount + token] = logSum }
    }
    /// Writes a result in the type that is asked for.
    private func write(_ row: UnsafePointer<Float>, to target: UnsafeMutableRawPointer) {
        // SAFETY: a row of results has room for `valueWidth` numbers of its type, aligned to it.
        if sequence.out.scalarType == .float32 {
            target.assumingMemoryBound(to: Float.self).update(from: row, count: shape.valueWidth)
        } else {
            kernels.roundBFloat16(row, target.assumingMemoryBound(to: UInt16.self), shape.valueWidth)
        }
    }
}
