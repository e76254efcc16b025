// SPDX-License-Identifier: MIT

public import CFathom

/// out[m, n] += Σ a[m, k] · (level(w[n, k]) · scale) for few rows and FP4 weights that are read where they lie: the
/// arguments of `float4Linear`. A level times its scale is rounded once, as `pack` does; the sum is that of
/// `DotBlockArguments`, chunk after chunk, bit for bit.
public struct Float4LinearArguments {
    /// [rowCount, count], rows `aStride` floats apart, with zeros up to a multiple of 8.
    public var a: UnsafePointer<Float>
    public var aStride: Int
    public var rowCount: Int
    /// [outputCount, count] codes, two a byte, rows `wStride` bytes apart.
    public var w: UnsafeRawPointer
    public var wStride: Int
    public var outputCount: Int
    /// The summed dimension: whole chunks, or to its end.
    public var count: Int
    /// [outputCount, blocks], rows `scaleStride` apart; a block has `blockColumns` elements, a multiple of 8.
    public var scales: UnsafePointer<Float>
    public var scaleStride: Int
    public var blockColumns: Int
    /// [rowCount, outputCount], rows `outStride` floats apart.
    public var out: UnsafeMutablePointer<Float>
    public var outStride: Int

    public init(
        a: UnsafePointer<Float>, aStride: Int, rowCount: Int, w: UnsafeRawPointer, wStride: Int, outputCount: Int,
        count: Int, scales: UnsafePointer<Float>, scaleStride: Int, blockColumns: Int,
        out: UnsafeMutablePointer<Float>, outStride: Int
    ) {
        self.a = a
        self.aStride = aStride
        self.rowCount = rowCount
        self.w = w
        self.wStride = wStride
        self.outputCount = outputCount
        self.count = count
        self.scales = scales
        self.scaleStride = scaleStride
        self.blockColumns = blockColumns
        self.out = out
        self.outStride = outStride
    }
}

/// How many rows `float4Linear` takes at most: for more it pays to decode codes once to memory.
@inlinable public var float4DirectRows: Int { 4 }

/// Rows of `a` in a tile: as many as leave the sums, and what decodes a code, a register each.
@inlinable @inline(__always)
func float4TileRows<I: InstructionSet>(_: I.Type) -> Int { I.panelRows > 4 ? 4 : 2 }

/// See `Float4LinearArguments`. Chunk by chunk, so that a chunk's codes stay in the first-level cache while the rows
/// pass.
@inlinable @inline(__always)
public func float4Linear<I: InstructionSet>(_: I.Type, _ arguments: UnsafePointer<Float4LinearArguments>) {
    let g = arguments.pointee
    var n = 0
    while n < g.outputCount {
        var chunk = 0
        while chunk < g.count {
            let end = min(chunk &+ linearChunk, g.count)
            var m = 0
            while m < g.rowCount {
                let rows = min(float4TileRows(I.self), g.rowCount &- m)
                switch rows {
                case 4: float4Tile(I.self, DotPanelTile<4>.self, g, m, n, chunk, end)
                case 3: float4Tile(I.self, DotPanelTile<3>.self, g, m, n, chunk, end)
                case 2: float4Tile(I.self, DotPanelTile<2>.self, g, m, n, chunk, end)
                default: float4Tile(I.self, DotPanelTile<1>.self, g, m, n, chunk, end)
                }
                m &+= rows
            }
            chunk = end
        }
        n &+= I.panelRows
    }
}

/// Where a unit's rows begin, those of each vector `stride` bytes apart; beyond the last row that one again.
@usableFromInline
struct Float4Rows<I: InstructionSet> {
    @usableFromInline var a: UnsafeRawPointer
    @usableFromInline var b: UnsafeRawPointer
    @usableFromInline var c: UnsafeRawPointer
    @usableFromInline var d: UnsafeRawPointer

    @inlinable @inline(__always)
    init(_ first: UnsafeRawPointer, stride: Int) {
        let step = I.panelRows / 4 &* stride
        a = first
        b = first + step
        c = first + 2 &* step
        d = first + 3 &* step
    }
}

