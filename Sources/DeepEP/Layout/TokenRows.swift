// SPDX-License-Identifier: MIT

// SAFETY: In this file addresses are those that a caller states to hold rows; each initialiser says how many bytes have
// to be there, and rows are only read.

public import Tensors

/// Rows of numbers that somebody else keeps: one for each token, `stride` bytes apart.
public struct TokenRows: @unchecked Sendable {
    // SAFETY: @unchecked Sendable because the addresses never change; as with any shared memory, the caller does not
    // write the rows while they are read.

    public let count: Int
    let base: UnsafeRawPointer
    let stride: Int
    let scales: UnsafeRawPointer?
    let scaleStride: Int
    /// What keeps the memory.
    private let owners: [AnyObject]

    /// - Parameters:
    ///   - base: `count` rows of the format's `dataBytes`, each `stride` bytes after the one before.
    ///   - scales: for FP8 as many rows of `scaleBytes`, each `scaleStride` bytes after the one before.
    public init(
        base: UnsafeRawPointer, count: Int, stride: Int, scales: UnsafeRawPointer? = nil, scaleStride: Int = 0,
        owners: [AnyObject] = []
    ) {
        self.base = base
        self.count = count
        self.stride = stride
        self.scales = scales
        self.scaleStride = scaleStride
        self.owners = owners
    }

    /// Rows of a buffer without gaps between them, and their scales likewise.
    public init(
        _ buffer: AlignedBuffer<UInt8>, scales: AlignedBuffer<UInt8>? = nil, count: Int, format: RowFormat
    ) {
        precondition(buffer.count >= count * format.dataBytes, "the buffer holds all rows")
        precondition((scales?.count ?? 0) >= count * format.scaleBytes, "the buffer holds all scales")
        self.init(
            base: UnsafeRawPointer(buffer.baseAddress), count: count, stride: format.dataBytes,
            scales: scales.map { UnsafeRawPointer($0.baseAddress) }, scaleStride: format.scaleBytes,
            owners: [buffer] + (scales.map { [$0] } ?? []))
    }

    func row(_ index: Int) -> UnsafeRawPointer { base + index * stride }
    func scales(_ index: Int) -> UnsafeRawPointer? { scales.map { $0 + index * scaleStride } }
}
