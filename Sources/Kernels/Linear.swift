// SPDX-License-Identifier: MIT

/// How many elements of the summed dimension go through the vector accumulators before they are reduced to one
/// number per output. Part of the definition of the result: outputs add their chunks in ascending order.
@inlinable public var linearChunk: Int { 512 }

/// Up to this many activation rows are multiplied straight from the stored weights, two at a time.
@inlinable public var linearDirectRows: Int { 12 }

/// How far ahead of their use weights are asked for, at least.
@inlinable public var linearPrefetchBytes: Int { 8192 }

/// Weight rows that are decoded to float at a time where there are more activation rows.
@inlinable public var linearPanelRows: Int { 128 }

/// Floats between the rows of a decoded panel; the excess keeps rows from falling on the same cache sets.
@inlinable public var linearPanelStride: Int { linearChunk + 16 }

/// Activation rows that share a pass over the panel, so that they stay in the second-level cache.
@inlinable public var linearRowBlock: Int { 48 }

/// Floats of scratch that `linear` needs: a panel with scaled activations, or the scaled rows of the direct path.
@inlinable @inline(__always)
public func linearScratchCount(columnCount: Int) -> Int {
    max((linearPanelRows &+ linearRowBlock) &* linearPanelStride, linearDirectRows &* columnCount)
}

/// out[m, n] (+)= Σₖ a[m, k] · w[n, k] for a range of n: the arguments of `linear`.
public struct LinearArguments {
    /// Activations [rowCount, columnCount], rows `aStride` floats apart.
    public var a: UnsafePointer<Float>
    public var aStride: Int
    public var rowCount: Int
    /// The summed dimension.
    public var columnCount: Int
    /// Weights [outputs, columnCount] in the kernel's format, rows `wStride` bytes apart.
    public var w: UnsafeRawPointer
    public var wStride: Int
    /// One scale per block of blockRows × blockColumns weights, rows of the grid `scaleStride` apart.
    /// Block extents are multiples of 8. nil for unscaled formats.
    public var scales: UnsafePointer<Float>?
    public var scaleStride: Int
    public var blockRows: Int
    public var blockColumns: Int
    /// The outputs to compute, as rows of `w`. `firstOutput` is a multiple of 4.
    public var firstOutput: Int
    public var endOutput: Int
    /// Results [rowCount, outputs], rows `outStride` floats apart.
    public var out: UnsafeMutablePointer<Float>
    public var outStride: Int
    /// Whether results are added to what `out` holds.
    public var accumulates: Bool
    /// `linearScratchCount` floats for this call alone.
    public var scratch: UnsafeMutablePointer<Float>

    public init(
        a: UnsafePointer<Float>, aStride: Int, rowCount: Int, columnCount: Int,
        w: UnsafeRawPointer, wStride: Int,
        scales: UnsafePointer<Float>?, scaleStride: Int, blockRows: Int, blockColumns: Int,
        firstOutput: Int, endOutput: Int,
        out: UnsafeMutablePointer<Float>, outStride: Int, accumulates: Bool,
        scratch: UnsafeMutablePointer<Float>
    ) {
        self.a = a
        self.aStride = aStride
        self.rowCount = rowCount
        self.columnCount = columnCount
        self.w = w
        self.wStride = wStride
        self.scales = scales
        self.scaleStride = scaleStride
        self.blockRows = blockRows
        self.blockColumns = blockColumns
        self.firstOutput = firstOutput
        self.endOutput = endOutput
        self.out = out
        self.outStride = outStride
        self.accumulates = accumulates
        self.scratch = scratch
    }
}

