// SPDX-License-Identifier: MIT

internal import KernelDispatch
internal import Kernels

// SAFETY: In this file pointers are to scratch memory of the worker that runs the task, divided as `GemmScratch` says,
// and to the rows and columns of D that this task alone writes.

extension GemmTile {
    /// Multiplies few rows straight with B's codes.
    func runDirect(_ scratch: UnsafeMutablePointer<Float>) {
        let packed = scratch + linearScratchCount
        let line = packed + GemmScratch.directPackedCount
        let table = line + GemmScratch.lineCount
        var sums = table + GemmScratch.directTableCount
        var stride = GemmScratch.directColumns
        let isInPlace = writesSumsInPlace
        if isInPlace {
            sums = problem.d.address(row: rows.lowerBound, column: columns.lowerBound)
                .assumingMemoryBound(to: Float.self)
            stride = problem.d.stride / 4
        }
        if !isInPlace || problem.c == nil { start(sums, stride: stride) }
        for segment in 0..<problem.segmentCount {
            addDirect(0..<problem.depth, segment, to: sums, stride: stride, scratch)
        }
        if !isInPlace { finish(sums, stride: stride, line: line) }
    }

    /// Adds the products of K indices from a whole chunk on, up to another or to the end.
    func addDirect(
        _ depth: Range<Int>, _ segment: Int, to sums: UnsafeMutablePointer<Float>, stride: Int,
        _ scratch: UnsafeMutablePointer<Float>
    ) {
        let packed = scratch + linearScratchCount
        let table = packed + GemmScratch.directPackedCount + GemmScratch.lineCount
        let step = GemmDriver.directDepth(problem)
        var from = depth.lowerBound
        while from < depth.upperBound {
            let end = min(from + step, depth.upperBound)
            let a = directRows(from..<end, segment, packed: packed, table: table)
            for side in sides {
                multiply(
                    side.outputs, from..<end, segment, a: a.start, aStride: a.stride, out: sums + side.column,
                    outStride: stride, table: table, scratch: scratch)
            }
            from = end
        }
    }

    /// Whether D is where the sums can be built: float32 as it is, from zero or from what D holds.
    private var writesSumsInPlace: Bool {
        guard problem.d.format == .float32, epilogue.isIdentity else { return false }
        guard let c = problem.c else { return true }
        return c.base == UnsafeRawPointer(problem.d.base)
    }

    /// The rows of A as floats: where they lie, or packed.
    private func directRows(
        _ depth: Range<Int>, _ segment: Int, packed: UnsafeMutablePointer<Float>, table: UnsafeMutablePointer<Float>
    ) -> (start: UnsafePointer<Float>, stride: Int) {
        if problem.readsRowsInPlace {
            let address = problem.a.address(row: rows.lowerBound, k: depth.lowerBound, segment: segment)
            return (address.assumingMemoryBound(to: Float.self), problem.a.stride / 4)
        }
        let stride = ceilDivide(depth.count, elementGroup) * elementGroup
        var from = depth.lowerBound
        while from < depth.upperBound {
            let end = min(from + linearChunk, depth.upperBound)
            problem.a.pack(
                rows: rows, columns: from..<end, segment: segment, into: packed + (from - depth.lowerBound),
                outStride: stride, table: table, usesScales: true, isRaw: false, interleaves: false, kernels)
            from = end
        }
        return (UnsafePointer(packed), stride)
    }

    /// Adds the products with a run of B's rows.
    private func multiply(
        _ outputs: Range<Int>, _ depth: Range<Int>, _ segment: Int, a: UnsafePointer<Float>, aStride: Int,
        out: UnsafeMutablePointer<Float>, outStride: Int, table: UnsafeMutablePointer<Float>,
        scratch: UnsafeMutablePointer<Float>
    ) {
        guard problem.b.format != .float4E2M1 else {
            return multiplyFloat4(
                outputs, depth, segment, a: a, aStride: aStride, out: out, outStride: outStride, table: table)
        }
        // Rows of B are counted from the start of a block of scales.
        let blockRows = problem.b.scales?.granularity.rows ?? 1 << 40
        let origin = outputs.lowerBound / blockRows * blockRows
        var arguments = LinearArguments(
            a: a, aStride: aStride, rowCount: rows.count, columnCount: depth.count,
            w: problem.b.address(row: origin, k: depth.lowerBound, segment: segment), wStride: problem.b.stride,
            scales: nil, scaleStride: 1, blockRows: blockRows, blockColumns: 1 << 40,
            firstOutput: outputs.lowerBound - origin, endOutput: outputs.upperBound - origin,
            out: out - (outputs.lowerBound - origin), outStride: outStride, accumulates: true, scratch: scratch)
        switch problem.b.format {
        case .float32: kernels.linearFloat32(&arguments)
        case .bfloat16: kernels.linearBFloat16(&arguments)
        case .float16: kernels.linearFloat16(&arguments)
        case .float8E4M3:
            table[0] = 1
            arguments.scales = UnsafePointer(table)
            if let scales = problem.b.scales {
                let width = scales.granularity.columns
                let blocks = depth.lowerBound / width..<ceilDivide(depth.upperBound, width)
                let rowBlocks = outputs.lowerBound / blockRows..<ceilDivide(outputs.upperBound, blockRows)
                scales.gather(rowBlocks: rowBlocks, blocks: blocks, segment: segment, into: table)
                arguments.scaleStride = blocks.count
                arguments.blockColumns = width
            }
            kernels.linearFloat8E4M3(&arguments)
        case .float4E2M1: preconditionFailure("multiplied above")
        }
    }

    /// The same for FP4: its scales belong to single rows, so there may be too many for the table at once.
    private func multiplyFloat4(
        _ outputs: Range<Int>, _ depth: Range<Int>, _ segment: Int, a: UnsafePointer<Float>, aStride: Int,
        out: UnsafeMutablePointer<Float>, outStride: Int, table: UnsafeMutablePointer<Float>
    ) {
        let width = problem.b.scales?.granularity.columns ?? problem.depth + 8
        let blocks = depth.lowerBound / width..<ceilDivide(depth.upperBound, width)
        let step = GemmScratch.float4Rows(blocks: blocks.count)
        for first in stride(from: outputs.lowerBound, to: outputs.upperBound, by: step) {
            let rows = first..<min(first + step, outputs.upperBound)
            var arguments = Float4LinearArguments(
                a: a, aStride: aStride, rowCount: self.rows.count,
                w: problem.b.address(row: first, k: depth.lowerBound, segment: segment), wStride: problem.b.stride,
                outputCount: rows.count, count: depth.count, scales: UnsafePointer(table), scaleStride: blocks.count,
                blockColumns: width, out: out + (first - outputs.lowerBound), outStride: outStride)
            if let place = problem.b.scales?.floats(row: first, block: blocks.lowerBound, segment: segment) {
                (arguments.scales, arguments.scaleStride) = (place, (problem.b.scales?.rowStride ?? 0) / 4)
            } else if let scales = problem.b.scales {
                scales.gather(rows: rows, blocks: blocks, segment: segment, into: table)
            } else {
                table.update(repeating: 1, count: rows.count)
            }
            kernels.linearFloat4(&arguments)
        }
    }
}
