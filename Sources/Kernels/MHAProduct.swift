// SPDX-License-Identifier: MIT

/// Columns of one packed panel: what a register tile is wide.
@inlinable public var panelWidth: Int { 16 }

/// `count` rounded up to whole panels.
@inlinable @inline(__always)
public func panelPadded(_ count: Int) -> Int { (count &+ 15) & ~15 }

/// out[m, n] (+)= Σₖ a(m, k) · b(k, n) with b in packed panels: the arguments of `panelProduct`.
///
/// Every output is one chain of multiply-adds over ascending k, so its bits depend on its own row of `a` and column
/// of `b` alone.
public struct PanelProductArguments {
    /// Element (m, k) lies at a[m · aRowStride + k · aStepStride], so `a` may be read as it is or transposed.
    public var a: UnsafePointer<Float>
    public var aRowStride: Int
    public var aStepStride: Int
    /// Panels of sixteen columns, `bPanelStride` floats apart; within one, row k begins at 16 · k.
    public var b: UnsafePointer<Float>
    public var bPanelStride: Int
    /// [rowCount, 16 · panelCount], rows `outStride` floats apart.
    public var out: UnsafeMutablePointer<Float>
    public var outStride: Int
    public var rowCount: Int
    public var innerCount: Int
    public var panelCount: Int
    /// Whether results are added to what `out` holds.
    public var accumulates: Bool

    public init(
        a: UnsafePointer<Float>, aRowStride: Int, aStepStride: Int, b: UnsafePointer<Float>, bPanelStride: Int,
        out: UnsafeMutablePointer<Float>, outStride: Int, rowCount: Int, innerCount: Int, panelCount: Int,
        accumulates: Bool
    ) {
        self.a = a
        self.aRowStride = aRowStride
        self.aStepStride = aStepStride
        self.b = b
        self.bPanelStride = bPanelStride
        self.out = out
        self.outStride = outStride
        self.rowCount = rowCount
        self.innerCount = innerCount
        self.panelCount = panelCount
        self.accumulates = accumulates
    }
}

/// See `PanelProductArguments`. A panel stays in the first-level cache while the rows of `a` pass by.
@inlinable @inline(__always)
public func panelProduct<I: InstructionSet>(_: I.Type, _ arguments: UnsafePointer<PanelProductArguments>) {
    let g = arguments.pointee
    for panel in 0..<g.panelCount {
        var m = 0
        while m &+ 6 <= g.rowCount {
            panelTile(I.self, PanelTile<6>.self, g, m, panel)
            m &+= 6
        }
        switch g.rowCount &- m {
        case 5: panelTile(I.self, PanelTile<5>.self, g, m, panel)
        case 4: panelTile(I.self, PanelTile<4>.self, g, m, panel)
        case 3: panelTile(I.self, PanelTile<3>.self, g, m, panel)
        case 2: panelTile(I.self, PanelTile<2>.self, g, m, panel)
        case 1: panelTile(I.self, PanelTile<1>.self, g, m, panel)
        default: break
        }
    }
}

/// Names the row count of a tile.
public enum PanelTile<let R: Int> {}

/// R rows times one panel: with R = 6, twelve accumulators, two loads and six broadcasts a step.
@inlinable @inline(never)
func panelTile<I: InstructionSet, let R: Int>(
    _: I.Type, _: PanelTile<R>.Type, _ g: PanelProductArguments, _ m: Int, _ panel: Int
) {
    var low = InlineArray<R, SIMD8<Float>>(repeating: SIMD8<Float>())
    var high = InlineArray<R, SIMD8<Float>>(repeating: SIMD8<Float>())
    let out = g.out + (m &* g.outStride &+ panel &* 16)
    if g.accumulates {
        for r in 0..<R {
            low[r] = load8(UnsafePointer(out + r &* g.outStride))
            high[r] = load8(UnsafePointer(out + (r &* g.outStride &+ 8)))
        }
    }
    let rowStride = g.aRowStride
    let stepStride = g.aStepStride
    var a = g.a + m &* rowStride
    var b = g.b + panel &* g.bPanelStride
    for _ in 0..<g.innerCount {
        let left = load8(b)
        let right = load8(b + 8)
        for r in 0..<R {
            let x = SIMD8<Float>(repeating: a[r &* rowStride])
            low[r] = I.multiplyAdd(x, left, low[r])
            high[r] = I.multiplyAdd(x, right, high[r])
        }
        a += stepStride
        b += 16
    }
    for r in 0..<R {
        store8(low[r], out + r &* g.outStride)
        store8(high[r], out + (r &* g.outStride &+ 8))
    }
}
