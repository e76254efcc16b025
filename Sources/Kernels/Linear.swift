// SPDX-License-Identifier: MIT

/// How many elements of the summed dimension go through the vector accumulators before they are reduced to one
/// number per output. Part of the definition of the result: outputs add their chunks in ascending order.
@inlinable public var linearChunk: Int { 1024 }

/// How many activation rows `linear` takes at most: it multiplies straight with the stored weights, up to three rows at
/// a time.
@inlinable public var linearDirectRows: Int { 32 }

/// How far ahead of their use weights are asked for, at least.
@inlinable public var linearPrefetchBytes: Int { 8192 }

/// Floats of packed activations that the direct path holds at a time; longer rows are multiplied strip by strip.
@inlinable public var linearStripCount: Int { 1 << 18 }

/// Floats of scratch that `linear` needs: packed and scaled activations and a cut group.
@inlinable public var linearScratchCount: Int { 2 * linearStripCount + linearTailCount }

/// Floats that hold the last, cut group of some weight rows in any format.
@inlinable var linearTailCount: Int { 8 * 32 }

/// out[m, n] (+)= Σₖ a[m, k] · w[n, k] for a range of n: the arguments of `linear`.
public struct LinearArguments {
    /// Activations [rowCount, columnCount], at most `linearDirectRows` rows, `aStride` floats apart.
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
    linearDirect(I.self, W.self, g)
}

/// The end of the outputs from `first` on that share one row of block scales.
@inlinable @inline(__always)
func stretchEnd<W: ElementFormat>(_: W.Type, _ g: LinearArguments, from first: Int) -> Int {
    W.isScaled ? min(g.endOutput, (first / g.blockRows &+ 1) &* g.blockRows) : g.endOutput
}

/// Writes activation rows first ..< first + rows, columns from ..< from + count, to `out` as the dot products take
/// them: in the order of the format's groups, padded with zeros to a whole group.
@inlinable @inline(__always)
func packActivations<W: ElementFormat>(
    _: W.Type, _ g: LinearArguments, rows: Int, first: Int, from: Int, count: Int,
    to out: UnsafeMutablePointer<Float>, stride: Int
) {
    let whole = count / elementGroup &* elementGroup
    for m in 0..<rows {
        let source = g.a + ((first &+ m) &* g.aStride &+ from)
        let destination = out + m &* stride
        var k = 0
        while k < whole {
            packGroup(W.self, source + k, to: destination + k)
            k &+= elementGroup
        }
        guard whole < count else { continue }
        // The last group: its own numbers, then zeros, put in order in place.
        for i in 0..<elementGroup { destination[whole &+ i] = i < count &- whole ? source[whole &+ i] : 0 }
        packGroup(W.self, UnsafePointer(destination + whole), to: destination + whole)
    }
}

/// Writes one group of 32 floats in the order of the format's groups; `source` and `destination` may be the same.
@inlinable @inline(__always)
func packGroup<W: ElementFormat>(
    _: W.Type, _ source: UnsafePointer<Float>, to destination: UnsafeMutablePointer<Float>
) {
    let group = UnsafeRawPointer(source).loadUnaligned(as: SIMD32<Float>.self)
    guard W.isInterleaved else {
        UnsafeMutableRawPointer(destination).storeBytes(of: group, as: SIMD32<Float>.self)
        return
    }
    let even = group.evenHalf
    let odd = group.oddHalf
    store8(even.evenHalf, destination)
    store8(odd.evenHalf, destination + 8)
    store8(even.oddHalf, destination + 16)
    store8(odd.oddHalf, destination + 24)
}

