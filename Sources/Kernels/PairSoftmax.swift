// SPDX-License-Identifier: MIT

/// Words of the weights of a row's pairs of keys; they take the place of its scores, and the factor by which the
/// output was too large follows them.
@inlinable var pairWeightWords: Int { attentionBlockSize / 2 }

/// eˣ lane by lane, as `exponential`.
@inlinable @inline(__always)
func exponential16<I: PairAttentionInstructionSet>(_: I.Type, _ value: SIMD16<Float>) -> SIMD16<Float> {
    let low = SIMD16<Float>(repeating: -87)
    let high = SIMD16<Float>(repeating: 88)
    var x = value.replacing(with: low, where: value .< low)
    x = x.replacing(with: high, where: x .> high)
    let magic = SIMD16<Float>(repeating: 12_582_912)
    let shifted = I.multiplyAdd(x, SIMD16(repeating: 1.442_695_04), magic)
    let n = shifted - magic
    var r = I.multiplyAdd(n, SIMD16(repeating: -0.693_359_375), x)
    r = I.multiplyAdd(n, SIMD16(repeating: 2.121_944_4e-4), r)
    var p = SIMD16<Float>(repeating: 1.0 / 5040)
    p = I.multiplyAdd(p, r, SIMD16(repeating: 1.0 / 720))
    p = I.multiplyAdd(p, r, SIMD16(repeating: 1.0 / 120))
    p = I.multiplyAdd(p, r, SIMD16(repeating: 1.0 / 24))
    p = I.multiplyAdd(p, r, SIMD16(repeating: 1.0 / 6))
    p = I.multiplyAdd(p, r, SIMD16(repeating: 0.5))
    p = I.multiplyAdd(p, r, SIMD16(repeating: 1))
    p = I.multiplyAdd(p, r, SIMD16(repeating: 1))
    let exponent = unsafeBitCast(shifted, to: SIMD16<UInt32>.self) &<< 23
    return unsafeBitCast(unsafeBitCast(p, to: SIMD16<UInt32>.self) &+ exponent, to: SIMD16<Float>.self)
}

/// Turns a row of scores into bfloat16 weights relative to the new running maximum.
@inlinable @inline(__always)
func pairSoftmax<I: PairAttentionInstructionSet>(
    _: I.Type, _ scores: UnsafeMutablePointer<Float>, limit: Int, keyCount: Int, scale: Float,
    maximum: UnsafeMutablePointer<Float>, sum: UnsafeMutablePointer<Float>
) {
    let limit = max(0, min(limit, keyCount))
    for t in limit..<attentionBlockSize { scores[t] = -.infinity }
    let words = UnsafeMutableRawPointer(scores)
    guard limit > 0 else {
        for word in 0..<pairWeightWords { scores[word] = 0 }
        scores[pairWeightWords] = 1
        return
    }
    let factor = SIMD16<Float>(repeating: scale)
    let none = SIMD16<Float>(repeating: -.infinity)
    let a = words.loadUnaligned(as: SIMD16<Float>.self) * factor
    let b = words.loadUnaligned(fromByteOffset: 64, as: SIMD16<Float>.self) * factor
    let c = words.loadUnaligned(fromByteOffset: 128, as: SIMD16<Float>.self) * factor
    let d = words.loadUnaligned(fromByteOffset: 192, as: SIMD16<Float>.self) * factor
    let peak = I.larger(d, I.larger(c, I.larger(b, I.larger(a, none))))
    let oldMaximum = maximum.pointee
    let newMaximum = max(oldMaximum, I.largestLane(peak))
    let weights = (
        pairWeights(I.self, a, newMaximum), pairWeights(I.self, b, newMaximum), pairWeights(I.self, c, newMaximum),
        pairWeights(I.self, d, newMaximum)
    )
    let total = (weights.0 + weights.1) + (weights.2 + weights.3)
    words.storeBytes(of: I.roundPairs(weights.0), as: SIMD16<UInt16>.self)
    words.storeBytes(of: I.roundPairs(weights.1), toByteOffset: 32, as: SIMD16<UInt16>.self)
    words.storeBytes(of: I.roundPairs(weights.2), toByteOffset: 64, as: SIMD16<UInt16>.self)
    words.storeBytes(of: I.roundPairs(weights.3), toByteOffset: 96, as: SIMD16<UInt16>.self)
    var correction: Float = 1
    if oldMaximum != newMaximum {
        correction =
            oldMaximum == -.infinity
            ? 0 : exponential16(I.self, SIMD16<Float>(repeating: oldMaximum - newMaximum))[0]
    }
    maximum.pointee = newMaximum
    sum.pointee = sum.pointee * correction + I.laneSum(total)
    scores[pairWeightWords] = correction
}

/// e^(score − maximum), zero where a product with a scale could be a denormal number.
@inlinable @inline(__always)
func pairWeights<I: PairAttentionInstructionSet>(
    _: I.Type, _ scores: SIMD16<Float>, _ maximum: Float
) -> SIMD16<Float> {
    let x = scores - SIMD16<Float>(repeating: maximum)
    let weights = exponential16(I.self, x).replacing(with: SIMD16<Float>(), where: x .< -69)
    return weights.replacing(with: SIMD16<Float>(), where: scores .== -.infinity)
}
