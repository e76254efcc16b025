// SPDX-License-Identifier: MIT

internal import FlashMLA
internal import Platform
internal import Tensors

/// The paged KV cache of all layers. Memory becomes resident as blocks are first written.
final class LatentCache: @unchecked Sendable {
    // SAFETY: @unchecked Sendable because the address never changes; steps, which write, take turns.

    let blockCount: Int
    private let layerCount: Int
    private let format: LatentCacheLayer.Format
    private let rowWidth: Int
    private let layerByteCount: Int
    private let baseAddress: UnsafeMutableRawPointer
    /// Memory of the cache's own, if nobody else keeps it.
    private let storage: AlignedBuffer<UInt8>?

    /// - Parameter memory: `byteCount` bytes for these extents that outlive the cache, or nil for memory of its own.
    init(
        layerCount: Int, rowWidth: Int, blockCount: Int, format: LatentCacheLayer.Format,
        memory: UnsafeMutableRawPointer? = nil
    ) throws(FathomError) {
        self.blockCount = blockCount
        self.layerCount = layerCount
        self.format = format
        self.rowWidth = rowWidth
        layerByteCount = blockCount * LatentCacheLayer.blockSize * rowWidth * format.byteCount
        if let memory {
            storage = nil
            baseAddress = memory
            return
        }
        let buffer = try AlignedBuffer<UInt8>(
            count: layerCount * layerByteCount,
            purpose: "a KV cache of \(blockCount * LatentCacheLayer.blockSize) tokens")
        storage = buffer
        // SAFETY: `storage` keeps the buffer.
        baseAddress = UnsafeMutableRawPointer(buffer.baseAddress)
    }

    /// Where a block lies in the cache's memory, in bytes: a stretch in each layer.
    func ranges(ofBlock block: Int) -> [Range<Int>] {
        let count = layerByteCount / blockCount
        return (0..<layerCount).map { layer in
            let start = layer * layerByteCount + block * count
            return start..<start + count
        }
    }

    func layer(_ index: Int) -> LatentCacheLayer {
        // SAFETY: layers lie side by side in memory that lives as long as the cache.
        LatentCacheLayer(
            format: format, rowWidth: rowWidth, baseAddress: baseAddress + index * layerByteCount)
    }
}
