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
        let step = GemmDriver.directDepth(problem)
        for segment in 0..<problem.segmentCount {
            var from = 0
            while from < problem.depth {
                let end = min(from + step, problem.depth)
                let a = directRows(from..<end, segment, packed: packed, table: table)
                for side in sides {
                    multiply(
                        side.outputs, from..<end, segment, a: a.start, aStride: a.stride, out: sums + side.column,
                        outStride: stride, table: table, scratch: scratch)
                }
                from = end
            }
        }
        if !isInPlace { finish(sums, stride: stride, line: line) }
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
        if problem.a.isPlainFloat {
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
        case .float4E2M1: preconditionFailure("FP4 has no direct kernel")
        }
    }
}
