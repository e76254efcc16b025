// SPDX-License-Identifier: MIT

/// The kernels of one instruction set. Chosen once, at start; see `Kernels.md`.
public struct KernelTable: Sendable {
    /// `linear` for one stored format.
    public typealias LinearKernel = @Sendable (UnsafePointer<LinearArguments>) -> Void
    /// `decode` for one stored format; `scale` is ignored by unscaled ones.
    public typealias DecodeKernel =
        @Sendable (
            _ source: UnsafeRawPointer, _ destination: UnsafeMutablePointer<Float>, _ count: Int, _ scale: Float
        ) -> Void

    /// The instruction set's name, as `FATHOM_ISA` takes it.
    public let name: StaticString

    // Matrix products with weights in each stored format: `linear`.
    public let linearFloat32: LinearKernel
    public let linearBFloat16: LinearKernel
    public let linearFloat16: LinearKernel
    public let linearFloat8E4M3: LinearKernel
    /// `float4Linear`.
    public let linearFloat4: @Sendable (UnsafePointer<Float4LinearArguments>) -> Void

    // Conversion to float: `decode`.
    public let decodeBFloat16: DecodeKernel
    public let decodeFloat16: DecodeKernel
    public let decodeFloat8E4M3: DecodeKernel

    /// `decodeFloat4`.
    public let decodeFloat4: DecodeKernel
    /// `decodePackedLatent`.
    public let decodePackedLatent: @Sendable (UnsafePointer<PackedLatentArguments>) -> Void

    // Blocks of operands as floats with K contiguous, for each stored format: `pack`; and `scalePacked`.
    public let packFloat32: @Sendable (UnsafePointer<PackArguments>) -> Void
    public let packBFloat16: @Sendable (UnsafePointer<PackArguments>) -> Void
    public let packFloat16: @Sendable (UnsafePointer<PackArguments>) -> Void
    public let packFloat8E4M3: @Sendable (UnsafePointer<PackArguments>) -> Void
    public let packFloat4E2M1: @Sendable (UnsafePointer<PackArguments>) -> Void
    public let scalePacked: @Sendable (UnsafePointer<ScaleArguments>) -> Void
    public let prefetchRows:
        @Sendable (_ start: UnsafeRawPointer, _ rowCount: Int, _ byteCount: Int, _ stride: Int) -> Void

    // Quantisers for each input format: `quantizeE4M3`, `quantizeFloat4`.
    public let quantizeE4M3Float32: @Sendable (UnsafePointer<QuantizeArguments>) -> Void
    public let quantizeE4M3BFloat16: @Sendable (UnsafePointer<QuantizeArguments>) -> Void
    public let quantizeFloat4Float32: @Sendable (UnsafePointer<QuantizeArguments>) -> Void
    public let quantizeFloat4BFloat16: @Sendable (UnsafePointer<QuantizeArguments>) -> Void

    // The indexer: `indexerLogits`, `finishIndexerLogits`, `packIndexerHead`, `decodeIndexerE4M3`, …
    public let indexerLogits: @Sendable (UnsafePointer<IndexerLogitsArguments>) -> Void
    public let finishIndexerLogits:
        @Sendable (
            _ sums: UnsafePointer<Float>, _ scales: UnsafePointer<Float>, _ out: UnsafeMutablePointer<Float>,
            _ count: Int
        ) -> Void
    public let packIndexerHead:
        @Sendable (
            _ head: UnsafePointer<Float>, _ panel: UnsafeMutablePointer<Float>, _ lane: Int, _ width: Int,
            _ depth: Int
        ) -> Void
    public let decodeIndexerE4M3: @Sendable (UnsafePointer<IndexerDecodeArguments>) -> Void
    public let decodeIndexerFloat4: @Sendable (UnsafePointer<IndexerDecodeArguments>) -> Void

    public let sumOfSquares: @Sendable (_ x: UnsafePointer<Float>, _ count: Int) -> Float

    public let dotBlock: @Sendable (UnsafePointer<DotBlockArguments>) -> Void
    public let dotPanel: @Sendable (UnsafePointer<DotBlockArguments>) -> Void
    /// Rows of a unit of `dotPanel`'s `b`.
    public let panelRows: Int
    public let outerProduct: @Sendable (UnsafePointer<OuterProductArguments>) -> Void
    public let attentionBlock: @Sendable (UnsafePointer<AttentionArguments>) -> Void
    // Few rows, keys as they are stored: `storedAttentionBlock`.
    public let attentionBlockBFloat16: @Sendable (UnsafePointer<AttentionArguments>) -> Void
    public let attentionBlockFloat16: @Sendable (UnsafePointer<AttentionArguments>) -> Void
    public let mergeAttention:
        @Sendable (
            _ maximumA: UnsafeMutablePointer<Float>, _ sumA: UnsafeMutablePointer<Float>,
            _ outA: UnsafeMutablePointer<Float>, _ maximumB: Float, _ sumB: Float, _ outB: UnsafePointer<Float>,
            _ valueWidth: Int
        ) -> Void
    /// Dense multi-head attention, forward and backward.
    public let mha: MHAKernels

