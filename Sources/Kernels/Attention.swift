// SPDX-License-Identifier: MIT

/// Attention of a tile of query rows over one stretch of cached keys: the arguments of `attentionBlock`.
///
/// A row is one head of one token. Keys are cache rows of `keyWidth` numbers, decoded to float or, for few rows, as
/// they are stored; the first `valueWidth` of each are also the value (multi-head latent attention, absorbed).
public struct AttentionArguments {
    /// Queries [rowCount, keyWidth], rows `queryStride` floats apart.
    public var queries: UnsafePointer<Float>
    public var queryStride: Int
    public var rowCount: Int
    /// Keys of this block [keyCount, keyWidth] in the kernel's format, rows `keyStride` numbers apart; at most 64.
    public var keys: UnsafeRawPointer
    public var keyStride: Int
    public var keyCount: Int
    public var keyWidth: Int
    public var valueWidth: Int
    /// Row r sees the first `limits[r]` keys of this block; may be ≤ 0 or beyond `keyCount`.
    public var limits: UnsafePointer<Int32>
    /// Multiplies the dot products before the softmax.
    public var scale: Float
    /// Running maximum and sum of each row; −∞ and 0 at the start of a partition.
    public var maxima: UnsafeMutablePointer<Float>
    public var sums: UnsafeMutablePointer<Float>
    /// Unnormalised output [rowCount, valueWidth], rows `outStride` floats apart; zero at the start.
    public var out: UnsafeMutablePointer<Float>
    public var outStride: Int
    /// rowCount × 64 floats of scratch.
    public var scores: UnsafeMutablePointer<Float>
    /// The next block's keys, one behind the other, which stored keys ask for meanwhile; or nil.
    public var ahead: UnsafeRawPointer?

    public init(
        queries: UnsafePointer<Float>, queryStride: Int, rowCount: Int, keys: UnsafeRawPointer, keyStride: Int,
        keyCount: Int, keyWidth: Int, valueWidth: Int, limits: UnsafePointer<Int32>, scale: Float,
        maxima: UnsafeMutablePointer<Float>, sums: UnsafeMutablePointer<Float>, out: UnsafeMutablePointer<Float>,
        outStride: Int, scores: UnsafeMutablePointer<Float>, ahead: UnsafeRawPointer? = nil
    ) {
        self.queries = queries
        self.queryStride = queryStride
        self.rowCount = rowCount
        self.keys = keys
        self.keyStride = keyStride
        self.keyCount = keyCount
        self.keyWidth = keyWidth
        self.valueWidth = valueWidth
        self.limits = limits
        self.scale = scale
        self.maxima = maxima
        self.sums = sums
        self.out = out
        self.outStride = outStride
        self.scores = scores
        self.ahead = ahead
    }
}

/// Keys in one block: the page size of the cache, and the distance between rows of `scores`.
@inlinable public var attentionBlockSize: Int { 64 }

/// One step of the online softmax: folds a block of keys into the rows' running maximum, sum and output.
@inlinable @inline(__always)
public func attentionBlock<I: InstructionSet>(_: I.Type, _ arguments: UnsafePointer<AttentionArguments>) {
    let g = arguments.pointee
    attentionScores(I.self, g)
    for row in 0..<g.rowCount { softmaxStep(I.self, g, row) }
    var product = OuterProductArguments(
        a: UnsafePointer(g.scores), aStride: attentionBlockSize, b: g.keys.assumingMemoryBound(to: Float.self),
        bStride: g.keyStride, out: g.out, outStride: g.outStride, rowCount: g.rowCount,
        innerCount: g.keyCount, columnCount: g.valueWidth, accumulates: true)
    outerProduct(I.self, &product)
}

/// scores[r, t] = Σ queries[r] · keys[t].
@inlinable @inline(__always)
func attentionScores<I: InstructionSet>(_: I.Type, _ g: AttentionArguments) {
    var t = 0
    while t < g.keyCount {
        let isTileOfFour = t &+ 4 <= g.keyCount
        var row = 0
        while row < g.rowCount {
            // Two and two instead of three and one.
            let rest = g.rowCount &- row
            let rows = rest == 4 ? 2 : min(3, rest)
            switch (isTileOfFour, rows) {
            case (true, 3): scoreTile(I.self, DotTile<4, 3>.self, g, row, t)
            case (true, 2): scoreTile(I.self, DotTile<4, 2>.self, g, row, t)
            case (true, _): scoreTile(I.self, DotTile<4, 1>.self, g, row, t)
            case (false, 3): scoreTile(I.self, DotTile<1, 3>.self, g, row, t)
            case (false, 2): scoreTile(I.self, DotTile<1, 2>.self, g, row, t)
            case (false, _): scoreTile(I.self, DotTile<1, 1>.self, g, row, t)
            }
            row &+= rows
        }
        t &+= isTileOfFour ? 4 : 1
    }
}

