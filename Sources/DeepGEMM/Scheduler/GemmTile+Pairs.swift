// SPDX-License-Identifier: MIT

internal import KernelDispatch
internal import Kernels

// SAFETY: In this file pointers are to scratch memory of the worker that runs the task, divided as `GemmScratch` says,
// and to the rows and columns of D that this task alone writes.

extension GemmProblem {
    /// Whether the product is one of bfloat16 pairs, where the processor has such: both operands bfloat16 without
    /// scales, or both FP8 with scales for whole blocks of `pairBlock` elements of K; A's may be finer powers of two.
    /// FP8 codes are bfloat16 numbers, times a power of two as well.
    var isPaired: Bool {
        switch (a.format, b.format) {
        case (.bfloat16, .bfloat16): a.scales == nil && b.scales == nil
        case (.float8E4M3, .float8E4M3): (hasPairedScales(a) || hasFineScales) && hasPairedScales(b)
        default: false
        }
    }

    private func hasPairedScales(_ operand: OperandSlice) -> Bool {
        guard let width = operand.scales?.granularity.columns else { return true }
        return width % pairBlock == 0 || width >= depth
    }

    /// Whether the scales of A are UE8M0 and multiply its numbers before these become pairs.
    var hasFineScales: Bool { a.scales.map { $0.encoding != .float32 && !hasPairedScales(a) } ?? false }

    /// Whether the scales of B are the same for eight of its rows at least, or it has none.
    var hasWideScales: Bool { b.scales.map { $0.granularity.rows % 8 == 0 } ?? true }
}

/// Products of bfloat16 pairs; `PairBlockArguments` defines the sum.
extension GemmTile {
    /// Blocks of K in a chunk.
    private static var chunkBlocks: Int { linearChunk / pairBlock }

    // MARK: Panels

    /// As `runPanels`, with pairs instead of floats.
    func runPairPanels(_ blocking: GemmBlocking, _ pairs: PairKernels, _ scratch: UnsafeMutablePointer<Float>) {
        let panel = scratch
        let staging = panel + GemmScratch.panelRows * GemmScratch.packedStride
        let table = staging + GemmScratch.rowBlock * GemmScratch.packedStride
        let line = table + GemmScratch.tableCount
        let sums = line + GemmScratch.lineCount
        let own = sums + rows.count * GemmScratch.tileStride
        var chunk = 0
        let scales = PairScales(table, rowCount: rows.count)
        start(sums, stride: GemmScratch.tileStride)
        for segment in 0..<problem.segmentCount {
            for from in Swift.stride(from: 0, to: problem.depth, by: linearChunk) {
                let depth = from..<min(from + linearChunk, problem.depth)
                let packed = shared.map { sharedRows(chunk: chunk, of: $0, isPaired: true) } ?? own
                chunk += 1
                if shared == nil {
                    packPairRows(
                        depth, segment, into: UnsafeMutableRawPointer(own), stride: pairRowBytes, staging: staging,
                        pairs)
                }
                gatherScales(depth, segment, into: scales.a)
                for side in sides {
                    var first = side.outputs.lowerBound
                    while first < side.outputs.upperBound {
                        let last = min(first + blocking.panelRows, endOfScales(from: first, side.outputs))
                        packPairUnits(
                            first..<last, depth, segment, into: UnsafeMutableRawPointer(panel), pairs)
                        multiplyPairs(
                            first..<last, depth, segment, blocking, a: packed, b: panel, scales,
                            out: sums + (side.column + first - side.outputs.lowerBound),
                            next: next(behind: last, side.outputs, depth, segment), pairs)
                        first = last
                    }
                }
            }
        }
        finish(sums, stride: GemmScratch.tileStride, line: line)
    }

    /// Where a task's scales lie in the table.
    private struct PairScales {
        /// [rows, blocks] of A, and times those of B.
        let a: UnsafeMutablePointer<Float>
        let products: UnsafeMutablePointer<Float>
        /// [panel rows, blocks] of B, and the other way round.
        let b: UnsafeMutablePointer<Float>
        let columns: UnsafeMutablePointer<Float>

