// SPDX-License-Identifier: MIT

internal import KernelDispatch
internal import Kernels
internal import LowPrecision

// SAFETY: In this file addresses are computed from strides that `MatrixOperand` was checked for; nothing is kept.

/// A part of an operand with its places as byte addresses: what tasks read.
struct OperandSlice {
    var base: UnsafeRawPointer
    var format: MatrixOperand.Format
    var order: MatrixOperand.Order
    /// Bytes from one row (K-major) or one K index (MN-major) to the next.
    var stride: Int
    /// Row 0 of the slice, as a row at `base`.
    var firstRow = 0
    var scales: ScaleSlice?
    /// Bytes from one matrix to the next where several are summed.
    var segmentStride = 0
    /// The stored row of each row, counted from `firstRow`, where these are gathered.
    var indices: UnsafePointer<Int64>?

    init(_ operand: MatrixOperand, group: Int = 0) {
        let bits = operand.format.bitCount
        base = operand.baseAddress + group * operand.groupStride * bits / 8
        format = operand.format
        order = operand.order
        stride = operand.stride * bits / 8
        scales = operand.scales.map { ScaleSlice($0, group: group) }
        segmentStride = operand.groupStride * bits / 8
        indices = operand.gathered?.indices
    }

    /// The stored row that is row `row` of the slice.
    func place(_ row: Int) -> Int {
        guard let indices else { return firstRow + row }
        return Int(indices[firstRow + row])
    }

    /// One row of gathered ones, as a slice of its own.
    func only(_ row: Int) -> OperandSlice {
        var slice = self
        slice.firstRow = place(row)
        slice.indices = nil
        return slice
    }

    /// Whether each K index is next to the following one as a float: nothing to be packed for the direct path.
    var isPlainFloat: Bool {
        format == .float32 && order == .kMajor && scales == nil && indices == nil && stride % 4 == 0
            && UInt(bitPattern: base) % 4 == 0 && segmentStride % 4 == 0
    }

    /// Whether, as B, its scales multiply A instead: FP8 with a scale for whole blocks of eight rows, or none. Then the
    /// codes are also taken in the order of FP8's groups, as the direct kernel reads them.
    var isCodeOrdered: Bool {
        format == .float8E4M3 && (scales.map { $0.granularity.rows % 8 == 0 } ?? true)
    }

    /// Where element (row, k) lies; k is a multiple of 8.
    func address(row: Int, k: Int, segment: Int = 0) -> UnsafeRawPointer {
        let (inner, outer) = order == .kMajor ? (k, place(row)) : (place(row), k)
        return base + (segment * segmentStride + outer * stride + inner * format.bitCount / 8)
    }

    /// Whether a row of an MN-major FP4 operand is the upper half of its bytes.
    private func startsInsideByte(row: Int) -> Bool {
        format == .float4E2M1 && order == .mnMajor && (firstRow + row) % 2 != 0
    }

    /// Packs rows × K indices; `table` has room for the scales of these rows.
    func pack(
        rows: Range<Int>, columns: Range<Int>, segment: Int, into out: UnsafeMutablePointer<Float>, outStride: Int,
        unitRows: Int = 1, table: UnsafeMutablePointer<Float>, usesScales: Bool, isRaw: Bool, interleaves: Bool,
        _ kernels: KernelTable
    ) {
        if indices != nil {
            for row in rows {
                only(row).pack(
                    rows: 0..<1, columns: columns, segment: segment, into: out + (row - rows.lowerBound) * outStride,
                    outStride: outStride, table: table, usesScales: usesScales, isRaw: isRaw, interleaves: interleaves,
                    kernels)
            }
            return
        }
        var arguments = PackArguments(
            source: address(row: rows.lowerBound, k: columns.lowerBound, segment: segment), stride: stride,
            rowsAreContiguous: order == .mnMajor,
            firstNibble: startsInsideByte(row: rows.lowerBound) ? 1 : 0, rowCount: rows.count, count: columns.count,
            scales: nil, scaleStride: 0, blockColumns: 1 << 40, firstColumn: 0, isRaw: isRaw,
            interleaves: interleaves, out: out, outStride: outStride, unitRows: unitRows)
        if usesScales, let scales {
            let width = scales.granularity.columns
            let blocks = columns.lowerBound / width..<(columns.upperBound + width - 1) / width
            scales.prefetch(
                rows: firstRow + rows.lowerBound..<firstRow + rows.upperBound, blocks: blocks, segment: segment, kernels
            )
            scales.gather(
                rows: firstRow + rows.lowerBound..<firstRow + rows.upperBound, blocks: blocks, segment: segment,
                into: table)
            arguments.scales = UnsafePointer(table)
            arguments.scaleStride = blocks.count
            arguments.blockColumns = width
            arguments.firstColumn = columns.lowerBound % width
        }
        switch format {
        case .float32: kernels.packFloat32(&arguments)
        case .bfloat16: kernels.packBFloat16(&arguments)
        case .float16: kernels.packFloat16(&arguments)
        case .float8E4M3: kernels.packFloat8E4M3(&arguments)
        case .float4E2M1: kernels.packFloat4E2M1(&arguments)
        }
    }
}