/// Multiplies packed activations of columns from ..< from + count, a multiple of 32, by the block scales of weight row
/// `n` and the format's bias; `source` and `destination` may be the same.
@inlinable @inline(__always)
func scaleActivations<W: ElementFormat>(
    _: W.Type, _ g: LinearArguments, rows: Int, from: Int, count: Int, n: Int, source: UnsafePointer<Float>,
    to destination: UnsafeMutablePointer<Float>, stride: Int
) {
    guard let scales = g.scales else { return }
    let row = scales + (n / g.blockRows) &* g.scaleStride
    let last = g.scaleStride &- 1
    var k = 0
    while k < count {
        let column = from &+ k
        if g.blockColumns % elementGroup == 0 {
            let factor = SIMD8<Float>(repeating: row[column / g.blockColumns] * W.scaleBias)
            let end = min(count, (column / g.blockColumns &+ 1) &* g.blockColumns &- from)
            for m in 0..<rows {
                var i = m &* stride &+ k
                let stop = m &* stride &+ end
                while i < stop {
                    store8(load8(source + i) * factor, destination + i)
                    i &+= 8
                }
            }
            k = end
        } else {
            // A group across several blocks: each number has the scale of the element that it is.
            for m in 0..<rows {
                for i in 0..<elementGroup {
                    let element = W.isInterleaved ? 4 &* (i & 7) &+ i / 8 : i
                    let block = min(last, (column &+ element) / g.blockColumns)
                    let index = m &* stride &+ k &+ i
                    destination[index] = source[index] * (row[block] * W.scaleBias)
                }
            }
            k &+= elementGroup
        }
    }
}

/// Few activation rows: each weight is read once, decoded in registers and used at once.
@inlinable @inline(__always)
func linearDirect<I: InstructionSet, W: ElementFormat>(_: I.Type, _: W.Type, _ whole: LinearArguments) {
    let length = max(linearChunk, linearStripCount / max(1, whole.rowCount) / linearChunk &* linearChunk)
    let isWhole = whole.columnCount <= length
    var from = 0
    while from < whole.columnCount {
        let count = min(length, whole.columnCount &- from)
        // The strip as a product of its own; its scales are found by the column.
        var g = whole
        g.a = whole.a + from
        g.w = whole.w + from &* W.byteCount
        g.columnCount = count
        let padded = (count &+ elementGroup &- 1) / elementGroup &* elementGroup
        let packed = g.scratch + linearTailCount
        let scaled = packed + linearStripCount
        if W.isScaled || W.isInterleaved || padded != count {
            packActivations(W.self, g, rows: g.rowCount, first: 0, from: 0, count: count, to: packed, stride: padded)
            g.a = UnsafePointer(packed)
            g.aStride = padded
        }
        // Rows that lie next to each other are asked for in the order of their addresses.
        let prefetches = isWhole && g.wStride == count &* W.byteCount
        var first = g.firstOutput
        while first < g.endOutput {
            let end = stretchEnd(W.self, g, from: first)
            if W.isScaled {
                scaleActivations(
                    W.self, g, rows: g.rowCount, from: from, count: padded, n: first, source: UnsafePointer(packed),
                    to: scaled, stride: padded)
                g.a = UnsafePointer(scaled)
            }
            // Tiles with enough sums to hide the latency of an addition and few enough to stay in registers.
            var n = first
            if g.rowCount == 1 {
                // Two fours instead of a six and two single rows: a block of scales has 128.
                while end &- n >= 6 && end &- n != 8 {
                    linearDirectTile(I.self, W.self, DotTile<6, 1>.self, g, n, prefetches)
                    n &+= 6
                }
                while end &- n >= 4 {
                    linearDirectTile(I.self, W.self, DotTile<4, 1>.self, g, n, prefetches)
                    n &+= 4
                }
            }
            while end &- n >= 4 {
                linearDirectTiles(I.self, W.self, DotTile<4, 3>.self, g, n, prefetches)
                n &+= 4
            }
            while n < end {
                linearDirectTiles(I.self, W.self, DotTile<1, 3>.self, g, n, false)
                n &+= 1
            }
            first = end
        }
        from &+= count
    }
}

/// Outputs n ..< n + R of one row.
@inlinable @inline(__always)
func linearDirectTile<I: InstructionSet, W: ElementFormat, let R: Int>(
    _: I.Type, _: W.Type, _: DotTile<R, 1>.Type, _ g: LinearArguments, _ n: Int, _ prefetches: Bool
) {
    var chunk = 0
    while chunk < g.columnCount {
        let count = min(linearChunk, g.columnCount &- chunk)
        let ahead = prefetches ? prefetchAddress(W.self, g, n, rows: R, chunk: chunk) : nil
        linearDirectChunk(I.self, W.self, DotTile<R, 1>.self, g, n, 0, chunk, count, ahead)
        chunk &+= count
    }
}