/// The linear layer's inner loop; see `LinearArguments`.
///
/// A block scale belongs to the activation side: the sum is Σ (a · scale) · code. One row of activations is then
/// scaled once per block of weight rows, and no weight is multiplied on its way.
@inlinable @inline(__always)
public func linear<I: InstructionSet, W: ElementFormat>(
    _: I.Type, _: W.Type, _ arguments: UnsafePointer<LinearArguments>
) {
    let g = arguments.pointee
    if !g.accumulates {
        for m in 0..<g.rowCount {
            for n in g.firstOutput..<g.endOutput { g.out[m &* g.outStride &+ n] = 0 }
        }
    }
    // Stretches of outputs that share one row of block scales.
    var first = g.firstOutput
    while first < g.endOutput {
        var end = g.endOutput
        if W.isScaled { end = min(end, (first / g.blockRows &+ 1) &* g.blockRows) }
        if g.rowCount <= linearDirectRows {
            linearDirect(I.self, W.self, g, first, end)
        } else {
            linearPanels(I.self, W.self, g, first, end)
        }
        first = end
    }
}

/// Writes activation rows first ..< first + rows, columns from ..< from + count, times the block scales of weight
/// row `n`, to `out`.
@inlinable @inline(__always)
func scaleActivations<W: ElementFormat>(
    _: W.Type, _ g: LinearArguments, rows: Int, first: Int, from: Int, count: Int, n: Int,
    to out: UnsafeMutablePointer<Float>, stride: Int
) {
    guard let scales = g.scales else { return }
    let row = scales + (n / g.blockRows) &* g.scaleStride
    let end = from &+ count
    var k = from
    while k < end {
        let block = k / g.blockColumns
        let blockEnd = min(end, (block &+ 1) &* g.blockColumns)
        let factor = row[block] * W.scaleBias
        for m in 0..<rows {
            let source = g.a + ((first &+ m) &* g.aStride &+ k)
            let destination = out + (m &* stride &+ k &- from)
            var i = 0
            while i &+ 8 <= blockEnd &- k {
                store8(load8(source + i) * SIMD8(repeating: factor), destination + i)
                i &+= 8
            }
            while i < blockEnd &- k {
                destination[i] = source[i] * factor
                i &+= 1
            }
        }
        k = blockEnd
    }
}

/// Few activation rows: each weight is read once, decoded in registers and used at once.
@inlinable @inline(__always)
func linearDirect<I: InstructionSet, W: ElementFormat>(
    _: I.Type, _: W.Type, _ whole: LinearArguments, _ first: Int, _ end: Int
) {
    var g = whole
    if W.isScaled {
        scaleActivations(
            W.self, g, rows: g.rowCount, first: 0, from: 0, count: g.columnCount, n: first, to: g.scratch,
            stride: g.columnCount)
        g.a = UnsafePointer(g.scratch)
        g.aStride = g.columnCount
    }
    var n = first
    while n < end {
        // The tile's weights stay in the first-level cache while the rows pass.
        let isTileOfFour = n &+ 4 <= end
        var m = 0
        while m < g.rowCount {
            let rows = min(2, g.rowCount &- m)
            switch (isTileOfFour, rows) {
            case (true, 2): linearDirectRun(I.self, W.self, DotTile<4, 2>.self, g, n, m)
            case (true, _): linearDirectRun(I.self, W.self, DotTile<4, 1>.self, g, n, m)
            case (false, 2): linearDirectRun(I.self, W.self, DotTile<1, 2>.self, g, n, m)
            case (false, _): linearDirectRun(I.self, W.self, DotTile<1, 1>.self, g, n, m)
            }
            m &+= rows
        }
        n &+= isTileOfFour ? 4 : 1
    }
}

/// Whole tiles ahead, at least `linearPrefetchBytes`: the time that memory needs to answer.
@inlinable @inline(__always)
func prefetchDistance(tileBytes: Int) -> Int {
    guard tileBytes > 0 else { return 0 }
    return (linearPrefetchBytes &+ tileBytes &- 1) / tileBytes &* tileBytes
}

