// SPDX-License-Identifier: MIT

public import Platform
public import Tensors

/// Float32 scales in row-major order, [groups, row blocks, column blocks]: what quantisers write and what
/// checkpoints hold.
///
/// Element (m, k) of a group's matrix [rowCount, columnCount] is to be multiplied by
/// `self[group, m / granularity.rows, k / granularity.columns]`.
public struct ScaleGrid: Sendable {
    public let granularity: ScaleGranularity
    /// Extents of each group's matrix, in elements.
    public let rowCount: Int
    public let columnCount: Int
    /// Matrices of that shape; 1 where there are no groups.
    public let groupCount: Int
    /// Extents of each group's grid.
    public let rowBlocks: Int
    public let columnBlocks: Int
    public let values: AlignedBuffer<Float>

    /// The largest extent in elements; sums and roundings of extents then never overflow.
    public static var extentLimit: Int { 1 << 48 }

    /// A grid of zeros.
    ///
    /// - Throws: `usage` for a negative extent or a granularity below 1; `unavailable` without memory.
    public init(
        granularity: ScaleGranularity, rowCount: Int, columnCount: Int, groupCount: Int = 1
    ) throws(FathomError) {
        guard granularity.rows > 0, granularity.columns > 0 else {
            throw FathomError(.usage, "scale granularity \(granularity): rows and columns are at least 1")
        }
        for extent in [rowCount, columnCount, groupCount] where extent < 0 || extent > Self.extentLimit {
            throw FathomError(
                .usage,
                "scales of \(groupCount) matrices [\(rowCount), \(columnCount)]: an extent is 0…\(Self.extentLimit)")
        }
        (rowBlocks, columnBlocks) = granularity.grid(rowCount: rowCount, columnCount: columnCount)
        let count = try elementCount([groupCount, rowBlocks, columnBlocks], of: "a grid of scales")
        self.granularity = granularity
        self.rowCount = rowCount
        self.columnCount = columnCount
        self.groupCount = groupCount
        values = try AlignedBuffer(count: count, purpose: "scales")
    }

    /// A grid with the given scales, which are copied.
    ///
    /// - Parameter scales: [groups, row blocks, column blocks], row-major.
    /// - Throws: `usage` also if their number is not that of the grid.
    public init(
        _ scales: [Float], granularity: ScaleGranularity, rowCount: Int, columnCount: Int, groupCount: Int = 1
    ) throws(FathomError) {
        try self.init(
            granularity: granularity, rowCount: rowCount, columnCount: columnCount, groupCount: groupCount)
        guard scales.count == values.count else {
            throw FathomError(
                .usage,
                "\(scales.count) scales; \(groupCount) grids of \(rowBlocks) × \(columnBlocks) need \(values.count)")
        }
        // SAFETY: the buffer was made for exactly this count.
        for (index, scale) in scales.enumerated() { values.baseAddress[index] = scale }
    }

    /// One scale.
    public subscript(group group: Int, row row: Int, column column: Int) -> Float {
        precondition(group >= 0 && group < groupCount, "group \(group) of \(groupCount)")
        precondition(row >= 0 && row < rowBlocks && column >= 0 && column < columnBlocks, "outside the grid")
        // SAFETY: checked above.
        return values.baseAddress[(group * rowBlocks + row) * columnBlocks + column]
    }

    /// The scale of row block `row` and column block `column` of the first group.
    public subscript(row: Int, column: Int) -> Float { self[group: 0, row: row, column: column] }

    /// All scales, row-major.
    public var array: [Float] {
        // SAFETY: reads the buffer's own elements.
        Array(UnsafeBufferPointer(start: values.baseAddress, count: values.count))
    }
}
