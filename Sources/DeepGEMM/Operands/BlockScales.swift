// SPDX-License-Identifier: MIT

internal import Tensors

/// The scales of a quantised operand, one per `granularity.rows` × `granularity.columns` of its numbers, read where
/// they lie in any of the originals' layouts.
///
/// The scale of row block r and K block c lies at r · `rowStride` + c · `blockStride`, counted in scales; packed ones
/// at r · `rowStride` + c/4 · `blockStride`, counted in words, in byte c%4. Where K is grouped, each group's blocks
/// begin anew, after ⌈K_g / columns⌉ blocks of the group before (packed: after that many rounded up to words).
public struct BlockScales {
    /// How a scale is stored.
    public enum Encoding: String, Sendable, CaseIterable, Codable {
        case float32
        /// A byte: the power of two 2^(byte − 127).
        case ue8m0
        /// Four such bytes of consecutive K blocks in an Int32, the first in the lowest byte.
        case packedUE8M0
    }

    public var baseAddress: UnsafeRawPointer
    public var encoding: Encoding
    /// Rows: any positive number. Columns (of K): a multiple of 8. Blocks at the edges may be cut.
    public var granularity: ScaleGranularity
    public var rowStride: Int
    public var blockStride: Int
    /// From one group's scales to the next, in the same unit.
    public var groupStride: Int

    /// Scales in any encoding.
    public init(
        _ baseAddress: UnsafeRawPointer, encoding: Encoding, granularity: ScaleGranularity, rowStride: Int,
        blockStride: Int, groupStride: Int = 0
    ) {
        self.baseAddress = baseAddress
        self.encoding = encoding
        self.granularity = granularity
        self.rowStride = rowStride
        self.blockStride = blockStride
        self.groupStride = groupStride
    }

    /// Float32 scales.
    public init(
        _ scales: UnsafePointer<Float>, granularity: ScaleGranularity, rowStride: Int, blockStride: Int,
        groupStride: Int = 0
    ) {
        // SAFETY: only the type of the pointer changes; the caller keeps the memory.
        self.init(
            UnsafeRawPointer(scales), encoding: .float32, granularity: granularity, rowStride: rowStride,
            blockStride: blockStride, groupStride: groupStride)
    }

    /// A row-major grid, as quantisers and checkpoints have it.
    public init(_ grid: ScaleGrid) {
        // SAFETY: the caller keeps the grid alive, as for any operand.
        self.init(
            UnsafePointer(grid.values.baseAddress), granularity: grid.granularity, rowStride: grid.columnBlocks,
            blockStride: 1, groupStride: grid.rowBlocks * grid.columnBlocks)
    }

    /// Hopper's layout of A's scales.
    public init(_ scales: MNMajorScales) {
        let extents = scales.extents
        // SAFETY: the caller keeps the scales alive, as for any operand.
        self.init(
            UnsafePointer(scales.values.baseAddress),
            granularity: ScaleGranularity(rows: 1, columns: extents.blockColumns), rowStride: 1,
            blockStride: extents.leadingStride, groupStride: extents.blockCount * extents.leadingStride)
    }

    /// Blackwell's layout.
    public init(_ scales: PackedScales) {
        let extents = scales.extents
        // SAFETY: the caller keeps the scales alive, as for any operand.
        self.init(
            UnsafeRawPointer(scales.words.baseAddress), encoding: .packedUE8M0,
            granularity: ScaleGranularity(rows: 1, columns: extents.blockColumns), rowStride: 1,
            blockStride: extents.leadingStride, groupStride: scales.wordCount * extents.leadingStride)
    }

    /// Bytes of the unit that strides count.
    var unitByteCount: Int { encoding == .ue8m0 ? 1 : 4 }
}
