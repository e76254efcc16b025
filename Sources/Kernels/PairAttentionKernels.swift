// SPDX-License-Identifier: MIT

/// The kernels of attention on bfloat16 pairs for one instruction set; see `PairAttentionArguments`.
public struct PairAttentionKernels: Sendable {
    /// `pairAttentionBlock`.
    public let block: @Sendable (UnsafePointer<PairAttentionArguments>) -> Void
    /// `packedAttentionBlock`.
    public let packedBlock: @Sendable (UnsafePointer<PackedAttentionArguments>) -> Void
    /// `readLatentScales`.
    public let readScales:
        @Sendable (
            _ scales: UnsafeRawPointer, _ stride: Int, _ keyCount: Int, _ groupCount: Int,
            _ coding: PackedLatentCoding, _ out: UnsafeMutablePointer<Float>
        ) -> Bool
    /// `decodeLatentPairs`.
    public let decodeRow: @Sendable (UnsafePointer<PackedLatentArguments>, UnsafeMutableRawPointer) -> Void
    /// `isModerate`.
    public let isModerate: @Sendable (UnsafePointer<UInt16>, Int) -> Bool

    public init(
        block: @escaping @Sendable (UnsafePointer<PairAttentionArguments>) -> Void,
        packedBlock: @escaping @Sendable (UnsafePointer<PackedAttentionArguments>) -> Void,
        readScales:
            @escaping @Sendable (
                UnsafeRawPointer, Int, Int, Int, PackedLatentCoding, UnsafeMutablePointer<Float>
            ) -> Bool,
        decodeRow: @escaping @Sendable (UnsafePointer<PackedLatentArguments>, UnsafeMutableRawPointer) -> Void,
        isModerate: @escaping @Sendable (UnsafePointer<UInt16>, Int) -> Bool
    ) {
        self.block = block
        self.packedBlock = packedBlock
        self.readScales = readScales
        self.decodeRow = decodeRow
        self.isModerate = isModerate
    }
}
