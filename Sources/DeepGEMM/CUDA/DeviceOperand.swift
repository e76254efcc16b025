// SPDX-License-Identifier: MIT

internal import Tensors

/// A matrix in a device's memory, K-major: the numbers of a row are neighbours. The caller keeps the memory.
public struct DeviceOperand: Sendable {
    /// The first number, at a multiple of 16 bytes.
    public var address: UInt64
    /// `.float8E4M3` (with scales) or `.bfloat16`.
    public var format: MatrixOperand.Format
    public var rowCount: Int
    public var columnCount: Int
    /// Elements from one row to the next; a multiple of 16 bytes.
    public var stride: Int
    /// Matrices of this shape: the experts of B, or the groups of a masked A.
    public var groupCount: Int
    /// Elements from one of them to the next; a multiple of 16 bytes.
    public var groupStride: Int
    public var scales: DeviceScales?

    /// - Parameters:
    ///   - stride: nil for rows without a gap.
    ///   - groupStride: nil for matrices without a gap.
    public init(
        _ address: UInt64, _ format: MatrixOperand.Format, rowCount: Int, columnCount: Int, stride: Int? = nil,
        groupCount: Int = 1, groupStride: Int? = nil, scales: DeviceScales? = nil
    ) {
        self.address = address
        self.format = format
        self.rowCount = rowCount
        self.columnCount = columnCount
        self.stride = stride ?? columnCount
        self.groupCount = groupCount
        self.groupStride = groupStride ?? self.stride &* rowCount
        self.scales = scales
    }
}

/// Float32 scales on the device, [groups, K blocks of 128, rows or blocks of rows], the last axis fastest.
///
/// For A one scale for each row (`MNMajorScales` has this layout), for B one for each 128 rows
/// (`values(transposing:)` makes it from a checkpoint's grid).
public struct DeviceScales: Sendable {
    public var address: UInt64
    /// Rows that share a scale: 1 or 128.
    public var rows: Int
    /// Scales from one K block to the next; a multiple of 4.
    public var blockStride: Int
    /// Scales from one group to the next; a multiple of 4.
    public var groupStride: Int

    public init(_ address: UInt64, rows: Int, blockStride: Int, groupStride: Int = 0) {
        self.address = address
        self.rows = rows
        self.blockStride = blockStride
        self.groupStride = groupStride
    }

    /// Scales from one K block to the next for `rowBlocks` scales: rounded up to 16 bytes.
    public static func blockStride(rowBlocks: Int) -> Int { (rowBlocks + 3) / 4 * 4 }

    /// A row-major grid as the device wants it, to be copied there: [groups, column blocks, row blocks padded to 4].
    public static func values(transposing grid: ScaleGrid) -> [Float] {
        grid.array.withUnsafeBufferPointer { scales in
            values(
                rowMajor: scales, groups: grid.groupCount, rowBlocks: grid.rowBlocks, columnBlocks: grid.columnBlocks)
        }
    }

    /// The same for scales [groups, row blocks, column blocks].
    static func values(
        rowMajor scales: UnsafeBufferPointer<Float>, groups: Int, rowBlocks: Int, columnBlocks: Int
    ) -> [Float] {
        let stride = blockStride(rowBlocks: rowBlocks)
        var values = [Float](repeating: 0, count: groups * columnBlocks * stride)
        for group in 0..<groups {
            for block in 0..<columnBlocks {
                for row in 0..<rowBlocks {
                    // SAFETY: the buffer's subscript checks its bounds in debug builds; the extents are the grid's own.
                    values[(group * columnBlocks + block) * stride + row] =
                        scales[(group * rowBlocks + row) * columnBlocks + block]
                }
            }
        }
        return values
    }

    /// Scales that lie at `address` as `values(transposing: grid)` made them.
    public init(_ address: UInt64, of grid: ScaleGrid) {
        let stride = Self.blockStride(rowBlocks: grid.rowBlocks)
        self.init(
            address, rows: grid.granularity.rows, blockStride: stride, groupStride: stride * grid.columnBlocks)
    }
}

/// Where a product goes on the device. The caller keeps the memory.
public struct DeviceResult: Sendable {
    /// The first number, at a multiple of 16 bytes.
    public var address: UInt64
    /// `.bfloat16` or `.float32`.
    public var format: MatrixResult.Format
    /// Elements from one row to the next; a multiple of 16 bytes.
    public var stride: Int
    /// Elements from one group's matrix to the next, where D has one per group.
    public var groupStride: Int

    public init(_ address: UInt64, _ format: MatrixResult.Format, stride: Int, groupStride: Int = 0) {
        self.address = address
        self.format = format
        self.stride = stride
        self.groupStride = groupStride
    }
}

/// How the rows of A belong to the matrices of B, on the device.
public enum DeviceGroupLayout: Sendable {
    /// At this address an Int32 for each row of A: its group, −1 for padding, whose rows of D become zeros. A group's
    /// rows begin at a multiple of `alignment` (64, 128 or 256) and all rows up to the next such multiple are of the
    /// same group or padding behind it. An id that names no group counts as padding.
    case ids(UInt64, alignment: Int = 128)
    /// At this address an Int32 for each group: how many rows of its matrix of A count. What D holds in the other rows
    /// afterwards is not specified. `expected` rows of a group decide the choice of the kernel, nothing else.
    case masked(UInt64, expected: Int)
}
