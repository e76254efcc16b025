// SPDX-License-Identifier: MIT

internal import CFathom
public import Kernels

extension AVX512: PairAttentionInstructionSet {
    @inline(__always)
    public static func lowerPairs(_ a: SIMD16<UInt32>, _ b: SIMD16<UInt32>) -> SIMD16<UInt32> {
        fathom_pair_halves(a, b, false)
    }

    @inline(__always)
    public static func upperPairs(_ a: SIMD16<UInt32>, _ b: SIMD16<UInt32>) -> SIMD16<UInt32> {
        fathom_pair_halves(a, b, true)
    }

    @inline(__always)
    public static func lowerBytePairs(_ a: SIMD16<UInt32>, _ b: SIMD16<UInt32>) -> SIMD16<UInt32> {
        fathom_pair_bytes(a, b, false)
    }

    @inline(__always)
    public static func upperBytePairs(_ a: SIMD16<UInt32>, _ b: SIMD16<UInt32>) -> SIMD16<UInt32> {
        fathom_pair_bytes(a, b, true)
    }

    @inline(__always)
    public static func lowerLatent(_ codes: SIMD16<UInt32>) -> SIMD16<UInt32> {
        fathom_decode_e4m3_nan(codes, false, true)
    }

    @inline(__always)
    public static func upperLatent(_ codes: SIMD16<UInt32>) -> SIMD16<UInt32> {
        fathom_decode_e4m3_nan(codes, true, true)
    }

    @inline(__always)
    public static func larger(_ a: SIMD16<Float>, _ b: SIMD16<Float>) -> SIMD16<Float> { fathom_larger(a, b) }

    @inline(__always)
    public static func largestLane(_ a: SIMD16<Float>) -> Float { fathom_largest_lane(a) }

    @inline(__always)
    public static func laneSum(_ a: SIMD16<Float>) -> Float { fathom_lane_sum(a) }

    @inline(__always)
    public static func quarterColumns(
        _ a: SIMD16<Float>, _ b: SIMD16<Float>, _ c: SIMD16<Float>, _ d: SIMD16<Float>
    ) -> SIMD16<Float> {
        fathom_quarter_columns(a, b, c, d)
    }

    @inline(__always)
    public static func addQuarters(
        _ a: SIMD16<Float>, _ b: SIMD16<Float>, _ c: SIMD16<Float>, _ d: SIMD16<Float>
    ) -> SIMD16<Float> {
        fathom_add_quarters(a, b, c, d)
    }

    @inline(__always)
    public static func raise(_ numbers: SIMD16<UInt32>, low: UInt16, high: UInt16) -> SIMD16<UInt32> {
        fathom_raise_pairs(numbers, low, high)
    }

    @inline(__always)
    public static func roundPairs(_ numbers: SIMD16<Float>) -> SIMD16<UInt16> { fathom_round_pairs(numbers) }
}