/// M rows of `a` times a unit of `I.panelRows` rows of codes over one chunk.
@inlinable @inline(never)
func float4Tile<I: InstructionSet, let M: Int>(
    _: I.Type, _: DotPanelTile<M>.Type, _ g: Float4LinearArguments, _ m: Int, _ n: Int, _ chunk: Int, _ end: Int
) {
    var s0 = DotPanelSums<I>(), s1 = DotPanelSums<I>(), s2 = DotPanelSums<I>(), s3 = DotPanelSums<I>()
    let unit = g.outputCount &- n
    let isWhole = unit >= I.panelRows
    let whole = isWhole ? end & ~7 : chunk
    var x = g.a + (m &* g.aStride &+ chunk)
    let stride = g.aStride
    let wStride = g.wStride
    let rows = Float4Rows<I>(g.w + (n &* wStride &+ chunk / 2), stride: wStride)
    // Rows that lie next to each other are asked for in the order of their addresses.
    let asks = m == 0 && wStride &* 2 == g.count
    let tileBytes = I.panelRows &* wStride
    let distance = (linearPrefetchBytes &+ tileBytes &- 1) / tileBytes &* tileBytes
    var ahead = asks ? g.w + (n &* wStride &+ distance &+ I.panelRows &* chunk / 2) : rows.a
    let step = asks ? I.panelRows &* 4 : 0
    var offset = 0
    var k = chunk
    let first = chunk / g.blockColumns
    var stop = first &* g.blockColumns
    var scales = g.scales + (n &* g.scaleStride &+ first)
    let scaleStride = g.scaleStride
    let next = I.panelRows / 4 &* scaleStride
    while k < whole {
        stop = min(whole, stop &+ g.blockColumns)
        let f0 = I.spreadRuns(scales, scaleStride)
        let f1 = I.spreadRuns(scales + next, scaleStride)
        let f2 = I.spreadRuns(scales + 2 &* next, scaleStride)
        let f3 = I.spreadRuns(scales + 3 &* next, scaleStride)
        scales += 1
        while k < stop {
            let x0 = I.repeatRun(x)
            let x1 = M > 1 ? I.repeatRun(x + stride) : x0
            let x2 = M > 2 ? I.repeatRun(x + 2 &* stride) : x0
            let x3 = M > 3 ? I.repeatRun(x + 3 &* stride) : x0
            var b = I.multiplyAdd(I.float4Runs(rows.a + offset, wStride), f0, I.zeroRuns)
            s0.a = I.multiplyAdd(x0, b, s0.a)
            if M > 1 { s1.a = I.multiplyAdd(x1, b, s1.a) }
            if M > 2 { s2.a = I.multiplyAdd(x2, b, s2.a) }
            if M > 3 { s3.a = I.multiplyAdd(x3, b, s3.a) }
            b = I.multiplyAdd(I.float4Runs(rows.b + offset, wStride), f1, I.zeroRuns)
            s0.b = I.multiplyAdd(x0, b, s0.b)
            if M > 1 { s1.b = I.multiplyAdd(x1, b, s1.b) }
            if M > 2 { s2.b = I.multiplyAdd(x2, b, s2.b) }
            if M > 3 { s3.b = I.multiplyAdd(x3, b, s3.b) }
            b = I.multiplyAdd(I.float4Runs(rows.c + offset, wStride), f2, I.zeroRuns)
            s0.c = I.multiplyAdd(x0, b, s0.c)
            if M > 1 { s1.c = I.multiplyAdd(x1, b, s1.c) }
            if M > 2 { s2.c = I.multiplyAdd(x2, b, s2.c) }
            if M > 3 { s3.c = I.multiplyAdd(x3, b, s3.c) }
            b = I.multiplyAdd(I.float4Runs(rows.d + offset, wStride), f3, I.zeroRuns)
            s0.d = I.multiplyAdd(x0, b, s0.d)
            if M > 1 { s1.d = I.multiplyAdd(x1, b, s1.d) }
            if M > 2 { s2.d = I.multiplyAdd(x2, b, s2.d) }
            if M > 3 { s3.d = I.multiplyAdd(x3, b, s3.d) }
            fathom_prefetch(ahead)
            ahead += step
            offset &+= 4
            x += 8
            k &+= 8
        }
    }
    if whole < end {
        // Copies, since what is lent to a function would be kept in memory all the time.
        var (e0, e1, e2, e3) = (s0, s1, s2, s3)
        float4Edge(I.self, DotPanelTile<M>.self, g, m, n, whole, end, &e0, &e1, &e2, &e3)
        (s0, s1, s2, s3) = (e0, e1, e2, e3)
    }
    let out = g.out + (m &* g.outStride &+ n)
    addRows(s0, s1, rows: M, to: out, g.outStride, count: unit)
    if M > 2 { addRows(s2, s3, rows: M &- 2, to: out + 2 &* g.outStride, g.outStride, count: unit) }
}

