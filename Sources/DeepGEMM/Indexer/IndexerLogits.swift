// SPDX-License-Identifier: MIT

internal import LowPrecision
public import Platform
internal import Tensors

/// Memory for the indexer's logits [rowCount, columnCount], float32 or bfloat16, rows `rowStride` elements apart.
public struct IndexerLogits: @unchecked Sendable {
    // SAFETY: @unchecked Sendable because an operation writes disjoint parts from its threads, and the caller neither
    // reads nor writes meanwhile.

    public let element: FloatRows.Element
    public let rowCount: Int
    public let columnCount: Int
    public let rowStride: Int
    let baseAddress: UnsafeMutableRawPointer
    private let owner: AnyObject?

    /// New memory, zeros, rows a multiple of 1024 bytes apart as in DeepGEMM.
    ///
    /// - Throws: `usage` for a negative extent, `unavailable` without memory.
    public init(
        rowCount: Int, columnCount: Int, element: FloatRows.Element = .float32
    ) throws(FathomError) {
        guard rowCount >= 0, columnCount >= 0, columnCount <= ScaleGrid.extentLimit else {
            throw FathomError(
                .usage,
                "logits [\(rowCount), \(columnCount)]: rows are 0 or more, columns 0…\(ScaleGrid.extentLimit)")
        }
        let unit = 1024 / element.byteCount
        let stride = ceilDivide(columnCount, unit) * unit
        let count = try elementCount([rowCount, stride, element.byteCount], of: "logits")
        let buffer = try AlignedBuffer<UInt8>(count: count, purpose: "indexer logits")
        // SAFETY: the buffer has all rows and lives as long as this value.
        try self.init(
            UnsafeMutableRawPointer(buffer.baseAddress), element: element, rowCount: rowCount,
            columnCount: columnCount, rowStride: stride, owner: buffer)
    }

    /// Memory of the caller's, valid as long as the value is used, aligned to the element.
    ///
    /// - Throws: `usage` for a negative extent or a stride shorter than a row.
    public init(
        _ baseAddress: UnsafeMutableRawPointer, element: FloatRows.Element, rowCount: Int, columnCount: Int,
        rowStride: Int? = nil
    ) throws(FathomError) {
        try self.init(
            baseAddress, element: element, rowCount: rowCount, columnCount: columnCount,
            rowStride: rowStride ?? columnCount, owner: nil)
    }

    private init(
        _ baseAddress: UnsafeMutableRawPointer, element: FloatRows.Element, rowCount: Int, columnCount: Int,
        rowStride: Int, owner: AnyObject?
    ) throws(FathomError) {
        guard rowCount >= 0, columnCount >= 0, rowStride >= columnCount, rowStride <= ScaleGrid.extentLimit else {
            throw FathomError(
                .usage,
                "logits [\(rowCount), \(columnCount)] with rows \(rowStride) apart: no extent is below 0 and rows are "
                    + "\(columnCount)…\(ScaleGrid.extentLimit) apart")
        }
        self.baseAddress = baseAddress
        self.element = element
        self.rowCount = rowCount
        self.columnCount = columnCount
        self.rowStride = rowStride
        self.owner = owner
    }

    /// One logit.
    public subscript(row: Int, column: Int) -> Float {
        precondition(row >= 0 && row < rowCount && column >= 0 && column < columnCount, "outside the logits")
        let index = row * rowStride + column
        // SAFETY: checked above.
        switch element {
        case .float32: return baseAddress.load(fromByteOffset: index * 4, as: Float.self)
        case .bfloat16:
            return Float(BFloat16(bitPattern: baseAddress.load(fromByteOffset: index * 2, as: UInt16.self)))
        }
    }

    /// One row.
    public func row(_ row: Int) -> [Float] {
        (0..<columnCount).map { self[row, $0] }
    }

    /// Writes −∞ to columns of a row.
    func fill(row: Int, columns: Range<Int>) {
        guard !columns.isEmpty else { return }
        let first = row * rowStride + columns.lowerBound
        // SAFETY: the callers keep the columns inside the row.
        switch element {
        case .float32:
            let place = (baseAddress + first * 4).assumingMemoryBound(to: Float.self)
            place.update(repeating: -.infinity, count: columns.count)
        case .bfloat16:
            // SAFETY: as above.
            let place = (baseAddress + first * 2).assumingMemoryBound(to: UInt16.self)
            place.update(repeating: 0xFF80, count: columns.count)
        }
    }
}
