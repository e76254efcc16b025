// SPDX-License-Identifier: MIT

/// Rows [requests, tokens, heads, width] of two-byte numbers in a device's memory: queries or results of decoding.
///
/// The width is contiguous; address and strides are multiples of 16 bytes. The caller keeps the memory.
public struct DeviceDecodeTensor: Sendable {
    public var address: UInt64
    public var requestCount: Int
    /// Query tokens of each request (s_q).
    public var tokenCount: Int
    public var headCount: Int
    public var width: Int
    /// Elements from a request, token and head to the next.
    public var requestStride: Int
    public var tokenStride: Int
    public var headStride: Int

    /// Without strides, dense rows.
    public init(
        _ address: UInt64, requestCount: Int, tokenCount: Int = 1, headCount: Int, width: Int,
        requestStride: Int? = nil, tokenStride: Int? = nil, headStride: Int? = nil
    ) {
        self.address = address
        self.requestCount = requestCount
        self.tokenCount = tokenCount
        self.headCount = headCount
        self.width = width
        self.headStride = headStride ?? width
        self.tokenStride = tokenStride ?? self.headStride &* headCount
        self.requestStride = requestStride ?? self.tokenStride &* tokenCount
    }
}

/// A paged cache [blocks, 64, key heads, 576] in a device's memory.
public struct DevicePagedCache: Sendable {
    /// Type of the cache, of queries and of results.
    public enum Format: String, Sendable, CaseIterable {
        case bfloat16 = "bf16"
        case float16 = "fp16"
    }

    public var address: UInt64
    public var format: Format
    public var blockCount: Int
    public var keyHeadCount: Int
    /// Elements from a block, a token's rows and a key head to the next; multiples of 8.
    public var blockStride: Int
    public var rowStride: Int
    public var headStride: Int

    /// Without strides, dense blocks.
    public init(
        _ address: UInt64, _ format: Format = .bfloat16, blockCount: Int, keyHeadCount: Int = 1,
        blockStride: Int? = nil, rowStride: Int? = nil, headStride: Int? = nil
    ) {
        self.address = address
        self.format = format
        self.blockCount = blockCount
        self.keyHeadCount = keyHeadCount
        self.headStride = headStride ?? CUDAMLAKernel.keyWidth
        self.rowStride = rowStride ?? self.headStride &* keyHeadCount
        self.blockStride = blockStride ?? self.rowStride &* CUDAMLAKernel.pageSize
    }
}

/// Where the requests of a decode call have their keys, in a device's memory: nothing of it is read on the host, so
/// that a call can be captured in a graph and run again with other lengths.
public struct DevicePagedSequences: Sendable {
    /// Int32 [requests, blocksPerRequest]; entries behind what a length needs may be anything.
    public var blockTable: UInt64
    public var blocksPerRequest: Int
    /// Int32 [requests]: keys of each request, 0 or more, within its blocks.
    public var lengths: UInt64

    public init(blockTable: UInt64, blocksPerRequest: Int, lengths: UInt64) {
        self.blockTable = blockTable
        self.blocksPerRequest = blocksPerRequest
        self.lengths = lengths
    }
}
