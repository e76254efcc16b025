// SPDX-License-Identifier: MIT

internal import KernelDispatch
internal import Kernels

// SAFETY: In this file pointers are to scratch memory of the worker that runs the task, divided as `GemmScratch` says,
// and to the rows and columns of D that this task alone writes.

/// One task: some rows times some columns of one problem's D.
struct GemmTile {
    var problem: GemmProblem
    var epilogue: Epilogue
    var kernels: KernelTable
    var rows: Range<Int>
    /// Columns of D before `heads` spreads them.
    var columns: Range<Int>
    /// The problem's packed rows, chunk after chunk, where all tasks share them.
    var shared: UnsafeMutablePointer<Float>?

    /// A run of B's rows and the column of the sums where it goes.
    struct Side {
        var outputs: Range<Int>
        var column: Int
    }

    /// The rows of B that the columns need: with a gate two runs.
    var sides: [Side] {
        let first = problem.outputs.lowerBound
        let gate = Side(outputs: first + columns.lowerBound..<first + columns.upperBound, column: 0)
        guard epilogue.gate else { return [gate] }
        let half = problem.outputs.count / 2
        return [
            gate,
            Side(
                outputs: gate.outputs.lowerBound + half..<gate.outputs.upperBound + half, column: columns.count),
        ]
    }

    /// Float columns of the sums.
    var width: Int { epilogue.gate ? 2 * columns.count : columns.count }

    /// The factor that the sums still need.
    var factor: Float { problem.b.isCodeOrdered ? Float8E4M3Format.scaleBias : 1 }

    // MARK: Panels

    /// Decodes panels of B once for all rows of the task.
    func runPanels(_ blocking: GemmBlocking, _ scratch: UnsafeMutablePointer<Float>) {
        let stride = GemmScratch.packedStride
        let panel = scratch
        let scaled = panel + GemmScratch.panelRows * stride
        let table = scaled + GemmScratch.rowBlock * stride
        let line = table + GemmScratch.tableCount
        let sums = line + GemmScratch.lineCount
        let own = sums + rows.count * GemmScratch.tileStride
        var chunk = 0
        start(sums, stride: GemmScratch.tileStride)
        for segment in 0..<problem.segmentCount {
            var from = 0
            while from < problem.depth {
                let end = min(from + linearChunk, problem.depth)
                let packed = shared.map { sharedRows(chunk: chunk, of: $0, isPaired: false) } ?? own
                chunk += 1
                if shared == nil { packRows(from..<end, segment, into: own, table: table) }
                for side in sides {
                    var first = side.outputs.lowerBound
                    while first < side.outputs.upperBound {
                        let last = min(first + blocking.panelRows, endOfScales(from: first, side.outputs))
                        problem.b.pack(
                            rows: first..<last, columns: from..<end, segment: segment, into: panel, outStride: stride,
                            unitRows: kernels.panelRows, table: table, usesScales: !problem.b.isCodeOrdered,
                            isRaw: problem.b.isCodeOrdered,
                            interleaves: problem.b.isCodeOrdered, kernels)
                        multiply(
                            first..<last, from..<end, segment, blocking, packed: packed, panel: panel, scaled: scaled,
                            table: table, sums: sums + (side.column + first - side.outputs.lowerBound),
                            next: next(behind: last, side.outputs, from..<end, segment))
                        first = last
                    }
                }
                from = end
            }
        }
        finish(sums, stride: GemmScratch.tileStride, line: line)
    }

    /// The rows of B that are packed behind row `last`: behind the last panel the next chunk begins again with the
    /// first.
    func next(behind last: Int, _ outputs: Range<Int>, _ depth: Range<Int>, _ segment: Int) -> UnsafeRawPointer {
        let isLast = last == outputs.upperBound
        return problem.b.address(
            row: isLast ? outputs.lowerBound : last, k: isLast ? depth.upperBound : depth.lowerBound, segment: segment)
    }

