// SPDX-License-Identifier: MIT

public import Tensors

/// A view of rows [requests, tokens, heads, width] for decoding: queries or results. Strides are in elements.
///
/// The width is contiguous, all other distances are free. The memory must outlive every use.
public struct DecodeTensor {
    /// Request 0, token 0, head 0.
    public var baseAddress: UnsafeMutableRawPointer
    /// `float32` or `bfloat16`.
    public var scalarType: ScalarType
    public var requestCount: Int
    /// Query tokens of each request (s_q).
    public var tokenCount: Int
    public var headCount: Int
    public var width: Int
    /// Elements from a request to the next.
    public var requestStride: Int
    /// Elements from a token to the next.
    public var tokenStride: Int
    /// Elements from a head to the next.
    public var headStride: Int
    /// Whether results may be written to it.
    public var isWritable: Bool

    /// A view for reading; without strides, of dense rows.
    public init(
        reading baseAddress: UnsafeRawPointer, _ scalarType: ScalarType, requestCount: Int, tokenCount: Int = 1,
        headCount: Int, width: Int, requestStride: Int? = nil, tokenStride: Int? = nil, headStride: Int? = nil
    ) {
        // SAFETY: nothing writes to a view that is not writable.
        self.init(
            writing: UnsafeMutableRawPointer(mutating: baseAddress), scalarType, requestCount: requestCount,
            tokenCount: tokenCount, headCount: headCount, width: width, requestStride: requestStride,
            tokenStride: tokenStride, headStride: headStride)
        isWritable = false
    }

    /// A view for results; without strides, of dense rows.
    public init(
        writing baseAddress: UnsafeMutableRawPointer, _ scalarType: ScalarType, requestCount: Int,
        tokenCount: Int = 1, headCount: Int, width: Int, requestStride: Int? = nil, tokenStride: Int? = nil,
        headStride: Int? = nil
    ) {
        self.baseAddress = baseAddress
        self.scalarType = scalarType
        self.requestCount = requestCount
        self.tokenCount = tokenCount
        self.headCount = headCount
        self.width = width
        let heads = headStride ?? width
        self.headStride = heads
        let tokens = tokenStride ?? heads &* headCount
        self.tokenStride = tokens
        self.requestStride = requestStride ?? tokens &* tokenCount
        isWritable = true
    }

    /// The rows of one request.
    func request(_ index: Int) -> MHATensor {
        MHATensor(
            writing: baseAddress + index * requestStride * scalarType.byteCount, scalarType,
            tokenCount: tokenCount, headCount: headCount, width: width, tokenStride: tokenStride,
            headStride: headStride)
    }
}
