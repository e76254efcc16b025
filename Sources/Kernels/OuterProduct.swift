// SPDX-License-Identifier: MIT

/// out[m, n] = start[m, n] + Σₖ a[m, k] · b[k, n], with b's rows contiguous along n.
///
/// Every output is one chain of multiply-adds over ascending k that starts from what `out` holds (or zero), so its
/// bits depend on its own row of `a` and column of `b` alone.
public struct OuterProductArguments {
    /// [rowCount, innerCount], rows `aStride` floats apart.
    public var a: UnsafePointer<Float>
    public var aStride: Int
    /// [innerCount, columnCount], rows `bStride` floats apart.
    public var b: UnsafePointer<Float>
    public var bStride: Int
    /// [rowCount, columnCount], rows `outStride` floats apart.
    public var out: UnsafeMutablePointer<Float>
    public var outStride: Int
    public var rowCount: Int
    public var innerCount: Int
    public var columnCount: Int
    public var accumulates: Bool

    public init(
        a: UnsafePointer<Float>, aStride: Int, b: UnsafePointer<Float>, bStride: Int,
        out: UnsafeMutablePointer<Float>, outStride: Int, rowCount: Int, innerCount: Int, columnCount: Int,
        accumulates: Bool
    ) {
        self.a = a
        self.aStride = aStride
        self.b = b
        self.bStride = bStride
        self.out = out
        self.outStride = outStride
        self.rowCount = rowCount
        self.innerCount = innerCount
        self.columnCount = columnCount
        self.accumulates = accumulates
    }
}

/// See `OuterProductArguments`.
@inlinable @inline(__always)
public func outerProduct<I: InstructionSet>(_: I.Type, _ arguments: UnsafePointer<OuterProductArguments>) {
    let g = arguments.pointee
    var n = 0
    // One row alone has too few sums to hide the latency of an addition: it takes more columns at once.
    if g.rowCount == 1 {
        while n &+ 64 <= g.columnCount {
            outerRow(I.self, g, n)
            n &+= 64
        }
    }
    while n < g.columnCount {
        let width = min(g.columnCount &- n, 16)
        var m = 0
        while m < g.rowCount {
            guard width == 16 else {
                outerEdge(I.self, g, m, n, width)
                m &+= 1
                continue
            }
            // Few rows have too few sums to hide the latency of an addition: the last ones are spread evenly.
            let rest = g.rowCount &- m
            switch rest {
            case 1: outerTile(I.self, OuterTile<1>.self, g, m, n)
            case 2: outerTile(I.self, OuterTile<2>.self, g, m, n)
            case 3: outerTile(I.self, OuterTile<3>.self, g, m, n)
            case 4, 7, 8: outerTile(I.self, OuterTile<4>.self, g, m, n)
            case 5, 9, 10: outerTile(I.self, OuterTile<5>.self, g, m, n)
            default: outerTile(I.self, OuterTile<6>.self, g, m, n)
            }
            m &+= outerTileRows(rest)
        }
        n &+= width
    }
}

/// Rows of the tile that `outerProduct` uses where `rest` are left.
@inlinable @inline(__always)
func outerTileRows(_ rest: Int) -> Int {
    switch rest {
    case 7, 8: 4
    case 9, 10: 5
    default: min(rest, 6)
    }
}

/// Names the row count of a tile.
public enum OuterTile<let R: Int> {}

/// R rows times sixteen columns: with R = 6, twelve accumulators, two loads and six broadcasts a step.
@inlinable @inline(never)
func outerTile<I: InstructionSet, let R: Int>(
    _: I.Type, _: OuterTile<R>.Type, _ g: OuterProductArguments, _ m: Int, _ n: Int
) {
    var low = InlineArray<R, SIMD8<Float>>(repeating: SIMD8<Float>())
    var high = InlineArray<R, SIMD8<Float>>(repeating: SIMD8<Float>())
    let out = g.out + (m &* g.outStride &+ n)
    if g.accumulates {
        for r in 0..<R {
            low[r] = load8(UnsafePointer(out + r &* g.outStride))
            high[r] = load8(UnsafePointer(out + (r &* g.outStride &+ 8)))
        }
    }
    let a = g.a + m &* g.aStride
    var b = g.b + n
    for k in 0..<g.innerCount {
        let left = load8(b)
        let right = load8(b + 8)
        for r in 0..<R {
            let x = SIMD8<Float>(repeating: a[r &* g.aStride &+ k])
            low[r] = I.multiplyAdd(x, left, low[r])
            high[r] = I.multiplyAdd(x, right, high[r])
        }
        b += g.bStride
    }
    for r in 0..<R {
        store8(low[r], out + r &* g.outStride)
        store8(high[r], out + (r &* g.outStride &+ 8))
    }
}

/// One row times 64 columns: eight accumulators.
@inlinable @inline(never)
func outerRow<I: InstructionSet>(_: I.Type, _ g: OuterProductArguments, _ n: Int) {
    let out = g.out + n
    var sums = InlineArray<8, SIMD8<Float>>(repeating: SIMD8<Float>())
    if g.accumulates {
        for i in 0..<8 { sums[i] = load8(UnsafePointer(out + 8 &* i)) }
    }
    var b = g.b + n
    for k in 0..<g.innerCount {
        let x = SIMD8<Float>(repeating: g.a[k])
        for i in 0..<8 { sums[i] = I.multiplyAdd(x, load8(b + 8 &* i), sums[i]) }
        b += g.bStride
    }
    for i in 0..<8 { store8(sums[i], out + 8 &* i) }
}

/// One row times the last columns, fewer than sixteen; the same chain of multiply-adds lane by lane.
@inlinable @inline(__always)
func outerEdge<I: InstructionSet>(_: I.Type, _ g: OuterProductArguments, _ m: Int, _ n: Int, _ width: Int) {
    var column = n
    let end = n &+ width
    while column < end {
        let count = min(end &- column, 8)
        let out = g.out + (m &* g.outStride &+ column)
        var sum = g.accumulates ? load8(UnsafePointer(out), count: count) : SIMD8<Float>()
        for k in 0..<g.innerCount {
            let x = SIMD8<Float>(repeating: g.a[m &* g.aStride &+ k])
            sum = I.multiplyAdd(x, load8(g.b + (k &* g.bStride &+ column), count: count), sum)
        }
        store8(sum, out, count: count)
        column &+= count
    }
}
