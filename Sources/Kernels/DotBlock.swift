// SPDX-License-Identifier: MIT

/// out[m, n] += factor · Σₖ a[m, k] · b[n, k] over one chunk of the summed dimension: the arguments of `dotBlock`.
///
/// Both operands are floats with k contiguous, decoded and scaled by the caller. Calls for consecutive chunks of at
/// most `linearChunk` elements, in ascending order, make the same bits as `linear`.
public struct DotBlockArguments {
    /// [rowCount, count], rows `aStride` floats apart.
    public var a: UnsafePointer<Float>
    public var aStride: Int
    public var rowCount: Int
    /// [outputCount, count], rows `bStride` floats apart.
    public var b: UnsafePointer<Float>
    public var bStride: Int
    public var outputCount: Int
    /// Elements of the summed dimension, at most `linearChunk`.
    public var count: Int
    /// Multiplies every sum before it is added: a power of two.
    public var factor: Float
    /// [rowCount, outputCount], rows `outStride` floats apart.
    public var out: UnsafeMutablePointer<Float>
    public var outStride: Int
    /// Memory to ask for meanwhile, or nil; `dotPanel` only: `outputCount` rows of `aheadByteCount` bytes,
    /// `aheadStride` bytes apart.
    public var ahead: UnsafeRawPointer?
    public var aheadStride: Int
    public var aheadByteCount: Int

    public init(
        a: UnsafePointer<Float>, aStride: Int, rowCount: Int, b: UnsafePointer<Float>, bStride: Int, outputCount: Int,
        count: Int, factor: Float, out: UnsafeMutablePointer<Float>, outStride: Int, ahead: UnsafeRawPointer? = nil,
        aheadStride: Int = 0, aheadByteCount: Int = 0
    ) {
        self.a = a
        self.aStride = aStride
        self.rowCount = rowCount
        self.b = b
        self.bStride = bStride
        self.outputCount = outputCount
        self.count = count
        self.factor = factor
        self.out = out
        self.outStride = outStride
        self.ahead = ahead
        self.aheadStride = aheadStride
        self.aheadByteCount = aheadByteCount
    }
}

/// See `DotBlockArguments`. Each output's bits depend on its own row of `a` and of `b` alone.
@inlinable @inline(__always)
public func dotBlock<I: InstructionSet>(_: I.Type, _ arguments: UnsafePointer<DotBlockArguments>) {
    let g = arguments.pointee
    var n = 0
    while n < g.outputCount {
        let isTileOfFour = n &+ 4 <= g.outputCount
        var m = 0
        while m < g.rowCount {
            let tile = min(3, g.rowCount &- m)
            switch (isTileOfFour, tile) {
            case (true, 3): dotBlockTile(I.self, DotTile<4, 3>.self, g, n, m)
            case (true, 2): dotBlockTile(I.self, DotTile<4, 2>.self, g, n, m)
            case (true, _): dotBlockTile(I.self, DotTile<4, 1>.self, g, n, m)
            case (false, 3): dotBlockTile(I.self, DotTile<1, 3>.self, g, n, m)
            case (false, 2): dotBlockTile(I.self, DotTile<1, 2>.self, g, n, m)
            case (false, _): dotBlockTile(I.self, DotTile<1, 1>.self, g, n, m)
            }
            m &+= tile
        }
        n &+= isTileOfFour ? 4 : 1
    }
}

/// One tile of `dotBlock`. A function of its own, so that the accumulators have the registers to themselves.
@inlinable @inline(never)
func dotBlockTile<I: InstructionSet, let R: Int, let M: Int>(
    _: I.Type, _: DotTile<R, M>.Type, _ g: DotBlockArguments, _ n: Int, _ m: Int
) {
    let groups = g.count / elementGroup
    guard groups &* elementGroup == g.count else { return dotBlockRaggedTile(I.self, DotTile<R, M>.self, g, n, m) }
    var sums = DotTile<R, M>.zero
    DotTile<R, M>.accumulate(
        I.self, Float32Format.self, &sums, a: g.a + m &* g.aStride, aStride: g.aStride,
        w: UnsafeRawPointer(g.b + n &* g.bStride), wStride: g.bStride &* 4, groupCount: groups)
    DotTile<R, M>.add(I.self, sums, times: g.factor, to: g.out + (m &* g.outStride &+ n), outStride: g.outStride)
}

/// As `dotBlockTile` for a count that is no multiple of a group. The tail's loops keep the accumulators in memory,
/// which is why whole groups do without.
@inlinable @inline(never)
func dotBlockRaggedTile<I: InstructionSet, let R: Int, let M: Int>(
    _: I.Type, _: DotTile<R, M>.Type, _ g: DotBlockArguments, _ n: Int, _ m: Int
) {
    var sums = DotTile<R, M>.zero
    DotTile<R, M>.accumulate(
        I.self, Float32Format.self, &sums, a: g.a + m &* g.aStride, aStride: g.aStride,
        w: UnsafeRawPointer(g.b + n &* g.bStride), wStride: g.bStride &* 4, count: g.count)
    DotTile<R, M>.add(I.self, sums, times: g.factor, to: g.out + (m &* g.outStride &+ n), outStride: g.outStride)
}
