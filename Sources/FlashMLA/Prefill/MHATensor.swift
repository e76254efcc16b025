// SPDX-License-Identifier: MIT

public import Tensors

/// A view of packed rows [tokens, heads, width] for variable-length attention; strides are in elements.
///
/// The width is contiguous. Tokens and heads may be any distance apart, so parts of one [tokens, 3, heads, width]
/// tensor (FlashMLA's `qkvpacked` and `kvpacked` forms) are views as well. The memory must outlive every use.
public struct MHATensor {
    /// Token 0, head 0.
    public var baseAddress: UnsafeMutableRawPointer
    /// `float32` or `bfloat16`.
    public var scalarType: ScalarType
    public var tokenCount: Int
    public var headCount: Int
    public var width: Int
    /// Elements from a token to the next. Rows of a view for writing must not overlap.
    public var tokenStride: Int
    /// Elements from a head to the next.
    public var headStride: Int
    /// Whether results may be written to it.
    public var isWritable: Bool

    /// A view for reading; without strides, of dense rows.
    public init(
        reading baseAddress: UnsafeRawPointer, _ scalarType: ScalarType, tokenCount: Int, headCount: Int,
        width: Int, tokenStride: Int? = nil, headStride: Int? = nil
    ) {
        // SAFETY: nothing writes to a view that is not writable.
        self.init(
            writing: UnsafeMutableRawPointer(mutating: baseAddress), scalarType, tokenCount: tokenCount,
            headCount: headCount, width: width, tokenStride: tokenStride, headStride: headStride)
        isWritable = false
    }

    /// A view for results; without strides, of dense rows.
    public init(
        writing baseAddress: UnsafeMutableRawPointer, _ scalarType: ScalarType, tokenCount: Int, headCount: Int,
        width: Int, tokenStride: Int? = nil, headStride: Int? = nil
    ) {
        self.baseAddress = baseAddress
        self.scalarType = scalarType
        self.tokenCount = tokenCount
        self.headCount = headCount
        self.width = width
        let heads = headStride ?? width
        self.headStride = heads
        self.tokenStride = tokenStride ?? heads &* headCount
        isWritable = true
    }

    /// The address of one row of `width` numbers.
    func row(token: Int, head: Int) -> UnsafeMutableRawPointer {
        baseAddress + (token * tokenStride + head * headStride) * scalarType.byteCount
    }
}