/// One tile of `linearDirect`: outputs n ..< n + R of rows m ..< m + M over the whole summed dimension.
@inlinable @inline(never)
func linearDirectRun<I: InstructionSet, W: ElementFormat, let R: Int, let M: Int>(
    _: I.Type, _: W.Type, _: DotTile<R, M>.Type, _ g: LinearArguments, _ n: Int, _ m: Int
) {
    let row = g.w + n &* g.wStride
    let a = g.a + m &* g.aStride
    let out = g.out + (m &* g.outStride &+ n)
    let distance = m == 0 ? prefetchDistance(tileBytes: R &* g.wStride) : 0
    var chunk = 0
    while chunk < g.columnCount {
        let chunkEnd = min(chunk &+ linearChunk, g.columnCount)
        var sums = DotTile<R, M>.zero
        DotTile<R, M>.accumulate(
            I.self, W.self, &sums, a: a + chunk, aStride: g.aStride, w: row + chunk &* W.byteCount,
            wStride: g.wStride, count: chunkEnd &- chunk, prefetchDistance: distance)
        DotTile<R, M>.add(sums, times: W.scaleBias, to: out, outStride: g.outStride)
        chunk = chunkEnd
    }
}

/// Many activation rows: a panel of weights is decoded once per chunk and used by all rows.
@inlinable @inline(__always)
func linearPanels<I: InstructionSet, W: ElementFormat>(
    _: I.Type, _: W.Type, _ g: LinearArguments, _ firstOutput: Int, _ endOutput: Int
) {
    let scaled = g.scratch + linearPanelRows &* linearPanelStride
    var first = firstOutput
    while first < endOutput {
        let end = min(first &+ linearPanelRows, endOutput)
        var chunk = 0
        while chunk < g.columnCount {
            let count = min(linearChunk, g.columnCount &- chunk)
            for n in first..<end {
                decode(
                    I.self, W.self, g.w + (n &* g.wStride &+ chunk &* W.byteCount),
                    to: g.scratch + (n &- first) &* linearPanelStride, count: count)
            }
            var row = 0
            while row < g.rowCount {
                let rows = min(linearRowBlock, g.rowCount &- row)
                var a = g.a + (row &* g.aStride &+ chunk)
                var aStride = g.aStride
                if W.isScaled {
                    scaleActivations(
                        W.self, g, rows: rows, first: row, from: chunk, count: count, n: first, to: scaled,
                        stride: linearPanelStride)
                    a = UnsafePointer(scaled)
                    aStride = linearPanelStride
                }
                var block = DotBlockArguments(
                    a: a, aStride: aStride, rowCount: rows, b: UnsafePointer(g.scratch), bStride: linearPanelStride,
                    outputCount: end &- first, count: count, factor: W.scaleBias,
                    out: g.out + (row &* g.outStride &+ first), outStride: g.outStride)
                dotBlock(I.self, &block)
                row &+= rows
            }
            chunk &+= count
        }
        first = end
    }
}

/// Decodes `count` elements, too small by the square of the format's `scaleBias`.
@inlinable @inline(__always)
func decode<I: InstructionSet, W: ElementFormat>(
    _: I.Type, _: W.Type, _ source: UnsafeRawPointer, to destination: UnsafeMutablePointer<Float>, count: Int
) {
    let whole = count & ~7
    var k = 0
    while k < whole {
        store8(W.load8(I.self, source + k &* W.byteCount), destination + k)
        k &+= 8
    }
    if whole < count {
        store8(
            W.load8(I.self, source + k &* W.byteCount, count: count &- whole), destination + k, count: count &- whole)
    }
}

/// Decodes `count` elements that share one block scale.
@inlinable @inline(__always)
public func decode<I: InstructionSet, W: ElementFormat>(
    _: I.Type, _: W.Type, _ source: UnsafeRawPointer, to destination: UnsafeMutablePointer<Float>, count: Int,
    scale: Float
) {
    decode(I.self, W.self, source, to: destination, count: count)
    guard W.isScaled else { return }
    let factors = SIMD8<Float>(repeating: scale * W.scaleBias)
    let bias = SIMD8<Float>(repeating: W.scaleBias)
    var k = 0
    while k &+ 8 <= count {
        store8(load8(UnsafePointer(destination + k)) * bias * factors, destination + k)
        k &+= 8
    }
    while k < count {
        destination[k] = destination[k] * W.scaleBias * (scale * W.scaleBias)
        k &+= 1
    }
}
