// SPDX-License-Identifier: MIT

/// What a kernel needs from a processor that multiplies pairs of bfloat16 numbers.
///
/// A word of `SIMD16<UInt32>` holds a pair: the number with the even index in its lower half. A vector has four
/// quarters of four words, eight numbers each.
public protocol PairInstructionSet: InstructionSet {
    /// sums + a.odd · b.odd + a.even · b.even in each lane: two fused multiply-adds in this order, each rounded to the
    /// nearest even. Denormal numbers count as zero, as operands and as results.
    static func multiplyPairs(_ a: SIMD16<UInt32>, _ b: SIMD16<UInt32>, _ sums: SIMD16<Float>) -> SIMD16<Float>

    /// `a * b + c`, fused.
    static func multiplyAdd(_ a: SIMD16<Float>, _ b: SIMD16<Float>, _ c: SIMD16<Float>) -> SIMD16<Float>

    /// The 16 bytes at an address in every quarter.
    static func repeatQuarter(_ bytes: UnsafeRawPointer) -> SIMD16<UInt32>

    /// 16 bytes from each of four addresses.
    static func gatherQuarters(
        _ a: UnsafeRawPointer, _ b: UnsafeRawPointer, _ c: UnsafeRawPointer, _ d: UnsafeRawPointer
    ) -> SIMD16<UInt32>

    /// Four floats, each of them in a whole quarter.
    static func spreadQuarters(_ floats: UnsafePointer<Float>) -> SIMD16<Float>

    /// Codes 0…7 of each quarter's sixteen E4M3 codes as numbers. Exact; NaN codes are ±480.
    static func lowerE4M3(_ codes: SIMD16<UInt32>) -> SIMD16<UInt32>
    /// Codes 8…15 of each quarter.
    static func upperE4M3(_ codes: SIMD16<UInt32>) -> SIMD16<UInt32>

    /// Makes rows of the columns of the eight by eight numbers in each quarter of eight vectors: row j of quarter q
    /// goes to `out` + q · `stride` + 16 · j.
    static func storeTransposed(
        _ rows: borrowing InlineArray<8, SIMD16<UInt32>>, to out: UnsafeMutableRawPointer, stride: Int)

    /// The sum of each quarter of four vectors, those of `a` first, each in the order (0+2)+(1+3).
    static func quarterSums(
        _ a: SIMD16<Float>, _ b: SIMD16<Float>, _ c: SIMD16<Float>, _ d: SIMD16<Float>
    ) -> SIMD16<Float>
}

/// The summed elements that share a scale, and after which sums of pairs are added to their total. Part of the
/// definition of the result.
@inlinable public var pairBlock: Int { 128 }

/// Bytes from one row of packed pairs to the next, for `linearChunk` elements; the excess keeps rows from falling on
/// the same cache sets.
@inlinable public var pairRowBytes: Int { 2 &* linearChunk &+ 64 }

/// Rows of the other operand that lie together in a panel of pairs: four quarters times two vectors.
@inlinable public var pairUnitRows: Int { 8 }

/// Bytes of such a unit for `linearChunk` elements.
@inlinable public var pairUnitBytes: Int { 2 &* linearChunk &* pairUnitRows }

/// How the numbers of an operand of pairs are stored.
public protocol PairFormat {
    /// Bytes of one number.
    static var byteCount: Int { get }
    /// Sixteen numbers of each of four rows, as pairs: the first eight, the second eight.
    static func octetPairs<I: PairInstructionSet>(
        _: I.Type, _ rows: PairRows, at element: Int
    ) -> (SIMD16<UInt32>, SIMD16<UInt32>)
    /// Writes the columns of eight rows of 64 bytes, `stride` bytes apart, to the same eight elements of consecutive
    /// units.
    static func packColumns<I: PairInstructionSet>(
        _: I.Type, _ source: UnsafeRawPointer, stride: Int, to out: UnsafeMutableRawPointer)
}

/// Where four rows begin.
public struct PairRows {
    public var a: UnsafeRawPointer
    public var b: UnsafeRawPointer
    public var c: UnsafeRawPointer
    public var d: UnsafeRawPointer

