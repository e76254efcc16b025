// SPDX-License-Identifier: MIT

/// What attention on bfloat16 pairs needs beyond the products of pairs.
///
/// A vector of 32 bfloat16 numbers is sixteen words; a quarter is four words.
public protocol PairAttentionInstructionSet: PairInstructionSet {
    /// Words of the lower four numbers of each quarter of `a` (as a word's lower half) and of `b`.
    static func lowerPairs(_ a: SIMD16<UInt32>, _ b: SIMD16<UInt32>) -> SIMD16<UInt32>
    /// Words of the upper four numbers of each quarter.
    static func upperPairs(_ a: SIMD16<UInt32>, _ b: SIMD16<UInt32>) -> SIMD16<UInt32>
    /// The lower eight bytes of each quarter of `a`, each with its partner from `b` above it.
    static func lowerBytePairs(_ a: SIMD16<UInt32>, _ b: SIMD16<UInt32>) -> SIMD16<UInt32>
    /// The upper eight bytes of each quarter.
    static func upperBytePairs(_ a: SIMD16<UInt32>, _ b: SIMD16<UInt32>) -> SIMD16<UInt32>
    /// As `lowerE4M3`, but NaN codes are NaN.
    static func lowerLatent(_ codes: SIMD16<UInt32>) -> SIMD16<UInt32>
    /// As `upperE4M3`, but NaN codes are NaN.
    static func upperLatent(_ codes: SIMD16<UInt32>) -> SIMD16<UInt32>
    /// Sixteen floats as bfloat16, to nearest, ties to even; NaN becomes quiet, denormal numbers zero.
    static func roundPairs(_ numbers: SIMD16<Float>) -> SIMD16<UInt16>
    /// Numbers times powers of two, given by what they add to the bits of the lower and the upper sixteen; zeros stay.
    static func raise(_ numbers: SIMD16<UInt32>, low: UInt16, high: UInt16) -> SIMD16<UInt32>
    /// In each lane `a` where it is larger, else `b`.
    static func larger(_ a: SIMD16<Float>, _ b: SIMD16<Float>) -> SIMD16<Float>
    /// The largest lane: `larger` of the upper half and the lower one, and so on with what is left.
    static func largestLane(_ a: SIMD16<Float>) -> Float
    /// The sum of the lanes: the halves first, then as `horizontalSum`.
    static func laneSum(_ a: SIMD16<Float>) -> Float
    /// Of each quarter of four vectors the sum (0+2)+(1+3); the four sums of a quarter side by side.
    static func quarterColumns(
        _ a: SIMD16<Float>, _ b: SIMD16<Float>, _ c: SIMD16<Float>, _ d: SIMD16<Float>
    ) -> SIMD16<Float>
    /// The sums of the quarters of each of four vectors, in the order (0+2)+(1+3), those of `a` first.
    static func addQuarters(
        _ a: SIMD16<Float>, _ b: SIMD16<Float>, _ c: SIMD16<Float>, _ d: SIMD16<Float>
    ) -> SIMD16<Float>
}

/// Attention of some query rows over a block of keys, both bfloat16: the arguments of `pairAttentionBlock`.
///
/// The definition of a score: sixteen partial sums, lane i of vector j being the columns 32j + 2i and 32j + 2i + 1.
/// `groupVectors` vectors are added as `multiplyPairs` says, from zero; each such sum is added to a total; the lanes of
/// the totals are added as (0+2)+(1+3) in each quarter, then the quarters alike. Weights e^(score − maximum), below
/// e⁻⁶⁹ zero, are rounded to bfloat16 after they were added to the sum of weights; an output adds the products of the
/// keys 2t and 2t + 1 as `multiplyPairs` says, for ascending t.
public struct PairAttentionArguments {
    /// bfloat16 [rowCount, keyWidth], rows `queryStride` bytes apart.
    public var queries: UnsafeRawPointer
    public var queryStride: Int
    public var rowCount: Int
    /// bfloat16 [keyCount, keyWidth], rows `keyStride` bytes apart; at most 64.
    public var keys: UnsafeRawPointer
    public var keyStride: Int
    public var keyCount: Int
    /// Multiples of 32.
    public var keyWidth: Int
    public var valueWidth: Int
    /// Vectors of 32 columns that are summed before their sum is added to the total.
    public var groupVectors: Int
    /// Row r sees the first `limits[r]` keys of this block; may be ≤ 0 or beyond `keyCount`.
    public var limits: UnsafePointer<Int32>
    /// Multiplies the dot products before the softmax.
    public var scale: Float
    /// Running maximum and sum of each row; −∞ and 0 at the start of a partition.
    public var maxima: UnsafeMutablePointer<Float>
    public var sums: UnsafeMutablePointer<Float>
    /// Unnormalised output [rowCount, valueWidth] in the order of the kernel, rows `outStride` floats apart; zero at
    /// the start.
    public var out: UnsafeMutablePointer<Float>
    public var outStride: Int
    /// rowCount × 64 floats of scratch.
    public var scores: UnsafeMutablePointer<Float>
    /// The next block's keys, one behind the other, which are asked for meanwhile; or nil.
    public var ahead: UnsafeRawPointer?

    public init(
        queries: UnsafeRawPointer, queryStride: Int, rowCount: Int, keys: UnsafeRawPointer, keyStride: Int,
        keyCount: Int, keyWidth: Int, valueWidth: Int, groupVectors: Int, limits: UnsafePointer<Int32>, scale: Float,
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
        self.groupVectors = groupVectors
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

/// One step of the online softmax on pairs; see `PairAttentionArguments`.
@inlinable @inline(__always)
public func pairAttentionBlock<I: PairAttentionInstructionSet>(
    _: I.Type, _ arguments: UnsafePointer<PairAttentionArguments>
) {
    let g = arguments.pointee
    pairScores(I.self, g)
    for row in 0..<g.rowCount {
        pairSoftmax(
            I.self, g.scores + row &* attentionBlockSize, limit: Int(g.limits[row]), keyCount: g.keyCount,
            scale: g.scale, maximum: g.maxima + row, sum: g.sums + row)
    }
    pairValues(I.self, g)
}
