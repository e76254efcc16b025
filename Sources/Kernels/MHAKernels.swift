// SPDX-License-Identifier: MIT

/// The kernels of dense multi-head attention for one instruction set.
public struct MHAKernels: Sendable {
    /// `packRowPanels` or `packColumnPanels`.
    public typealias Pack =
        @Sendable (
            _ rows: UnsafePointer<Float>, _ rowStride: Int, _ rowCount: Int, _ width: Int,
            _ panels: UnsafeMutablePointer<Float>, _ panelStride: Int
        ) -> Void

    public let panelProduct: @Sendable (UnsafePointer<PanelProductArguments>) -> Void
    public let packRowPanels: Pack
    public let packColumnPanels: Pack
    public let softmax: @Sendable (UnsafePointer<MHASoftmaxArguments>) -> Void
    public let normalise:
        @Sendable (
            _ out: UnsafeMutablePointer<Float>, _ outStride: Int, _ outWidth: Int, _ rowCount: Int,
            _ sums: UnsafePointer<Float>
        ) -> Void
    public let gradient: @Sendable (UnsafePointer<MHAGradientArguments>) -> Void
    public let rowDot: @Sendable (_ a: UnsafePointer<Float>, _ b: UnsafePointer<Float>, _ count: Int) -> Float

    public init(
        panelProduct: @escaping @Sendable (UnsafePointer<PanelProductArguments>) -> Void,
        packRowPanels: @escaping Pack, packColumnPanels: @escaping Pack,
        softmax: @escaping @Sendable (UnsafePointer<MHASoftmaxArguments>) -> Void,
        normalise:
            @escaping @Sendable (UnsafeMutablePointer<Float>, Int, Int, Int, UnsafePointer<Float>) -> Void,
        gradient: @escaping @Sendable (UnsafePointer<MHAGradientArguments>) -> Void,
        rowDot: @escaping @Sendable (UnsafePointer<Float>, UnsafePointer<Float>, Int) -> Float
    ) {
        self.panelProduct = panelProduct
        self.packRowPanels = packRowPanels
        self.packColumnPanels = packColumnPanels
        self.softmax = softmax
        self.normalise = normalise
        self.gradient = gradient
        self.rowDot = rowDot
    }
}
