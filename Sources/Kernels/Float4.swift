// SPDX-License-Identifier: MIT

/// Eight FP4 E2M1 codes of a word, the first in its lowest four bits, as floats 2¹⁴ times too small. Exact.
@inlinable @inline(__always)
public func smallFloats<I: InstructionSet>(_: I.Type, float4Codes word: UInt32) -> SIMD8<Float> {
    I.smallFloats(float4Codes: word)
}

/// Up to four bytes of FP4 codes as a word, zeros above them; reads nothing beyond them.
@inlinable @inline(__always)
func float4Word(_ source: UnsafeRawPointer, byteCount: Int) -> UInt32 {
    if byteCount >= 4 { return source.loadUnaligned(as: UInt32.self) }
    var word: UInt32 = 0
    for byte in 0..<byteCount {
        word |= UInt32((source + byte).loadUnaligned(as: UInt8.self)) &<< UInt32(8 &* byte)
    }
    return word
}

/// Decodes `count` FP4 E2M1 codes, two a byte with the even index in the lower half, times `scale`.
///
/// Levels are exact; each product is rounded once. Reads ⌈count / 2⌉ bytes.
@inlinable @inline(__always)
public func decodeFloat4<I: InstructionSet>(
    _: I.Type, _ source: UnsafeRawPointer, to destination: UnsafeMutablePointer<Float>, count: Int, scale: Float
) {
    let up = SIMD8<Float>(repeating: 0x1p14)
    let factor = SIMD8<Float>(repeating: scale)
    let whole = count & ~7
    var k = 0
    while k < whole {
        let word = (source + k / 2).loadUnaligned(as: UInt32.self)
        store8(smallFloats(I.self, float4Codes: word) * up * factor, destination + k)
        k &+= 8
    }
    let rest = count &- whole
    if rest > 0 {
        let word = float4Word(source + k / 2, byteCount: (rest &+ 1) / 2)
        store8(smallFloats(I.self, float4Codes: word) * up * factor, destination + k, count: rest)
    }
}

/// The FP4 E2M1 codes of eight floats: the nearest level, ties towards zero, saturating at ±6, never negative zero.
/// NaN gives code 0.
@inlinable @inline(__always)
func float4Codes<I: InstructionSet>(_: I.Type, _ value: SIMD8<Float>) -> SIMD8<UInt32> {
    let bits = unsafeBitCast(value, to: SIMD8<UInt32>.self)
    let magnitude = unsafeBitCast(bits & 0x7FFF_FFFF, to: SIMD8<Float>.self)
    let none = SIMD8<UInt32>()
    let one = SIMD8<UInt32>(repeating: 1)
    var code = none.replacing(with: one, where: magnitude .> 0.25)
    code &+= none.replacing(with: one, where: magnitude .> 0.75)
    code &+= none.replacing(with: one, where: magnitude .> 1.25)
    code &+= none.replacing(with: one, where: magnitude .> 1.75)
    code &+= none.replacing(with: one, where: magnitude .> 2.5)
    code &+= none.replacing(with: one, where: magnitude .> 3.5)
    code &+= none.replacing(with: one, where: magnitude .> 5)
    // Where the code is not zero.
    return code | none.replacing(with: SIMD8<UInt32>(repeating: 8), where: value .< -0.25)
}

/// Eight codes in one word, the first in the lowest four bits.
@inlinable @inline(__always)
func packFloat4<I: InstructionSet>(_: I.Type, _ codes: SIMD8<UInt32>) -> UInt32 {
    let placed = codes &<< SIMD8<UInt32>(0, 4, 8, 12, 16, 20, 24, 28)
    let quarter = placed.lowHalf | placed.highHalf
    let pair = quarter.lowHalf | quarter.highHalf
    return pair[0] | pair[1]
}