        init(_ table: UnsafeMutablePointer<Float>, rowCount: Int) {
            a = table
            products = a + rowCount * chunkBlocks
            b = products + rowCount * chunkBlocks
            columns = b + GemmScratch.panelRows * chunkBlocks
        }
    }

    /// The end of B's rows from `first` on that share scales, if these are wide.
    func endOfScales(from first: Int, _ outputs: Range<Int>) -> Int {
        guard problem.hasWideScales, let rows = problem.b.scales?.granularity.rows else { return outputs.upperBound }
        return min(outputs.upperBound, (first / rows + 1) * rows)
    }

    private func multiplyPairs(
        _ outputs: Range<Int>, _ depth: Range<Int>, _ segment: Int, _ blocking: GemmBlocking,
        a: UnsafeMutablePointer<Float>, b: UnsafeMutablePointer<Float>, _ scales: PairScales,
        out: UnsafeMutablePointer<Float>, next: UnsafeRawPointer, _ pairs: PairKernels
    ) {
        let blocks = ceilDivide(depth.count, pairBlock)
        var arguments = PairBlockArguments(
            a: UnsafeRawPointer(a), rowCount: 0, b: UnsafeRawPointer(b), outputCount: outputs.count,
            count: depth.count, rowScales: UnsafePointer(scales.products), rowScaleStride: blocks, columnScales: nil,
            columnScaleStride: GemmScratch.panelRows, out: out, outStride: GemmScratch.tileStride, ahead: nil,
            aheadStride: problem.b.stride, aheadByteCount: problem.b.format == .bfloat16 ? 2 : 1)
        arguments.aheadIsColumns = problem.b.order == .mnMajor
        if problem.hasWideScales {
            gather(problem.b.scales, 0, outputs.lowerBound..<outputs.lowerBound + 1, depth, segment, into: scales.b)
            multiply(scales.a, by: scales.b, blocks: blocks, into: scales.products)
        } else {
            gather(problem.b.scales, 0, outputs, depth, segment, into: scales.b)
            for block in 0..<blocks {
                for column in 0..<outputs.count {
                    scales.columns[block * GemmScratch.panelRows + column] = scales.b[column * blocks + block]
                }
            }
            arguments.rowScales = UnsafePointer(scales.a)
            arguments.columnScales = UnsafePointer(scales.columns)
        }
        for row in Swift.stride(from: 0, to: rows.count, by: blocking.rowBlock) {
            arguments.rowCount = min(blocking.rowBlock, rows.count - row)
            arguments.ahead = row == 0 ? next : nil
            pairs.product(&arguments)
            arguments.a += arguments.rowCount * pairRowBytes
            arguments.rowScales += arguments.rowCount * blocks
            arguments.out += arguments.rowCount * GemmScratch.tileStride
        }
    }

    // MARK: Few rows

    /// Multiplies few rows straight with B's codes.
    func runPairDirect(_ pairs: PairKernels, _ scratch: UnsafeMutablePointer<Float>) {
        let line = scratch + linearScratchCount + GemmScratch.directPackedCount
        let sums = line + GemmScratch.lineCount + GemmScratch.directTableCount
        start(sums, stride: GemmScratch.directColumns)
        for segment in 0..<problem.segmentCount {
            addPairDirect(0..<problem.depth, segment, to: sums, stride: GemmScratch.directColumns, pairs, scratch)
        }
        finish(sums, stride: GemmScratch.directColumns, line: line)
    }