    /// Rows that are `stride` bytes apart; beyond `count` the last one again.
    @inlinable @inline(__always)
    public init(_ first: UnsafeRawPointer, stride: Int, count: Int) {
        a = first
        b = first + min(1, count &- 1) &* stride
        c = first + min(2, count &- 1) &* stride
        d = first + min(3, count &- 1) &* stride
    }
}

/// bfloat16.
public enum BFloat16Pairs: PairFormat {
    @inlinable public static var byteCount: Int { 2 }

    @inlinable @inline(__always)
    static func octets<I: PairInstructionSet>(
        _: I.Type, _ rows: PairRows, at element: Int
    ) -> SIMD16<UInt32> {
        let offset = element &* 2
        return I.gatherQuarters(rows.a + offset, rows.b + offset, rows.c + offset, rows.d + offset)
    }

    @inlinable @inline(__always)
    public static func octetPairs<I: PairInstructionSet>(
        _: I.Type, _ rows: PairRows, at element: Int
    ) -> (SIMD16<UInt32>, SIMD16<UInt32>) {
        (octets(I.self, rows, at: element), octets(I.self, rows, at: element &+ 8))
    }

    @inlinable @inline(__always)
    public static func packColumns<I: PairInstructionSet>(
        _: I.Type, _ source: UnsafeRawPointer, stride: Int, to out: UnsafeMutableRawPointer
    ) {
        I.storeTransposed(eightLines(source, stride), to: out, stride: pairUnitBytes)
    }
}

/// FP8 E4M3.
public enum Float8E4M3Pairs: PairFormat {
    @inlinable public static var byteCount: Int { 1 }

    @inlinable @inline(__always)
    public static func octetPairs<I: PairInstructionSet>(
        _: I.Type, _ rows: PairRows, at element: Int
    ) -> (SIMD16<UInt32>, SIMD16<UInt32>) {
        let codes = I.gatherQuarters(rows.a + element, rows.b + element, rows.c + element, rows.d + element)
        return (I.lowerE4M3(codes), I.upperE4M3(codes))
    }

    @inlinable @inline(__always)
    public static func packColumns<I: PairInstructionSet>(
        _: I.Type, _ source: UnsafeRawPointer, stride: Int, to out: UnsafeMutableRawPointer
    ) {
        let codes = eightLines(source, stride)
        let even: InlineArray<8, SIMD16<UInt32>> = [
            I.lowerE4M3(codes[0]), I.lowerE4M3(codes[1]), I.lowerE4M3(codes[2]), I.lowerE4M3(codes[3]),
            I.lowerE4M3(codes[4]), I.lowerE4M3(codes[5]), I.lowerE4M3(codes[6]), I.lowerE4M3(codes[7]),
        ]
        I.storeTransposed(even, to: out, stride: 2 &* pairUnitBytes)
        let odd: InlineArray<8, SIMD16<UInt32>> = [
            I.upperE4M3(codes[0]), I.upperE4M3(codes[1]), I.upperE4M3(codes[2]), I.upperE4M3(codes[3]),
            I.upperE4M3(codes[4]), I.upperE4M3(codes[5]), I.upperE4M3(codes[6]), I.upperE4M3(codes[7]),
        ]
        I.storeTransposed(odd, to: out + pairUnitBytes, stride: 2 &* pairUnitBytes)
    }
}

/// 64 bytes from each of eight addresses.
@inlinable @inline(__always)
func eightLines(_ source: UnsafeRawPointer, _ stride: Int) -> InlineArray<8, SIMD16<UInt32>> {
    [
        source.loadUnaligned(as: SIMD16<UInt32>.self),
        (source + stride).loadUnaligned(as: SIMD16<UInt32>.self),
        (source + 2 &* stride).loadUnaligned(as: SIMD16<UInt32>.self),
        (source + 3 &* stride).loadUnaligned(as: SIMD16<UInt32>.self),
        (source + 4 &* stride).loadUnaligned(as: SIMD16<UInt32>.self),
        (source + 5 &* stride).loadUnaligned(as: SIMD16<UInt32>.self),
        (source + 6 &* stride).loadUnaligned(as: SIMD16<UInt32>.self),
        (source + 7 &* stride).loadUnaligned(as: SIMD16<UInt32>.self),
    ]
}