/// One or two rows of sums.
@inlinable @inline(__always)
func addRows<I: InstructionSet>(
    _ first: DotPanelSums<I>, _ second: DotPanelSums<I>, rows: Int, to out: UnsafeMutablePointer<Float>, _ stride: Int,
    count: Int
) {
    guard count >= I.panelRows else {
        first.add(times: 1, to: out, count: count)
        if rows > 1 { second.add(times: 1, to: out + stride, count: count) }
        return
    }
    if rows > 1 {
        I.addSums(first, second, times: 1, to: out, out + stride)
    } else {
        I.addSums(first.a, first.b, first.c, first.d, times: 1, to: out, count: I.panelRows)
    }
}

/// What `float4Tile` leaves: units that miss rows, and the last elements of rows. Eight elements at a time are copied
/// first, so that nothing beyond a row or its end is read.
@inlinable @inline(never)
func float4Edge<I: InstructionSet, let M: Int>(
    _: I.Type, _: DotPanelTile<M>.Type, _ g: Float4LinearArguments, _ m: Int, _ n: Int, _ start: Int, _ end: Int,
    _ s0: inout DotPanelSums<I>, _ s1: inout DotPanelSums<I>, _ s2: inout DotPanelSums<I>,
    _ s3: inout DotPanelSums<I>
) {
    let last = g.outputCount &- 1
    var codes = InlineArray<8, UInt32>(repeating: 0)
    var factors = InlineArray<8, Float>(repeating: 1)
    var k = start
    while k < end {
        let count = min(8, end &- k)
        let mask: UInt32 = count == 8 ? .max : (1 &<< UInt32(4 &* count)) &- 1
        for row in 0..<I.panelRows {
            let place = min(n &+ row, last)
            codes[row] = float4Word(g.w + (place &* g.wStride &+ k / 2), byteCount: (count &+ 1) / 2) & mask
            factors[row] = g.scales[place &* g.scaleStride &+ k / g.blockColumns]
        }
        let width = I.panelRows / 4
        let x = g.a + (m &* g.aStride &+ k)
        withUnsafeBytes(of: &codes) { bytes in
            withUnsafeBytes(of: &factors) { floats in
                guard let base = bytes.baseAddress, let factors = floats.baseAddress else { return }
                for part in 0..<4 {
                    let first = 4 &* part &* width
                    let scale = I.spreadRuns((factors + first).assumingMemoryBound(to: Float.self), 1)
                    let b = I.multiplyAdd(I.float4Runs(base + first, 4), scale, I.zeroRuns)
                    s0.multiply(I.repeatRun(x), b, part)
                    if M > 1 { s1.multiply(I.repeatRun(x + g.aStride), b, part) }
                    if M > 2 { s2.multiply(I.repeatRun(x + 2 &* g.aStride), b, part) }
                    if M > 3 { s3.multiply(I.repeatRun(x + 3 &* g.aStride), b, part) }
                }
            }
        }
        k &+= 8
    }
}

extension DotPanelSums {
    /// Adds products to vector `part`.
    @inlinable @inline(__always)
    mutating func multiply(_ x: I.Runs, _ y: I.Runs, _ part: Int) {
        switch part {
        case 0: a = I.multiplyAdd(x, y, a)
        case 1: b = I.multiplyAdd(x, y, b)
        case 2: c = I.multiplyAdd(x, y, c)
        default: d = I.multiplyAdd(x, y, d)
        }
    }
}
