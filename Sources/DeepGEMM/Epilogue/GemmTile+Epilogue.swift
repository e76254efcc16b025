// SPDX-License-Identifier: MIT

internal import CFathom
internal import KernelDispatch
internal import Kernels

// SAFETY: In this file pointers are to scratch memory of the worker that runs the task, and to the rows and columns of
// C and D that belong to the task.

extension Epilogue {
    /// Whether sums are D.
    var isIdentity: Bool { alpha == 1 && bias == nil && !gate && heads == nil }

    /// Calls `body` with runs of columns that stay neighbours in D: the first one's place among `columns`, its
    /// column in D, and their number.
    func forEachRun(of columns: Range<Int>, _ body: (_ offset: Int, _ column: Int, _ count: Int) -> Void) {
        guard let heads else {
            body(0, columns.lowerBound, columns.count)
            return
        }
        var n = columns.lowerBound
        while n < columns.upperBound {
            let place = heads.place(n)
            let count = min(place.run, columns.upperBound - n)
            body(n - columns.lowerBound, place.column, count)
            n += count
        }
    }
}

extension GemmTile {
    /// Sets the sums to where they begin: C with alpha = 1, else zero.
    func start(_ sums: UnsafeMutablePointer<Float>, stride: Int) {
        for row in rows {
            let line = sums + (row - rows.lowerBound) * stride
            if let c = problem.c, epilogue.alpha == 1 {
                load(c, row: row, into: line)
            } else {
                line.update(repeating: 0, count: width)
            }
        }
    }

    /// C's numbers for the task's columns of a row.
    private func load(_ c: AddendSlice, row: Int, into line: UnsafeMutablePointer<Float>) {
        epilogue.forEachRun(of: columns) { offset, column, count in
            let source = c.address(row: row, column: column)
            switch c.format {
            case .float32: (line + offset).update(from: source.assumingMemoryBound(to: Float.self), count: count)
            case .bfloat16: kernels.decodeBFloat16(source, line + offset, count, 1)
            }
        }
    }

    /// A result of at least so many bytes goes past the caches, which would not keep it for whoever reads it next.
    private static var streamedBytes: Int { 1 << 24 }

    /// Applies the epilogue to the sums, row by row, and stores D. `line` has room for two rows of sums.
    func finish(_ sums: UnsafeMutablePointer<Float>, stride: Int, line: UnsafeMutablePointer<Float>) {
        let streams =
            problem.c == nil && problem.d.format == .float32
            && problem.rowCount * problem.outputs.count * 4 >= Self.streamedBytes
        for row in rows {
            var values = sums + (row - rows.lowerBound) * stride
            if epilogue.alpha != 1 {
                if let c = problem.c { load(c, row: row, into: line) } else { line.update(repeating: 0, count: width) }
                kernels.addScaled(values, epilogue.alpha, line, width)
                values = line
            }
            if let bias = epilogue.bias {
                for side in sides {
                    let first = side.outputs.lowerBound - problem.outputs.lowerBound
                    kernels.addScaled(bias + first, 1, values + side.column, side.outputs.count)
                }
            }
            if let unit = epilogue.unit {
                unit.run(
                    values, count: columns.count, weight: problem.rowWeights?[row] ?? 1, bits: line + width, kernels)
            } else if epilogue.gate {
                kernels.siluMultiply(values, values + columns.count, columns.count)
            }
            store(values, row: row, scales: line + width, streams: streams)
        }
        if streams { fathom_store_fence() }
    }

    private func store(
        _ values: UnsafeMutablePointer<Float>, row: Int, scales: UnsafeMutablePointer<Float>, streams: Bool
    ) {
        epilogue.forEachRun(of: columns) { offset, column, count in
            let target = problem.d.address(row: row, column: column)
            switch problem.d.format {
            case .float32:
                if streams, UInt(bitPattern: target) % 16 == 0 {
                    fathom_stream_copy(target, values + offset, count * 4)
                } else {
                    target.assumingMemoryBound(to: Float.self).update(from: values + offset, count: count)
                }
            case .bfloat16:
                kernels.roundBFloat16(values + offset, target.assumingMemoryBound(to: UInt16.self), count)
            case .float8E4M3: quantize(values + offset, row: row, column: column, count, target, scales)
            }
        }
    }

    /// Quantises a run that begins at a multiple of 128 columns.
    private func quantize(
        _ values: UnsafeMutablePointer<Float>, row: Int, column: Int, _ count: Int, _ target: UnsafeMutableRawPointer,
        _ scales: UnsafeMutablePointer<Float>
    ) {
        guard let place = problem.d.scales else { return }
        var arguments = QuantizeArguments(
            source: UnsafeRawPointer(values), sourceStride: 0, rowCount: 1, columnCount: count,
            blockColumns: place.blockColumns, powerOfTwoScales: place.encoding != .float32,
            areActivations: epilogue.unit != nil, codes: target.assumingMemoryBound(to: UInt8.self), codeStride: 0,
            scales: scales)
        kernels.quantizeE4M3Float32(&arguments)
        let first = column / place.blockColumns
        for block in 0..<ceilDivide(count, place.blockColumns) {
            place.store(scales[block], row: row, block: first + block)
        }
    }
}