    public let rmsNorm:
        @Sendable (
            _ x: UnsafePointer<Float>, _ weight: UnsafePointer<Float>, _ epsilon: Float,
            _ out: UnsafeMutablePointer<Float>, _ count: Int
        ) -> Void
    public let siluMultiply:
        @Sendable (_ gate: UnsafeMutablePointer<Float>, _ up: UnsafePointer<Float>, _ count: Int) -> Void
    public let addScaled:
        @Sendable (_ x: UnsafePointer<Float>, _ factor: Float, _ out: UnsafeMutablePointer<Float>, _ count: Int)
            -> Void
    /// Rounds floats to bfloat16 bits.
    public let roundBFloat16:
        @Sendable (_ x: UnsafePointer<Float>, _ out: UnsafeMutablePointer<UInt16>, _ count: Int) -> Void

    public let multiplyAddProbe: @Sendable (_ iterations: Int) -> Float
    public let readProbe: @Sendable (_ bytes: UnsafeRawPointer, _ byteCount: Int) -> UInt64
    public let firstNonFinite16: @Sendable (_ bits: UnsafeRawPointer, _ count: Int, _ mask: UInt16) -> Int
    public let firstNonFinite32: @Sendable (_ bits: UnsafeRawPointer, _ count: Int) -> Int
    public let firstNonFinite8: @Sendable (_ bits: UnsafeRawPointer, _ count: Int) -> Int