    /// Adds the products of K indices from a whole chunk on, up to another or to the end.
    func addPairDirect(
        _ whole: Range<Int>, _ segment: Int, to sums: UnsafeMutablePointer<Float>, stride sumStride: Int,
        _ pairs: PairKernels, _ scratch: UnsafeMutablePointer<Float>
    ) {
        let packed = scratch + linearScratchCount
        let table = packed + GemmScratch.directPackedCount + GemmScratch.lineCount
        // What the packed rows have room for, in whole chunks.
        let step = 2 * GemmScratch.directPackedCount / rows.count / linearChunk * linearChunk
        for from in Swift.stride(from: whole.lowerBound, to: whole.upperBound, by: step) {
            let depth = from..<min(from + step, whole.upperBound)
            let stride = ceilDivide(depth.count, 64) * 128
            packPairRows(
                depth, segment, into: UnsafeMutableRawPointer(packed), stride: stride, staging: scratch, pairs)
            let blocks = ceilDivide(depth.count, pairBlock)
            let products = table + rows.count * blocks
            let scalesOfB = products + rows.count * blocks
            gatherScales(depth, segment, into: table)
            for side in sides {
                prefetchScales(side.outputs, depth, segment)
                var first = side.outputs.lowerBound
                while first < side.outputs.upperBound {
                    let end = endOfScales(from: first, side.outputs)
                    gather(problem.b.scales, 0, first..<first + 1, depth, segment, into: scalesOfB)
                    multiply(table, by: scalesOfB, blocks: blocks, into: products)
                    var arguments = PairLinearArguments(
                        a: UnsafeRawPointer(packed), aStride: stride, rowCount: rows.count,
                        w: problem.b.address(row: first, k: depth.lowerBound, segment: segment),
                        wStride: problem.b.stride, outputCount: end - first, count: depth.count,
                        scales: UnsafePointer(products), scaleStride: blocks,
                        out: sums + (side.column + first - side.outputs.lowerBound), outStride: sumStride)
                    if problem.b.format == .float8E4M3 {
                        pairs.linearFloat8E4M3(&arguments)
                    } else {
                        pairs.linearBFloat16(&arguments)
                    }
                    first = end
                }
            }
        }
    }

    // MARK: Packing

    /// The scales of the task's rows of A, as `gather` writes them.
    private func gatherScales(_ depth: Range<Int>, _ segment: Int, into out: UnsafeMutablePointer<Float>) {
        guard !problem.hasFineScales else { return gather(nil, 0, rows, depth, segment, into: out) }
        guard problem.a.indices != nil else {
            return gather(problem.a.scales, problem.a.firstRow, rows, depth, segment, into: out)
        }
        let blocks = ceilDivide(depth.count, pairBlock)
        for row in rows {
            gather(
                problem.a.scales, problem.a.place(row), 0..<1, depth, segment,
                into: out + (row - rows.lowerBound) * blocks)
        }
    }

    /// The scales of some rows for every block of `pairBlock` elements, row by row; 1 without scales.
    private func gather(
        _ scales: ScaleSlice?, _ firstRow: Int, _ rows: Range<Int>, _ depth: Range<Int>, _ segment: Int,
        into out: UnsafeMutablePointer<Float>
    ) {
        let blocks = ceilDivide(depth.count, pairBlock)
        guard let scales else {
            out.update(repeating: 1, count: rows.count * blocks)
            return
        }
        let width = scales.granularity.columns
        let stored = depth.lowerBound / width..<ceilDivide(depth.upperBound, width)
        scales.gather(
            rows: firstRow + rows.lowerBound..<firstRow + rows.upperBound, blocks: stored, segment: segment, into: out)
        guard stored.count < blocks else { return }
        // Wide blocks: from the last to the first, so that none is overwritten before it is read.
        for row in (0..<rows.count).reversed() {
            for block in (0..<blocks).reversed() {
                let index = (depth.lowerBound + block * pairBlock) / width - stored.lowerBound
                out[row * blocks + block] = out[row * stored.count + index]
            }
        }
    }

    /// Asks for B's scales: the product would otherwise wait for memory at the start of every block of rows.
    private func prefetchScales(_ outputs: Range<Int>, _ depth: Range<Int>, _ segment: Int) {
        guard let scales = problem.b.scales else { return }
        let width = scales.granularity.columns
        scales.prefetch(
            rows: outputs, blocks: depth.lowerBound / width..<ceilDivide(depth.upperBound, width), segment: segment,
            kernels)
    }

