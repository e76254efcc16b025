// SPDX-License-Identifier: MIT

internal import Kernels
internal import Tensors

/// One layer of a paged latent cache: blocks of `blockSize` rows, a row being what one token leaves behind.
///
/// A row is the latent (the value and most of the key), then the rotated part of the key: 512 + 64 numbers in
/// DeepSeek-V3, in the order of DeepSeek's own cache. Rows and blocks are contiguous.
public struct LatentCacheLayer {
    /// How rows are stored.
    public enum Format: Sendable, CaseIterable {
        case float32, bfloat16

        /// Bytes of one number.
        public var byteCount: Int { self == .float32 ? 4 : 2 }
    }

    /// Tokens in a block.
    public static let blockSize = attentionBlockSize

    public let format: Format
    /// Numbers in a row: latent and rotated key.
    public let rowWidth: Int
    /// Block 0, row 0. Block b begins b · blockSize · rowWidth numbers further.
    public let baseAddress: UnsafeMutableRawPointer

    /// - Parameter baseAddress: memory of all blocks; must outlive every use of the value.
    public init(format: Format, rowWidth: Int, baseAddress: UnsafeMutableRawPointer) {
        self.format = format
        self.rowWidth = rowWidth
        self.baseAddress = baseAddress
    }

    /// The address of the row of `position` in a sequence with this block table.
    public func row(_ position: Int, blockTable: UnsafePointer<Int32>) -> UnsafeMutableRawPointer {
        let block = Int(blockTable[position / Self.blockSize])
        return baseAddress + (block * Self.blockSize + position % Self.blockSize) * rowWidth * format.byteCount
    }

    /// The same rows for reading. A layer does not know how many blocks it has: every index may be legal.
    var paged: PagedLatentCache {
        PagedLatentCache(
            reading: baseAddress, format == .float32 ? .float32 : .bfloat16, blockCount: Int(Int32.max),
            pageSize: Self.blockSize, rowWidth: rowWidth)
    }
}
