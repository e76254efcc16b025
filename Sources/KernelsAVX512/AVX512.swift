// SPDX-License-Identifier: MIT

internal import CFathom
public import Kernels

/// x86-64 with AVX-512 F, BW, DQ, VL, BF16 and VBMI: each call below is a few instructions at most.
public enum AVX512: PairInstructionSet {
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
    public static func smallFloats(float4Codes word: UInt32) -> SIMD8<Float> {
        fathom_small_float4(word)
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

// Two runs a vector, 32 registers.
extension AVX512 {
    public static var panelRows: Int { 8 }
    public static var panelTileRows: Int { 6 }
    public static var zeroRuns: SIMD16<Float> { SIMD16() }

    @inline(__always)
    public static func loadRuns(_ floats: UnsafePointer<Float>) -> SIMD16<Float> {
        UnsafeRawPointer(floats).loadUnaligned(as: SIMD16<Float>.self)
    }

    @inline(__always)
    public static func repeatRun(_ floats: UnsafePointer<Float>) -> SIMD16<Float> {
        fathom_repeat_half(floats)
    }

    @inline(__always)
    public static func addSums(
        _ a: SIMD16<Float>, _ b: SIMD16<Float>, _ c: SIMD16<Float>, _ d: SIMD16<Float>, times factor: Float,
        to out: UnsafeMutablePointer<Float>, count: Int
    ) {
        let sums = fathom_half_sums(a, b, c, d) * factor
        if count >= 8 {
            store8(load8(UnsafePointer(out)) + sums, out)
        } else {
            for lane in 0..<count { out[lane] += sums[lane] }
        }
    }
}

extension AVX512 {
    @inline(__always)
    public static func float4Runs(_ codes: UnsafeRawPointer, _ stride: Int) -> SIMD16<Float> {
        fathom_float4_levels(codes, codes + stride)
    }

    @inline(__always)
    public static func spreadRuns(_ floats: UnsafePointer<Float>, _ stride: Int) -> SIMD16<Float> {
        unsafeBitCast(fathom_spread_words(floats, floats + stride), to: SIMD16<Float>.self)
    }

    @inline(__always)
    public static func addSums(
        _ first: DotPanelSums<AVX512>, _ second: DotPanelSums<AVX512>, times factor: Float,
        to out: UnsafeMutablePointer<Float>, _ other: UnsafeMutablePointer<Float>
    ) {
        fathom_add_half_sums(
            first.a, first.b, first.c, first.d, second.a, second.b, second.c, second.d, factor, out, other)
    }
}

// Pairs of bfloat16 numbers.
extension AVX512 {
    @inline(__always)
    public static func multiplyPairs(
        _ a: SIMD16<UInt32>, _ b: SIMD16<UInt32>, _ sums: SIMD16<Float>
    ) -> SIMD16<Float> {
        fathom_multiply_pairs(a, b, sums)
    }

    @inline(__always)
    public static func multiplyAdd(_ a: SIMD16<Float>, _ b: SIMD16<Float>, _ c: SIMD16<Float>) -> SIMD16<Float> {
        c.addingProduct(a, b)
    }

    @inline(__always)
    public static func repeatQuarter(_ bytes: UnsafeRawPointer) -> SIMD16<UInt32> {
        fathom_repeat_quarter(bytes)
    }

    @inline(__always)
    public static func gatherQuarters(
        _ a: UnsafeRawPointer, _ b: UnsafeRawPointer, _ c: UnsafeRawPointer, _ d: UnsafeRawPointer
    ) -> SIMD16<UInt32> {
        fathom_gather_quarters(a, b, c, d)
    }

    @inline(__always)
    public static func spreadQuarters(_ floats: UnsafePointer<Float>) -> SIMD16<Float> {
        fathom_spread_quarters(floats)
    }

    @inline(__always)
    public static func lowerE4M3(_ codes: SIMD16<UInt32>) -> SIMD16<UInt32> {
        fathom_decode_e4m3(codes, false)
    }

    @inline(__always)
    public static func upperE4M3(_ codes: SIMD16<UInt32>) -> SIMD16<UInt32> {
        fathom_decode_e4m3(codes, true)
    }

    @inline(__always)
    public static func storeTransposed(
        _ rows: borrowing InlineArray<8, SIMD16<UInt32>>, to out: UnsafeMutableRawPointer, stride: Int
    ) {
        var copy = copy rows
        withUnsafeBytes(of: &copy) { fathom_store_transposed($0.baseAddress, out, stride) }
    }

    @inline(__always)
    public static func quarterSums(
        _ a: SIMD16<Float>, _ b: SIMD16<Float>, _ c: SIMD16<Float>, _ d: SIMD16<Float>
    ) -> SIMD16<Float> {
        fathom_quarter_sums(a, b, c, d)
    }
}
