// SPDX-License-Identifier: MIT

internal import Kernels
internal import LowPrecision

// SAFETY: In this file addresses are computed from strides that were checked against the operands; the caller of the
// product keeps the memory.

/// One product of a group: rows of A times rows of B into rows of D.
struct GemmProblem {
    var a: OperandSlice
    var b: OperandSlice
    var rowCount: Int
    /// Rows of B; column 0 of D belongs to the first of them.
    var outputs: Range<Int>
    /// K of each segment.
    var depth: Int
    /// Pairs of matrices whose products are added up.
    var segmentCount = 1
    var d: ResultSlice
    var c: AddendSlice?
    /// What an expert's unit multiplies each row with; nil for ones.
    var rowWeights: UnsafePointer<Float>?

    /// Chunks that K is summed in, those of all segments.
    var chunkCount: Int { segmentCount * ceilDivide(depth, linearChunk) }

    /// Whether chunks can be multiplied apart: B's scales begin anew with each.
    var splitsChunks: Bool {
        guard let width = b.scales?.granularity.columns else { return true }
        return linearChunk % width == 0 || width >= depth
    }

    /// Some of the rows as a problem of its own.
    func rows(_ range: Range<Int>) -> GemmProblem {
        var part = self
        part.rowCount = range.count
        part.a.firstRow += range.lowerBound
        part.d.advance(rows: range.lowerBound)
        part.rowWeights = rowWeights.map { $0 + range.lowerBound }
        part.c?.base += range.lowerBound * (c?.stride ?? 0)
        return part
    }

    /// Whether the direct path reads A's rows where they lie; those that meet FP4 end with a whole group.
    var readsRowsInPlace: Bool { a.isPlainFloat && (b.format != .float4E2M1 || depth % 8 == 0) }

    /// Rounds up so that an empty product still counts as a little work.
    var work: Int { max(1, rowCount * outputs.count / 1024 * max(1, depth * segmentCount / 64)) }
}

/// Rows of D with their places as addresses.
struct ResultSlice {
    var base: UnsafeMutableRawPointer
    var format: MatrixResult.Format
    /// Bytes from one row to the next.
    var stride: Int
    var scales: ResultScaleSlice?
    /// Where each row begins, if not `stride` apart; then there are no scales.
    var places: UnsafePointer<UnsafeMutableRawPointer>?

    init(_ d: MatrixResult, group: Int = 0, firstRow: Int = 0) {
        format = d.format
        stride = d.stride * d.format.byteCount
        base = d.baseAddress + (group * d.groupStride + firstRow * d.stride) * d.format.byteCount
        scales = d.scales.map { ResultScaleSlice($0, group: group, firstRow: firstRow) }
    }

    /// Element (row, column).
    func address(row: Int, column: Int) -> UnsafeMutableRawPointer {
        (places?[row] ?? base + row * stride) + column * format.byteCount
    }

    /// Begins some rows later.
    mutating func advance(rows: Int) {
        base += rows * stride
        places = places.map { $0 + rows }
        let scaleStride = scales?.rowStride ?? 0
        scales?.base += rows * scaleStride
    }
}

/// Scales of D with their places as addresses.
struct ResultScaleSlice {
    var base: UnsafeMutableRawPointer
    var encoding: ResultScales.Encoding
    /// Columns that share a scale: a divisor of 128.
    var blockColumns: Int
    /// Bytes.
    var rowStride: Int
    var blockStride: Int

    init(_ scales: ResultScales, group: Int, firstRow: Int) {
        let unit = scales.encoding == .ue8m0 ? 1 : 4
        encoding = scales.encoding
        blockColumns = scales.blockColumns
        rowStride = scales.rowStride * unit
        blockStride = scales.blockStride * unit
        base = scales.baseAddress + (group * scales.groupStride + firstRow * scales.rowStride) * unit
    }

    /// Writes the scale of one block.
    func store(_ scale: Float, row: Int, block: Int) {
        let address = base + (row * rowStride + block * blockStride)
        if encoding == .ue8m0 {
            address.storeBytes(of: UE8M0(clampingUp: scale).bitPattern, as: UInt8.self)
        } else {
            address.storeBytes(of: scale, as: Float.self)
        }
    }

    /// Writes the scales of a row of zeros.
    func storeZeroScales(row: Int, columnCount: Int) {
        let scale: Float = 1e-4 / 448
        for block in 0..<ceilDivide(columnCount, blockColumns) {
            store(encoding == .float32 ? scale : Float(UE8M0(clampingUp: scale)), row: row, block: block)
        }
    }
}

/// Rows of C with their places as addresses.
struct AddendSlice {
    var base: UnsafeRawPointer
    var format: MatrixAddend.Format
    /// Bytes from one row to the next.
    var stride: Int

    init(_ c: MatrixAddend, group: Int = 0, firstRow: Int = 0) {
        let unit = c.format == .float32 ? 4 : 2
        format = c.format
        stride = c.stride * unit
        base = c.baseAddress + (group * c.groupStride + firstRow * c.stride) * unit
    }

    /// Element (row, column).
    func address(row: Int, column: Int) -> UnsafeRawPointer {
        base + (row * stride + column * (format == .float32 ? 4 : 2))
    }
}
