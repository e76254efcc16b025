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
    let zero = SIMD8<Float>()
    var end = limit
    if limit & 7 != 0 {
        end = (limit &+ 7) & ~7
        // Minus infinity loses every comparison and has weight zero.
        for t in limit..<end { scores[t] = g.scale < 0 ? .infinity : -.infinity }
    }
    var t = end
    while t < width {
        store8(zero, scores + t)
        t &+= 8
    }
    guard limit > 0 else { return }
    let factor = SIMD8<Float>(repeating: g.scale)
    var peak = SIMD8<Float>(repeating: -.infinity)
    t = 0
    while t < end {
        let v = load8(UnsafePointer(scores + t)) * factor
        peak = peak.replacing(with: v, where: v .> peak)
        t &+= 8
    }
    let oldMaximum = g.maxima[row]
    let maximum = max(oldMaximum, horizontalMaximum(peak))
    let maxima = SIMD8<Float>(repeating: maximum)
    var sum = zero
    t = 0
    while t < end {
        let v = load8(UnsafePointer(scores + t)) * factor
        var weight = exponential(I.self, v - maxima)
        if t &+ 8 > limit {
            for lane in limit &- t..<8 { weight[lane] = 0 }
        }
        store8(weight, scores + t)
        sum += weight
        t &+= 8
    }
    var correction: Float = 0
    if oldMaximum != -.infinity {
        correction = exponential(I.self, SIMD8<Float>(repeating: oldMaximum - maximum))[0]
    }
    g.maxima[row] = maximum
    g.sums[row] = g.sums[row] * correction + horizontalSum(sum)
    if correction != 1 { mhaScaleRow(g.out + row &* g.outStride, width: g.outWidth, by: correction) }
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