/// The scales of an operand slice.
struct ScaleSlice {
    var base: UnsafeRawPointer
    var encoding: BlockScales.Encoding
    var granularity: ScaleGranularity
    /// Bytes from one row block to the next, and from one K block (or word of four) to the next.
    var rowStride: Int
    var blockStride: Int
    /// Bytes from one matrix to the next where several are summed.
    var segmentStride: Int

    init(_ scales: BlockScales, group: Int) {
        let unit = scales.unitByteCount
        base = scales.baseAddress + group * scales.groupStride * unit
        encoding = scales.encoding
        granularity = scales.granularity
        rowStride = scales.rowStride * unit
        blockStride = scales.blockStride * unit
        segmentStride = scales.groupStride * unit
    }

    /// Asks for the scales of `blocks` in rows that are too short for the processor to foresee the next.
    func prefetch(rows: Range<Int>, blocks: Range<Int>, segment: Int, _ kernels: KernelTable) {
        guard rowStride > blockStride, !rows.isEmpty else { return }
        let rowBlocks = rows.lowerBound / granularity.rows...(rows.upperBound - 1) / granularity.rows
        let first = segment &* segmentStride &+ rowBlocks.lowerBound &* rowStride &+ blocks.lowerBound &* blockStride
        kernels.prefetchRows(base + first, rowBlocks.count, blocks.count &* blockStride, rowStride)
    }

    /// Writes the scales of `blocks`, side by side, for each of the rows.
    func gather(rows: Range<Int>, blocks: Range<Int>, segment: Int, into out: UnsafeMutablePointer<Float>) {
        var destination = out
        for row in rows {
            gather(rowBlock: row / granularity.rows, blocks: blocks, segment: segment, into: destination)
            destination += blocks.count
        }
    }

    /// The same for row blocks.
    func gather(rowBlocks: Range<Int>, blocks: Range<Int>, segment: Int, into out: UnsafeMutablePointer<Float>) {
        var destination = out
        for rowBlock in rowBlocks {
            gather(rowBlock: rowBlock, blocks: blocks, segment: segment, into: destination)
            destination += blocks.count
        }
    }

    /// One row block's scales. Each encoding has a loop of its own: where a scale covers few numbers, this is work.
    private func gather(rowBlock: Int, blocks: Range<Int>, segment: Int, into out: UnsafeMutablePointer<Float>) {
        let row = base + (segment &* segmentStride &+ rowBlock &* rowStride)
        let first = blocks.lowerBound
        switch encoding {
        case .float32:
            var source = row + first &* blockStride
            for index in 0..<blocks.count {
                out[index] = source.loadUnaligned(as: Float.self)
                source += blockStride
            }
        case .ue8m0:
            var source = row + first &* blockStride
            for index in 0..<blocks.count {
                out[index] = Float(UE8M0(bitPattern: source.loadUnaligned(as: UInt8.self)))
                source += blockStride
            }
        case .packedUE8M0:
            for index in 0..<blocks.count {
                let block = first &+ index
                let source = row + ((block &>> 2) &* blockStride &+ (block & 3))
                out[index] = Float(UE8M0(bitPattern: source.loadUnaligned(as: UInt8.self)))
            }
        }
    }

    /// The scale of a row's block, where it is a float and that of the next block is its neighbour.
    func floats(row: Int, block: Int, segment: Int) -> UnsafePointer<Float>? {
        let address = base + (segment * segmentStride + row * rowStride + block * blockStride)
        guard encoding == .float32, granularity.rows == 1, blockStride == 4, rowStride % 4 == 0,
            UInt(bitPattern: address) % 4 == 0
        else { return nil }
        return address.assumingMemoryBound(to: Float.self)
    }

    /// Goes on to the next group of K, behind one of `depth` elements.
    mutating func advance(depth: Int) {
        let blocks = ceilDivide(depth, granularity.columns)
        base += (encoding == .packedUE8M0 ? ceilDivide(blocks, 4) : blocks) * blockStride
    }
}
