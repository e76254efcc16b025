// SPDX-License-Identifier: MIT

/// The kernels of products of bfloat16 pairs for one instruction set; see `PairBlockArguments`.
public struct PairKernels: Sendable {
    /// `packPairRows` or `packPairUnits`.
    public typealias Pack = @Sendable (UnsafePointer<PairPackArguments>) -> Void
    /// `pairLinear`.
    public typealias Linear = @Sendable (UnsafePointer<PairLinearArguments>) -> Void

    public let product: @Sendable (UnsafePointer<PairBlockArguments>) -> Void
    public let packRowsBFloat16: Pack
    public let packRowsFloat8E4M3: Pack
    public let packUnitsBFloat16: Pack
    public let packUnitsFloat8E4M3: Pack
    /// `packPairColumns`.
    public let packColumnsBFloat16: Pack
    public let packColumnsFloat8E4M3: Pack
    /// `narrowPairRows`.
    public let narrowRows:
        @Sendable (
            _ source: UnsafePointer<Float>, _ sourceStride: Int, _ rowCount: Int, _ count: Int,
            _ out: UnsafeMutableRawPointer, _ outStride: Int
        ) -> Void
    public let linearBFloat16: Linear
    public let linearFloat8E4M3: Linear
    /// `multiplyPairsProbe`.
    public let probe: @Sendable (_ iterations: Int) -> Float

    public init(
        product: @escaping @Sendable (UnsafePointer<PairBlockArguments>) -> Void,
        packRowsBFloat16: @escaping Pack, packRowsFloat8E4M3: @escaping Pack,
        packUnitsBFloat16: @escaping Pack, packUnitsFloat8E4M3: @escaping Pack,
        packColumnsBFloat16: @escaping Pack, packColumnsFloat8E4M3: @escaping Pack,
        narrowRows:
            @escaping @Sendable (UnsafePointer<Float>, Int, Int, Int, UnsafeMutableRawPointer, Int) -> Void,
        linearBFloat16: @escaping Linear, linearFloat8E4M3: @escaping Linear,
        probe: @escaping @Sendable (Int) -> Float
    ) {
        self.product = product
        self.packRowsBFloat16 = packRowsBFloat16
        self.packRowsFloat8E4M3 = packRowsFloat8E4M3
        self.packUnitsBFloat16 = packUnitsBFloat16
        self.packUnitsFloat8E4M3 = packUnitsFloat8E4M3
        self.packColumnsBFloat16 = packColumnsBFloat16
        self.packColumnsFloat8E4M3 = packColumnsFloat8E4M3
        self.narrowRows = narrowRows
        self.linearBFloat16 = linearBFloat16
        self.linearFloat8E4M3 = linearFloat8E4M3
        self.probe = probe
    }
}
