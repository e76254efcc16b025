// SPDX-License-Identifier: MIT

internal import LowPrecision
public import Platform
public import Tensors

/// A matrix [rowCount, columnCount] of float32 or bfloat16 numbers whose rows are contiguous: what quantisers take,
/// and the indexer as its weights.
public struct FloatRows: @unchecked Sendable {
    // SAFETY: @unchecked Sendable because the elements are only read, and `owner` or the caller keeps them.

    /// The format of the numbers.
    public enum Element: String, Sendable, CaseIterable {
        case float32, bfloat16
        /// Bytes of one number.
        public var byteCount: Int { self == .float32 ? 4 : 2 }
    }

    public let element: Element
    public let rowCount: Int
    public let columnCount: Int
    /// Elements from one row to the next.
    public let rowStride: Int
    package let baseAddress: UnsafeRawPointer
    private let owner: AnyObject?

    /// Rows in memory that the caller keeps valid and unchanged during the call that is given this value.
    ///
    /// - Throws: `usage` for a negative extent or a stride shorter than a row.
    public init(
        _ baseAddress: UnsafeRawPointer, element: Element, rowCount: Int, columnCount: Int, rowStride: Int? = nil
    ) throws(FathomError) {
        try self.init(
            baseAddress, element: element, rowCount: rowCount, columnCount: columnCount,
            rowStride: rowStride ?? columnCount, owner: nil)
    }

    /// Rows of a buffer of floats, which is kept alive.
    ///
    /// - Throws: `usage` also if the buffer is too short.
    public init(
        _ buffer: AlignedBuffer<Float>, rowCount: Int, columnCount: Int, rowStride: Int? = nil
    ) throws(FathomError) {
        // SAFETY: kept alive as the owner; the rows are held to its length below.
        try self.init(
            UnsafeRawPointer(buffer.baseAddress), element: .float32, rowCount: rowCount, columnCount: columnCount,
            rowStride: rowStride ?? columnCount, owner: buffer)
        try requireRoom(buffer.count)
    }

    /// Rows of a buffer of bfloat16 bits, which is kept alive.
    ///
    /// - Throws: `usage` also if the buffer is too short.
    public init(
        _ buffer: AlignedBuffer<UInt16>, rowCount: Int, columnCount: Int, rowStride: Int? = nil
    ) throws(FathomError) {
        // SAFETY: kept alive as the owner; the rows are held to its length below.
        try self.init(
            UnsafeRawPointer(buffer.baseAddress), element: .bfloat16, rowCount: rowCount, columnCount: columnCount,
            rowStride: rowStride ?? columnCount, owner: buffer)
        try requireRoom(buffer.count)
    }

    /// - Throws: `usage` if the rows reach beyond `count` elements.
    private func requireRoom(_ count: Int) throws(FathomError) {
        let (span, overflow) = max(rowCount - 1, 0).multipliedReportingOverflow(by: rowStride)
        guard !overflow, rowCount == 0 || span <= count - columnCount else {
            throw FathomError(
                .usage,
                "a buffer of \(count) numbers is too short for \(rowCount) rows of \(columnCount), "
                    + "\(rowStride) apart")
        }
    }

    /// A tensor of a checkpoint: two dimensions, F32 or BF16.
    ///
    /// - Throws: `usage` naming the tensor for any other.
    public init(_ tensor: TensorView) throws(FathomError) {
        guard tensor.shape.count == 2 else {
            throw FathomError(
                .usage, "tensor '\(tensor.name)' has shape \(tensor.shape); two dimensions are needed")
        }
        let element: Element
        switch tensor.scalarType {
        case .float32: element = .float32
        case .bfloat16: element = .bfloat16
        default:
            throw FathomError(
                .usage, "tensor '\(tensor.name)' holds \(tensor.scalarType.rawValue); F32 or BF16 is needed")
        }
        // The view keeps its memory alive through its owner.
        try self.init(
            tensor.baseAddress, element: element, rowCount: tensor.shape[0], columnCount: tensor.shape[1],
            rowStride: tensor.shape[1], owner: KeptValue(tensor))
    }

    private init(
        _ baseAddress: UnsafeRawPointer, element: Element, rowCount: Int, columnCount: Int, rowStride: Int,
        owner: AnyObject?
    ) throws(FathomError) {
        for extent in [rowCount, columnCount] where extent < 0 || extent > ScaleGrid.extentLimit {
            throw FathomError(
                .usage, "a matrix [\(rowCount), \(columnCount)]: an extent is 0…\(ScaleGrid.extentLimit)")
        }
        guard rowStride >= columnCount, rowStride <= ScaleGrid.extentLimit else {
            throw FathomError(
                .usage,
                "rows of \(columnCount) elements are \(rowStride) apart; "
                    + "\(columnCount)…\(ScaleGrid.extentLimit) is legal")
        }
        self.element = element
        self.rowCount = rowCount
        self.columnCount = columnCount
        self.rowStride = rowStride
        self.baseAddress = baseAddress
        self.owner = owner
    }
}

extension FloatRows {
    /// One number, exactly.
    package func value(row: Int, column: Int) -> Float {
        let index = row * rowStride + column
        // SAFETY: the callers keep row and column inside the matrix.
        switch element {
        case .float32: return baseAddress.loadUnaligned(fromByteOffset: index * 4, as: Float.self)
        case .bfloat16:
            let bits = baseAddress.loadUnaligned(fromByteOffset: index * 2, as: UInt16.self)
            return Float(BFloat16(bitPattern: bits))
        }
    }
}