@inlinable @inline(never)
func scoreTile<I: InstructionSet, let R: Int, let M: Int>(
    _: I.Type, _: DotTile<R, M>.Type, _ g: AttentionArguments, _ row: Int, _ t: Int
) {
    let out = g.scores + (row &* attentionBlockSize &+ t)
    for m in 0..<M {
        for r in 0..<R { out[m &* attentionBlockSize &+ r] = 0 }
    }
    let block = DotBlockArguments(
        a: g.queries + row &* g.queryStride, aStride: g.queryStride, rowCount: M,
        b: g.keys.assumingMemoryBound(to: Float.self) + t &* g.keyStride, bStride: g.keyStride, outputCount: R,
        count: g.keyWidth, factor: 1, out: out, outStride: attentionBlockSize)
    dotBlockTile(I.self, DotTile<R, M>.self, block, 0, 0)
}

/// Turns a row of scores into weights relative to the new running maximum, and rescales what was summed before.
/// Keys beyond the row's limit get weight zero, which changes no bit of the sums.
@inlinable @inline(__always)
func softmaxStep<I: InstructionSet>(_: I.Type, _ g: AttentionArguments, _ row: Int) {
    let scores = g.scores + row &* attentionBlockSize
    let limit = max(0, min(Int(g.limits[row]), g.keyCount))
    for t in limit..<attentionBlockSize { scores[t] = -.infinity }
    guard limit > 0 else {
        for t in 0..<attentionBlockSize { scores[t] = 0 }
        return
    }
    let factor = SIMD8<Float>(repeating: g.scale)
    var peak = SIMD8<Float>(repeating: -.infinity)
    var t = 0
    while t < attentionBlockSize {
        let v = load8(UnsafePointer(scores + t)) * factor
        store8(v, scores + t)
        peak = peak.replacing(with: v, where: v .> peak)
        t &+= 8
    }
    let oldMaximum = g.maxima[row]
    let maximum = max(oldMaximum, horizontalMaximum(peak))
    var sum = SIMD8<Float>()
    let maxima = SIMD8<Float>(repeating: maximum)
    t = 0
    while t < attentionBlockSize {
        let v = load8(UnsafePointer(scores + t))
        var weight = exponential(I.self, v - maxima)
        weight = weight.replacing(with: SIMD8<Float>(), where: v .== -.infinity)
        store8(weight, scores + t)
        sum += weight
        t &+= 8
    }
    let correction =
        oldMaximum == -.infinity ? 0 : exponential(I.self, SIMD8<Float>(repeating: oldMaximum - maximum))[0]
    g.maxima[row] = maximum
    g.sums[row] = g.sums[row] * correction + horizontalSum(sum)
    if correction != 1 {
        scaleRow(g.out + row &* g.outStride, count: g.valueWidth, by: correction)
    }
}

@inlinable @inline(__always)
func scaleRow(_ row: UnsafeMutablePointer<Float>, count: Int, by factor: Float) {
    let factors = SIMD8<Float>(repeating: factor)
    let whole = count & ~7
    var k = 0
    while k < whole {
        store8(load8(UnsafePointer(row + k)) * factors, row + k)
        k &+= 8
    }
    while k < count {
        row[k] *= factor
        k &+= 1
    }
}

/// Folds partition `b` of the keys into partition `a` of the same row: maxima, sums and unnormalised outputs.
///
/// Rows that saw no key have maximum −∞ and change nothing.
@inlinable @inline(__always)
public func mergeAttention<I: InstructionSet>(
    _: I.Type, maximumA: UnsafeMutablePointer<Float>, sumA: UnsafeMutablePointer<Float>,
    outA: UnsafeMutablePointer<Float>, maximumB: Float, sumB: Float, outB: UnsafePointer<Float>, valueWidth: Int
) {
    guard maximumB != -.infinity else { return }
    let oldMaximum = maximumA.pointee
    let maximum = max(oldMaximum, maximumB)
    let factorA =
        oldMaximum == -.infinity ? 0 : exponential(I.self, SIMD8<Float>(repeating: oldMaximum - maximum))[0]
    let factorB = exponential(I.self, SIMD8<Float>(repeating: maximumB - maximum))[0]
    maximumA.pointee = maximum
    sumA.pointee = sumA.pointee * factorA + sumB * factorB
    scaleRow(outA, count: valueWidth, by: factorA)
    addScaled(I.self, outB, factor: factorB, to: outA, count: valueWidth)
}
