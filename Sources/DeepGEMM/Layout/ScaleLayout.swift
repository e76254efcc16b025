// SPDX-License-Identifier: MIT

public import LowPrecision
public import Tensors

/// The extents of scales that lie with the rows of the matrix fastest ("MN-major"), as the originals' tensor memory
/// accelerator reads them: one run of `leadingStride` numbers per K block, or per word of four K blocks.
public struct ScaleLayoutExtents: Sendable, Hashable {
    /// Rows of the matrix, M or N: each has its own scales.
    public let rowCount: Int
    /// K blocks of each row.
    public let blockCount: Int
    /// Elements of K that share a scale.
    public let blockColumns: Int
    /// K of the matrix.
    public let columnCount: Int
    /// Matrices of that shape.
    public let groupCount: Int
    /// Numbers from one run to the next: `rowCount` rounded up to 16 bytes.
    public let leadingStride: Int

    init(rowCount: Int, blockColumns: Int, columnCount: Int, groupCount: Int, blockCount: Int? = nil) {
        self.rowCount = rowCount
        self.blockColumns = blockColumns
        self.columnCount = columnCount
        self.groupCount = groupCount
        self.blockCount = blockCount ?? ceilDivide(columnCount, blockColumns)
        leadingStride = alignedScaleCount(rowCount, elementByteCount: 4)
    }
}

/// `count` rounded up so that a run of elements of `elementByteCount` bytes ends at a multiple of 16 bytes: DeepGEMM's
/// `get_tma_aligned_size`.
public func alignedScaleCount(_ count: Int, elementByteCount: Int) -> Int {
    precondition(count >= 0 && elementByteCount > 0 && 16 % elementByteCount == 0)
    let unit = 16 / elementByteCount
    return ceilDivide(count, unit) * unit
}

/// Float32 scales with the rows fastest: scale (g, m, kb) at `(g · blockCount + kb) · leadingStride + m`; what
/// DeepGEMM's `get_mn_major_tma_aligned_tensor` makes. Numbers beyond `rowCount` are 0.
public struct MNMajorScales: Sendable {
    public let extents: ScaleLayoutExtents
    public let values: AlignedBuffer<Float>

    /// One scale.
    public subscript(group group: Int, row row: Int, block block: Int) -> Float {
        precondition(group >= 0 && group < extents.groupCount && row >= 0 && row < extents.rowCount)
        precondition(block >= 0 && block < extents.blockCount)
        // SAFETY: checked above.
        return values.baseAddress[(group * extents.blockCount + block) * extents.leadingStride + row]
    }
}

/// UE8M0 scales, four consecutive K blocks in a word, words with the rows fastest: what DeepGEMM's
/// `get_mn_major_tma_aligned_packed_ue8m0_tensor` makes.
///
/// Word w of row m of group g lies at `(g · wordCount + w) · leadingStride + m` and holds the scales of blocks
/// 4w … 4w+3, the first in its lowest byte. Bytes beyond the last block and words beyond `rowCount` are 0.
public struct PackedScales: Sendable {
    public let extents: ScaleLayoutExtents
    /// Words of each row: ⌈blockCount / 4⌉, or for K groups the sum of that over the groups.
    public let wordCount: Int
    public let words: AlignedBuffer<Int32>
    /// K blocks of each group where K is what is grouped; each group begins with a word of its own. Else empty.
    public let kGroupBlockCounts: [Int]

    /// The scale of one K block. `block` counts through all K groups.
    public subscript(group group: Int, row row: Int, block block: Int) -> UE8M0 {
        precondition(group >= 0 && group < extents.groupCount && row >= 0 && row < extents.rowCount)
        precondition(block >= 0 && block < extents.blockCount)
        let place = wordPlace(ofBlock: block)
        // SAFETY: checked above; the place lies inside the row's words.
        let word = words.baseAddress[(group * wordCount + place.word) * extents.leadingStride + row]
        return UE8M0(word: word, index: place.byte)
    }

    /// The word of a row, and the byte in it, that hold K block `block`.
    func wordPlace(ofBlock block: Int) -> (word: Int, byte: Int) {
        var block = block
        var word = 0
        for count in kGroupBlockCounts {
            if block < count { break }
            block -= count
            word += ceilDivide(count, 4)
        }
        return (word + block / 4, block % 4)
    }
}
