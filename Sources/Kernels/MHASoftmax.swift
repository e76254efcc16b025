// SPDX-License-Identifier: MIT

/// One step of the online softmax over a tile of scores: the arguments of `mhaSoftmax`.
public struct MHASoftmaxArguments {
    /// Dot products [rowCount, keyCount], rows `scoreStride` (a multiple of 8) floats apart. Become weights; those of
    /// unseen keys, and what fills the last eight, become zero.
    public var scores: UnsafeMutablePointer<Float>
    public var scoreStride: Int
    public var rowCount: Int
    public var keyCount: Int
    /// Row r sees the first `limits[r]` keys of this tile; may be ≤ 0 or beyond `keyCount`.
    public var limits: UnsafePointer<Int32>
    /// Multiplies the dot products before the softmax.
    public var scale: Float
    /// Running maximum and sum of each row; −∞ and 0 at the start.
    public var maxima: UnsafeMutablePointer<Float>
    public var sums: UnsafeMutablePointer<Float>
    /// Unnormalised output so far, rescaled where the maximum rises; `outWidth` is a multiple of 8.
    public var out: UnsafeMutablePointer<Float>
    public var outStride: Int
    public var outWidth: Int

    public init(
        scores: UnsafeMutablePointer<Float>, scoreStride: Int, rowCount: Int, keyCount: Int,
        limits: UnsafePointer<Int32>, scale: Float, maxima: UnsafeMutablePointer<Float>,
        sums: UnsafeMutablePointer<Float>, out: UnsafeMutablePointer<Float>, outStride: Int, outWidth: Int
    ) {
        self.scores = scores
        self.scoreStride = scoreStride
        self.rowCount = rowCount
        self.keyCount = keyCount
        self.limits = limits
        self.scale = scale
        self.maxima = maxima
        self.sums = sums
        self.out = out
        self.outStride = outStride
        self.outWidth = outWidth
    }
}

/// See `MHASoftmaxArguments`.
@inlinable @inline(__always)
public func mhaSoftmax<I: InstructionSet>(_: I.Type, _ arguments: UnsafePointer<MHASoftmaxArguments>) {
    let g = arguments.pointee
    for row in 0..<g.rowCount { mhaSoftmaxRow(I.self, g, row) }
}

@inlinable @inline(__always)
func mhaSoftmaxRow<I: InstructionSet>(_: I.Type, _ g: MHASoftmaxArguments, _ row: Int) {
    let scores = g.scores + row &* g.scoreStride
    let width = (g.keyCount &+ 7) & ~7
    let limit = max(0, min(Int(g.limits[row]), g.keyCount))
    let whole = limit & ~7
    var t = (limit &+ 7) & ~7
    while t < width {
        store8(SIMD8<Float>(), scores + t)
        t &+= 8
    }
    guard limit > 0 else { return }
    let factor = SIMD8<Float>(repeating: g.scale)
    let oldMaximum = g.maxima[row]
    let maximum = max(oldMaximum, mhaPeak(UnsafePointer(scores), count: limit, factor: factor))
    let maxima = SIMD8<Float>(repeating: maximum)
    // Two sums, so that one exponential overlaps the next.
    var even = SIMD8<Float>()
    var odd = SIMD8<Float>()
    t = 0
    while t &+ 16 <= whole {
        let left = exponential(I.self, load8(UnsafePointer(scores + t)) * factor - maxima)
        let right = exponential(I.self, load8(UnsafePointer(scores + (t &+ 8))) * factor - maxima)
        store8(left, scores + t)
        store8(right, scores + (t &+ 8))
        even += left
        odd += right
        t &+= 16
    }
    if t < whole {
        let weight = exponential(I.self, load8(UnsafePointer(scores + t)) * factor - maxima)
        store8(weight, scores + t)
        even += weight
    }
    if whole < limit {
        var weight = exponential(I.self, load8(UnsafePointer(scores + whole)) * factor - maxima)
        for lane in limit &- whole..<8 { weight[lane] = 0 }
        store8(weight, scores + whole)
        odd += weight
    }
    var correction: Float = 0
    if oldMaximum != -.infinity {
        correction = exponential(I.self, SIMD8<Float>(repeating: oldMaximum - maximum))[0]
    }
    g.maxima[row] = maximum
    g.sums[row] = g.sums[row] * correction + horizontalSum(even + odd)
    if correction != 1 { mhaScaleRow(g.out + row &* g.outStride, width: g.outWidth, by: correction) }
}

/// The largest of `count` products with `factor`.
@inlinable @inline(__always)
func mhaPeak(_ scores: UnsafePointer<Float>, count: Int, factor: SIMD8<Float>) -> Float {
    var even = SIMD8<Float>(repeating: -.infinity)
    var odd = even
    var t = 0
    while t &+ 16 <= count {
        let left = load8(scores + t) * factor
        let right = load8(scores + (t &+ 8)) * factor
        even = even.replacing(with: left, where: left .> even)
        odd = odd.replacing(with: right, where: right .> odd)
        t &+= 16
    }
    while t < count {
        let rest = min(count &- t, 8)
        var v = load8(scores + t) * factor
        for lane in rest..<8 { v[lane] = -.infinity }
        odd = odd.replacing(with: v, where: v .> odd)
        t &+= 8
    }
    return horizontalMaximum(even.replacing(with: odd, where: odd .> even))
}

/// `width`, a multiple of 8, numbers times `factor`.
@inlinable @inline(__always)
func mhaScaleRow(_ row: UnsafeMutablePointer<Float>, width: Int, by factor: Float) {
    let factors = SIMD8<Float>(repeating: factor)
    var k = 0
    while k < width {
        store8(load8(UnsafePointer(row + k)) * factors, row + k)
        k &+= 8
    }
}

/// Divides every row by its sum; rows whose sum is zero, which saw no key, become zero.
@inlinable @inline(__always)
public func mhaNormalise(
    _ out: UnsafeMutablePointer<Float>, outStride: Int, outWidth: Int, rowCount: Int, sums: UnsafePointer<Float>
) {
    for row in 0..<rowCount {
        let sum = sums[row]
        mhaScaleRow(out + row &* outStride, width: outWidth, by: sum == 0 ? 0 : 1 / sum)
    }
}