/// Outputs n ..< n + R of all rows: chunk by chunk, so that a chunk's weights stay in the first-level cache while the
/// rows pass, three at a time.
@inlinable @inline(__always)
func linearDirectTiles<I: InstructionSet, W: ElementFormat, let R: Int>(
    _: I.Type, _: W.Type, _: DotTile<R, 3>.Type, _ g: LinearArguments, _ n: Int, _ prefetches: Bool
) {
    var chunk = 0
    while chunk < g.columnCount {
        let count = min(linearChunk, g.columnCount &- chunk)
        var ahead = prefetches ? prefetchAddress(W.self, g, n, rows: R, chunk: chunk) : nil
        var m = 0
        while m < g.rowCount {
            // Two and two instead of three and one.
            let rest = g.rowCount &- m
            let rows = rest == 4 ? 2 : min(3, rest)
            switch rows {
            case 1: linearDirectChunk(I.self, W.self, DotTile<R, 1>.self, g, n, m, chunk, count, ahead)
            case 2: linearDirectChunk(I.self, W.self, DotTile<R, 2>.self, g, n, m, chunk, count, ahead)
            default: linearDirectChunk(I.self, W.self, DotTile<R, 3>.self, g, n, m, chunk, count, ahead)
            }
            m &+= rows
            ahead = nil
        }
        chunk &+= count
    }
}

/// What to ask for while a chunk of tile `n` is multiplied: whole tiles ahead, at least `linearPrefetchBytes`, which is
/// the time that memory needs to answer; in the order of the addresses.
@inlinable @inline(__always)
func prefetchAddress<W: ElementFormat>(
    _: W.Type, _ g: LinearArguments, _ n: Int, rows: Int, chunk: Int
) -> UnsafeRawPointer {
    let tileBytes = rows &* g.wStride
    let distance = (linearPrefetchBytes &+ tileBytes &- 1) / tileBytes &* tileBytes
    return g.w + (n &* g.wStride &+ distance &+ rows &* chunk &* W.byteCount)
}

/// One tile of `linearDirect` over one chunk. A function of its own, so that the sums have the registers to themselves.
@inlinable @inline(never)
func linearDirectChunk<I: InstructionSet, W: ElementFormat, let R: Int, let M: Int>(
    _: I.Type, _: W.Type, _: DotTile<R, M>.Type, _ g: LinearArguments, _ n: Int, _ m: Int, _ chunk: Int, _ count: Int,
    _ ahead: UnsafeRawPointer?
) {
    let groups = count / elementGroup
    let w = g.w + (n &* g.wStride &+ chunk &* W.byteCount)
    let a = g.a + (m &* g.aStride &+ chunk)
    var sums = DotTile<R, M>.zero
    DotTile<R, M>.accumulate(
        I.self, W.self, &sums, a: a, aStride: g.aStride, w: w, wStride: g.wStride, groupCount: groups, prefetch: ahead)
    let whole = groups &* elementGroup
    if whole < count {
        // The last, cut group: nothing beyond a row's end may be read.
        let tail = UnsafeMutableRawPointer(g.scratch)
        let tailStride = elementGroup &* W.byteCount
        for r in 0..<R {
            let source = w + (r &* g.wStride &+ whole &* W.byteCount)
            let copied = (count &- whole) &* W.byteCount
            for i in 0..<tailStride {
                let byte = i < copied ? source.load(fromByteOffset: i, as: UInt8.self) : 0
                tail.storeBytes(of: byte, toByteOffset: r &* tailStride &+ i, as: UInt8.self)
            }
        }
        DotTile<R, M>.accumulate(
            I.self, W.self, &sums, a: a + whole, aStride: g.aStride, w: UnsafeRawPointer(tail), wStride: tailStride,
            groupCount: 1)
    }
    DotTile<R, M>.add(I.self, sums, times: W.scaleBias, to: g.out + (m &* g.outStride &+ n), outStride: g.outStride)
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
    guard W.isScaled else { return decode(I.self, W.self, source, to: destination, count: count) }
    let factors = SIMD8<Float>(repeating: scale * W.scaleBias)
    let bias = SIMD8<Float>(repeating: W.scaleBias)
    let whole = count & ~7
    var k = 0
    while k < whole {
        store8(W.load8(I.self, source + k &* W.byteCount) * bias * factors, destination + k)
        k &+= 8
    }
    if whole < count {
        let rest = W.load8(I.self, source + k &* W.byteCount, count: count &- whole)
        store8(rest * bias * factors, destination + k, count: count &- whole)
    }
}