    public init(
        name: StaticString,
        linearFloat32: @escaping LinearKernel, linearBFloat16: @escaping LinearKernel,
        linearFloat16: @escaping LinearKernel, linearFloat8E4M3: @escaping LinearKernel,
        linearFloat4: @escaping @Sendable (UnsafePointer<Float4LinearArguments>) -> Void,
        decodeBFloat16: @escaping DecodeKernel, decodeFloat16: @escaping DecodeKernel,
        decodeFloat8E4M3: @escaping DecodeKernel,
        decodeFloat4: @escaping DecodeKernel,
        decodePackedLatent: @escaping @Sendable (UnsafePointer<PackedLatentArguments>) -> Void,
        packFloat32: @escaping @Sendable (UnsafePointer<PackArguments>) -> Void,
        packBFloat16: @escaping @Sendable (UnsafePointer<PackArguments>) -> Void,
        packFloat16: @escaping @Sendable (UnsafePointer<PackArguments>) -> Void,
        packFloat8E4M3: @escaping @Sendable (UnsafePointer<PackArguments>) -> Void,
        packFloat4E2M1: @escaping @Sendable (UnsafePointer<PackArguments>) -> Void,
        scalePacked: @escaping @Sendable (UnsafePointer<ScaleArguments>) -> Void,
        prefetchRows: @escaping @Sendable (UnsafeRawPointer, Int, Int, Int) -> Void,
        quantizeE4M3Float32: @escaping @Sendable (UnsafePointer<QuantizeArguments>) -> Void,
        quantizeE4M3BFloat16: @escaping @Sendable (UnsafePointer<QuantizeArguments>) -> Void,
        quantizeFloat4Float32: @escaping @Sendable (UnsafePointer<QuantizeArguments>) -> Void,
        quantizeFloat4BFloat16: @escaping @Sendable (UnsafePointer<QuantizeArguments>) -> Void,
        indexerLogits: @escaping @Sendable (UnsafePointer<IndexerLogitsArguments>) -> Void,
        finishIndexerLogits:
            @escaping @Sendable (
                UnsafePointer<Float>, UnsafePointer<Float>, UnsafeMutablePointer<Float>, Int
            ) -> Void,
        packIndexerHead:
            @escaping @Sendable (UnsafePointer<Float>, UnsafeMutablePointer<Float>, Int, Int, Int) -> Void,
        decodeIndexerE4M3: @escaping @Sendable (UnsafePointer<IndexerDecodeArguments>) -> Void,
        decodeIndexerFloat4: @escaping @Sendable (UnsafePointer<IndexerDecodeArguments>) -> Void,
        sumOfSquares: @escaping @Sendable (UnsafePointer<Float>, Int) -> Float,
        dotBlock: @escaping @Sendable (UnsafePointer<DotBlockArguments>) -> Void,
        dotPanel: @escaping @Sendable (UnsafePointer<DotBlockArguments>) -> Void, panelRows: Int,
        outerProduct: @escaping @Sendable (UnsafePointer<OuterProductArguments>) -> Void,
        attentionBlock: @escaping @Sendable (UnsafePointer<AttentionArguments>) -> Void,
        attentionBlockBFloat16: @escaping @Sendable (UnsafePointer<AttentionArguments>) -> Void,
        attentionBlockFloat16: @escaping @Sendable (UnsafePointer<AttentionArguments>) -> Void,
        mergeAttention:
            @escaping @Sendable (
                UnsafeMutablePointer<Float>, UnsafeMutablePointer<Float>, UnsafeMutablePointer<Float>, Float, Float,
                UnsafePointer<Float>, Int
            ) -> Void,
        mha: MHAKernels,
        rmsNorm:
            @escaping @Sendable (
                UnsafePointer<Float>, UnsafePointer<Float>, Float, UnsafeMutablePointer<Float>, Int
            ) -> Void,
        siluMultiply: @escaping @Sendable (UnsafeMutablePointer<Float>, UnsafePointer<Float>, Int) -> Void,
        addScaled: @escaping @Sendable (UnsafePointer<Float>, Float, UnsafeMutablePointer<Float>, Int) -> Void,
        roundBFloat16: @escaping @Sendable (UnsafePointer<Float>, UnsafeMutablePointer<UInt16>, Int) -> Void,
        multiplyAddProbe: @escaping @Sendable (Int) -> Float,
        readProbe: @escaping @Sendable (UnsafeRawPointer, Int) -> UInt64,
        firstNonFinite16: @escaping @Sendable (UnsafeRawPointer, Int, UInt16) -> Int,
        firstNonFinite32: @escaping @Sendable (UnsafeRawPointer, Int) -> Int,
        firstNonFinite8: @escaping @Sendable (UnsafeRawPointer, Int) -> Int
    ) {
        self.name = name
        self.linearFloat32 = linearFloat32
        self.linearBFloat16 = linearBFloat16
        self.linearFloat16 = linearFloat16
        self.linearFloat8E4M3 = linearFloat8E4M3
        self.linearFloat4 = linearFloat4
        self.decodeBFloat16 = decodeBFloat16
        self.decodeFloat16 = decodeFloat16
        self.decodeFloat8E4M3 = decodeFloat8E4M3
        self.decodeFloat4 = decodeFloat4
        self.decodePackedLatent = decodePackedLatent
        self.packFloat32 = packFloat32
        self.packBFloat16 = packBFloat16
        self.packFloat16 = packFloat16
        self.packFloat8E4M3 = packFloat8E4M3
        self.packFloat4E2M1 = packFloat4E2M1
        self.scalePacked = scalePacked
        self.prefetchRows = prefetchRows
        self.quantizeE4M3Float32 = quantizeE4M3Float32
        self.quantizeE4M3BFloat16 = quantizeE4M3BFloat16
        self.quantizeFloat4Float32 = quantizeFloat4Float32
        self.quantizeFloat4BFloat16 = quantizeFloat4BFloat16
        self.indexerLogits = indexerLogits
        self.finishIndexerLogits = finishIndexerLogits
        self.packIndexerHead = packIndexerHead
        self.decodeIndexerE4M3 = decodeIndexerE4M3
        self.decodeIndexerFloat4 = decodeIndexerFloat4
        self.sumOfSquares = sumOfSquares
        self.dotBlock = dotBlock
        self.dotPanel = dotPanel
        self.panelRows = panelRows
        self.outerProduct = outerProduct
        self.attentionBlock = attentionBlock
        self.attentionBlockBFloat16 = attentionBlockBFloat16
        self.attentionBlockFloat16 = attentionBlockFloat16
        self.mergeAttention = mergeAttention
        self.mha = mha
        self.rmsNorm = rmsNorm
        self.siluMultiply = siluMultiply
        self.addScaled = addScaled
        self.roundBFloat16 = roundBFloat16
        self.multiplyAddProbe = multiplyAddProbe
        self.readProbe = readProbe
        self.firstNonFinite16 = firstNonFinite16
        self.firstNonFinite32 = firstNonFinite32
        self.firstNonFinite8 = firstNonFinite8
    }
}
