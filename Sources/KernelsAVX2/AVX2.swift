// SPDX-License-Identifier: MIT

internal import CFathom
public import Kernels

/// x86-64 with AVX2, FMA and F16C: each call below is one instruction.
public enum AVX2: InstructionSet {
    @inline(__always)
    public static func multiplyAdd(_ a: SIMD8<Float>, _ b: SIMD8<Float>, _ c: SIMD8<Float>) -> SIMD8<Float> {
        c.addingProduct(a, b)
    }

    @inline(__always)
    public static func floats(halfBits: SIMD8<UInt16>) -> SIMD8<Float> {
        // Lane by lane, which compiles to one vcvtph2ps: the vector initialiser would be a call of its generic form.
        let half = unsafeBitCast(halfBits, to: SIMD8<Float16>.self)
        return SIMD8(
            Float(half[0]), Float(half[1]), Float(half[2]), Float(half[3]),
            Float(half[4]), Float(half[5]), Float(half[6]), Float(half[7]))
    }

    @inline(__always)
    public static func horizontalSums(
        _ a: SIMD8<Float>, _ b: SIMD8<Float>, _ c: SIMD8<Float>, _ d: SIMD8<Float>
    ) -> SIMD4<Float> {
        fathom_horizontal_sums(a, b, c, d)
    }

    @inline(__always)
    public static func transpose(_ square: inout InlineArray<8, SIMD8<Float>>) {
        withUnsafeMutableBytes(of: &square) { fathom_transpose($0.baseAddress) }
    }
}