    /// Packs the task's rows of A.
    func packRows(
        _ depth: Range<Int>, _ segment: Int, into packed: UnsafeMutablePointer<Float>,
        table: UnsafeMutablePointer<Float>
    ) {
        var row = rows.lowerBound
        while row < rows.upperBound {
            let end = min(row + GemmScratch.packRows, rows.upperBound)
            problem.a.pack(
                rows: row..<end, columns: depth, segment: segment,
                into: packed + (row - rows.lowerBound) * GemmScratch.packedStride,
                outStride: GemmScratch.packedStride, table: table, usesScales: true, isRaw: false,
                interleaves: problem.b.isCodeOrdered, kernels)
            row = end
        }
    }

    /// Adds the products of the packed rows and one panel, whose rows share B's scales if these multiply A.
    private func multiply(
        _ outputs: Range<Int>, _ depth: Range<Int>, _ segment: Int, _ blocking: GemmBlocking,
        packed: UnsafeMutablePointer<Float>, panel: UnsafeMutablePointer<Float>, scaled: UnsafeMutablePointer<Float>,
        table: UnsafeMutablePointer<Float>, sums: UnsafeMutablePointer<Float>, next ahead: UnsafeRawPointer
    ) {
        let stride = GemmScratch.packedStride
        let aheadByteCount = depth.count * problem.b.format.bitCount / 8
        let padded = ceilDivide(depth.count, elementGroup) * elementGroup
        let runs = ceilDivide(outputs.count, GemmScratch.outputRun)
        var row = 0
        while row < rows.count {
            let count = min(blocking.rowBlock, rows.count - row)
            var a = packed + row * stride
            if problem.b.isCodeOrdered {
                scale(a, count, padded, depth, output: outputs.lowerBound, segment, into: scaled, table: table)
                a = scaled
            }
            // The next block of A comes from the third-level cache, a part during each run of outputs.
            let next = min(blocking.rowBlock, rows.count - row - count)
            for run in 0..<runs {
                let from = run * GemmScratch.outputRun
                let asked = next * run / runs..<next * (run + 1) / runs
                kernels.prefetchRows(
                    packed + (row + count + asked.lowerBound) * stride, asked.count, padded * 4, stride * 4)
                var arguments = DotBlockArguments(
                    a: UnsafePointer(a), aStride: stride, rowCount: count, b: UnsafePointer(panel + from * stride),
                    bStride: stride, outputCount: min(GemmScratch.outputRun, outputs.count - from), count: padded,
                    factor: factor, out: sums + (row * GemmScratch.tileStride + from),
                    outStride: GemmScratch.tileStride,
                    ahead: row == 0 && problem.b.order == .kMajor ? ahead + from * problem.b.stride : nil,
                    aheadStride: problem.b.stride, aheadByteCount: aheadByteCount)
                kernels.dotPanel(&arguments)
            }
            row += count
        }
    }

    /// Multiplies packed rows by the scales of B's row `output`.
    private func scale(
        _ source: UnsafeMutablePointer<Float>, _ rowCount: Int, _ count: Int, _ depth: Range<Int>, output: Int,
        _ segment: Int, into out: UnsafeMutablePointer<Float>, table: UnsafeMutablePointer<Float>
    ) {
        var blocks = 0..<1
        var width = 1 << 40
        table[0] = 1
        if let scales = problem.b.scales {
            width = scales.granularity.columns
            blocks = depth.lowerBound / width..<ceilDivide(depth.upperBound, width)
            let rowBlock = output / scales.granularity.rows
            scales.gather(rowBlocks: rowBlock..<rowBlock + 1, blocks: blocks, segment: segment, into: table)
        }
        var arguments = ScaleArguments(
            source: UnsafePointer(source), rowCount: rowCount, count: count, out: out,
            stride: GemmScratch.packedStride, scales: UnsafePointer(table), blockCount: blocks.count,
            blockColumns: width, firstColumn: depth.lowerBound % width, bias: Float8E4M3Format.scaleBias,
            isInterleaved: true)
        kernels.scalePacked(&arguments)
    }
}