    /// Every row of A's scales times one of B's.
    private func multiply(
        _ a: UnsafeMutablePointer<Float>, by b: UnsafeMutablePointer<Float>, blocks: Int,
        into out: UnsafeMutablePointer<Float>
    ) {
        for row in 0..<rows.count {
            for block in 0..<blocks { out[row * blocks + block] = a[row * blocks + block] * b[block] }
        }
    }

    /// Rows that are staged as floats at a time, where they do not lie as the packing kernels want them.
    private static var stagedRows: Int { 16 }

    /// The task's rows of A as bfloat16 numbers.
    func packPairRows(
        _ depth: Range<Int>, _ segment: Int, into out: UnsafeMutableRawPointer, stride: Int,
        staging: UnsafeMutablePointer<Float>, _ pairs: PairKernels
    ) {
        guard problem.a.indices != nil else {
            return pack(problem.a, rows, depth, segment, into: out, stride: stride, staging: staging, pairs)
        }
        for row in rows {
            pack(
                problem.a.only(row), 0..<1, depth, segment, into: out + (row - rows.lowerBound) * stride,
                stride: stride, staging: staging, pairs)
        }
    }

    /// Rows of A that lie in turn.
    private func pack(
        _ a: OperandSlice, _ rows: Range<Int>, _ depth: Range<Int>, _ segment: Int,
        into out: UnsafeMutableRawPointer, stride: Int, staging: UnsafeMutablePointer<Float>, _ pairs: PairKernels
    ) {
        guard a.order != .kMajor || problem.hasFineScales else {
            var arguments = PairPackArguments(
                source: a.address(row: rows.lowerBound, k: depth.lowerBound, segment: segment), stride: a.stride,
                rowCount: rows.count, count: depth.count, out: out, outStride: stride)
            return a.format == .float8E4M3
                ? pairs.packRowsFloat8E4M3(&arguments) : pairs.packRowsBFloat16(&arguments)
        }
        for row in Swift.stride(from: 0, to: rows.count, by: Self.stagedRows) {
            let end = min(row + Self.stagedRows, rows.count)
            for from in Swift.stride(from: depth.lowerBound, to: depth.upperBound, by: linearChunk) {
                stage(
                    a, rows.lowerBound + row..<rows.lowerBound + end,
                    from..<min(from + linearChunk, depth.upperBound), segment,
                    into: out + (row * stride + (from - depth.lowerBound) * 2), stride: stride, staging: staging, pairs)
            }
        }
    }

    /// Rows of B as units of bfloat16 numbers; at most a chunk.
    private func packPairUnits(
        _ outputs: Range<Int>, _ depth: Range<Int>, _ segment: Int, into out: UnsafeMutableRawPointer,
        _ pairs: PairKernels
    ) {
        var arguments = PairPackArguments(
            source: problem.b.address(row: outputs.lowerBound, k: depth.lowerBound, segment: segment),
            stride: problem.b.stride, rowCount: outputs.count, count: depth.count, out: out, outStride: 0)
        switch (problem.b.order, problem.b.format) {
        case (.kMajor, .float8E4M3): pairs.packUnitsFloat8E4M3(&arguments)
        case (.kMajor, _): pairs.packUnitsBFloat16(&arguments)
        case (.mnMajor, .float8E4M3): pairs.packColumnsFloat8E4M3(&arguments)
        case (.mnMajor, _): pairs.packColumnsBFloat16(&arguments)
        }
    }

    /// Up to `stagedRows` rows of a chunk of an operand in any order, with its scales if they are fine.
    private func stage(
        _ operand: OperandSlice, _ rows: Range<Int>, _ depth: Range<Int>, _ segment: Int,
        into out: UnsafeMutableRawPointer, stride: Int, staging: UnsafeMutablePointer<Float>, _ pairs: PairKernels
    ) {
        operand.pack(
            rows: rows, columns: depth, segment: segment, into: staging, outStride: GemmScratch.packedStride,
            table: staging + Self.stagedRows * GemmScratch.packedStride, usesScales: problem.hasFineScales,
            isRaw: false, interleaves: false, kernels)
        pairs.narrowRows(
            UnsafePointer(staging), GemmScratch.packedStride, rows.count, depth.count, out, stride)
    }
}
