// SPDX-License-Identifier: MIT

internal import KernelDispatch
internal import Kernels
internal import Tensors

// SAFETY: In this file, addresses are those of the tile's scratch, whose parts have the extents that each use needs
// (`scratchCount`, `PairScratch`), or of rows of the cache that the table and the length point at.

extension AttentionTask {
    /// How a request is computed on pairs of bfloat16 numbers; nil where it is not: its queries or the cache are no
    /// such numbers, or the instruction set has no such products.
    func pairs(for sequence: AttentionSequence) -> PairOrder? {
        guard sequence.queries.scalarType == .bfloat16, cache.packed != nil || cache.scalarType == .bfloat16 else {
            return nil
        }
        return PairOrder(
            context.pairAttention, latentWidth: cache.packed?.format.latentWidth ?? 0,
            groupWidth: cache.packed?.format.groupWidth ?? 0, rowWidth: shape.rowWidth, valueWidth: shape.valueWidth)
    }
}

/// The parts of a tile's memory for keys where it computes on pairs.
private struct PairScratch {
    /// bfloat16 rows of a block, `PairOrder.keyStride` apart.
    let keys: UnsafeMutableRawPointer
    /// One row of floats.
    let row: UnsafeMutablePointer<Float>
    /// Scales of a block.
    let scales: UnsafeMutablePointer<Float>
    /// Weights times scales.
    let weights: UnsafeMutablePointer<UInt32>

    init(_ memory: UnsafeMutablePointer<Float>, rowWidth: Int, groupCount: Int) {
        keys = UnsafeMutableRawPointer(memory)
        row = memory + attentionBlockSize / 4 * PairOrder.keyStride(rowWidth)
        scales = row + rowWidth
        weights = UnsafeMutableRawPointer(scales + attentionBlockSize * groupCount).assumingMemoryBound(to: UInt32.self)
    }
}

extension AttentionTile {
    /// Puts the tile's queries side by side as bfloat16, in the order of the kernels.
    func gatherQueries(_ pairs: PairOrder) {
        var isModerate = true
        for row in 0..<rows.count {
            let (token, head) = place(row)
            let source = sequence.queries.row(token: token, head: head)
            pairs.arrange(
                source, width: shape.rowWidth, to: UnsafeMutableRawPointer(queries) + 2 * row * shape.rowWidth)
            if cache.packed != nil {
                isModerate =
                    isModerate
                    && pairs.kernels.isModerate(source.assumingMemoryBound(to: UInt16.self), shape.rowWidth)
            }
        }
        areQueriesModerate.pointee = isModerate ? 1 : 0
    }

    /// Folds in the keys at positions first ..< first + keyCount.
    func sumBlock(first: Int, keyCount: Int, into sums: AttentionSums, _ pairs: PairOrder) {
        let scratch = PairScratch(keys, rowWidth: shape.rowWidth, groupCount: cache.packed?.format.groupCount ?? 0)
        let stride = PairOrder.keyStride(shape.rowWidth)
        var arguments = PairAttentionArguments(
            queries: queries, queryStride: 2 * shape.rowWidth, rowCount: rows.count, keys: scratch.keys,
            keyStride: stride, keyCount: keyCount, keyWidth: shape.rowWidth,
            valueWidth: shape.valueWidth, groupVectors: pairs.groupVectors(rowWidth: shape.rowWidth), limits: limits,
            scale: shape.scale, maxima: sums.maxima, sums: sums.sums, out: sums.out, outStride: shape.valueWidth,
            scores: scores)
        if let pages = cache.packed {
            if sumStored(pages, arguments, scratch, first: first, pairs) { return }
            decode(pages, first: first, count: keyCount, scratch, pairs)
        } else if let stored = storedKeys(first: first, count: keyCount) {
            arguments.keys = stored
            arguments.keyStride = 2 * cache.rowStride
            // Where the next page lies only the table tells.
            if cache.rowStride == shape.rowWidth, first + attentionBlockSize < visibleCount {
                arguments.ahead = storedKeys(first: first + attentionBlockSize, count: 1)
            }
        } else {
            for key in 0..<keyCount {
                guard let source = storedKeys(first: first + key, count: 1) else { continue }
                (scratch.keys + key * stride).copyMemory(from: source, byteCount: 2 * shape.rowWidth)
            }
        }
        pairs.kernels.block(&arguments)
    }

    /// The slot of a position in the packed cache.
    private func slot(_ position: Int) -> Int {
        Int(sequence.blockTable[position / cache.pageSize]) * cache.pageSize + position % cache.pageSize
    }

    /// Multiplies few rows with packed keys as they are stored; false where that would not give the bits of decoded
    /// ones or would cost more.
    private func sumStored(
        _ pages: PackedLatentPages, _ block: PairAttentionArguments, _ scratch: PairScratch, first: Int,
        _ pairs: PairOrder
    ) -> Bool {
        let format = pages.format
        let offset = first % cache.pageSize
        guard rows.count <= packedAttentionRows, areQueriesModerate.pointee != 0, format.coding != .float4,
            offset + block.keyCount <= cache.pageSize
        else { return false }
        let row = pages.row(slot(first))
        guard
            pairs.kernels.readScales(
                row.scales, format.scaleOffset(1, pageSize: 0) - format.scaleOffset(0, pageSize: 0), block.keyCount,
                format.groupCount, format.coding, scratch.scales)
        else { return false }
        var arguments = PackedAttentionArguments(
            block: block, latentWidth: format.latentWidth, groupWidth: format.groupWidth,
            plainOffset: format.ropeOffset(0), scales: scratch.scales, weights: scratch.weights)
        arguments.block.keys = UnsafeRawPointer(row.codes)
        arguments.block.keyStride = format.codeOffset(1)
        if first + attentionBlockSize < visibleCount {
            arguments.block.ahead = UnsafeRawPointer(pages.row(slot(first + attentionBlockSize)).codes)
        }
        pairs.kernels.packedBlock(&arguments)
        return true
    }

    /// Decodes packed keys to bfloat16 rows in scratch.
    private func decode(
        _ pages: PackedLatentPages, first: Int, count: Int, _ scratch: PairScratch, _ pairs: PairOrder
    ) {
        for key in 0..<count {
            ask(for: first + key + attentionBlockSize)
            pages.decode(
                slot(first + key), to: scratch.keys + key * PairOrder.keyStride(shape.rowWidth), row: scratch.row,
                pairs.kernels)
        }
    }
}

extension PackedLatentPages {
    /// One row as bfloat16 in the order of attention on pairs.
    ///
    /// - Parameter row: floats for scratch [rowWidth].
    func decode(
        _ slot: Int, to out: UnsafeMutableRawPointer, row floats: UnsafeMutablePointer<Float>,
        _ kernels: PairAttentionKernels
    ) {
        let row = row(slot)
        var arguments = PackedLatentArguments(
            codes: row.codes, scales: row.scales, coding: format.coding, groupCount: format.groupCount,
            groupWidth: format.groupWidth, plain: row.rope, plainCount: format.ropeWidth, out: floats)
        kernels.decodeRow(&arguments, out)
    }
}
