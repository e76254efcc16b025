// SPDX-License-Identifier: MIT

public import Tensors

/// A view of a paged cache [blocks, page, key heads, row width] for reading: FlashMLA's `k_cache`.
///
/// A row is what one token leaves behind for one key head; its first numbers are also the value. The row itself is
/// contiguous, all other distances are free (in elements). The memory must outlive every use. Rows that no request's
/// table and length point at are never read. Packed FP8 pages are a cache too, with one key head.
public struct PagedLatentCache {
    /// Block 0, position 0, head 0.
    public var baseAddress: UnsafeRawPointer
    /// `float32`, `bfloat16` or `float16`; of packed pages `float8E4M3`.
    public var scalarType: ScalarType
    public var blockCount: Int
    /// Tokens in a block: 64 in the original, any number here.
    public var pageSize: Int
    public var keyHeadCount: Int
    /// Numbers in a row: 576 in DeepSeek-V3.
    public var rowWidth: Int
    /// Elements from a block to the next.
    public var blockStride: Int
    /// Elements from a token's rows to the next token's.
    public var rowStride: Int
    /// Elements from a key head to the next.
    public var headStride: Int
    /// Where the rows are if they are packed; then the strides say nothing.
    let packed: PackedLatentPages?

    /// Pages of packed rows, one key head each: 656, 584 or 528 bytes a token instead of 1152.
    public init(_ pages: PackedLatentPages) {
        packed = pages
        // SAFETY: read only; whoever made the pages keeps them.
        baseAddress = UnsafeRawPointer(pages.baseAddress)
        scalarType = .float8E4M3
        blockCount = pages.pageCount
        pageSize = pages.pageSize
        keyHeadCount = 1
        rowWidth = pages.format.rowWidth
        (blockStride, rowStride, headStride) = (0, 0, 0)
    }

    /// A view; without strides, of dense blocks.
    public init(
        reading baseAddress: UnsafeRawPointer, _ scalarType: ScalarType, blockCount: Int, pageSize: Int = 64,
        keyHeadCount: Int = 1, rowWidth: Int, blockStride: Int? = nil, rowStride: Int? = nil, headStride: Int? = nil
    ) {
        packed = nil
        self.baseAddress = baseAddress
        self.scalarType = scalarType
        self.blockCount = blockCount
        self.pageSize = pageSize
        self.keyHeadCount = keyHeadCount
        self.rowWidth = rowWidth
        let heads = headStride ?? rowWidth
        self.headStride = heads
        let rows = rowStride ?? heads &* keyHeadCount
        self.rowStride = rows
        self.blockStride = blockStride ?? rows &* pageSize
    }

    /// The address of a row. All three indices lie inside the cache.
    func row(block: Int, offset: Int, keyHead: Int) -> UnsafeRawPointer {
        baseAddress
            + (block * blockStride + offset * rowStride + keyHead * headStride) * scalarType.byteCount
    }
}
