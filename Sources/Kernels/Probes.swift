// SPDX-License-Identifier: MIT

/// Twelve independent chains of multiply-adds, `iterations` long: 192 floating-point operations a turn.
///
/// The chains start from different numbers: chains that start equal are merged by the compiler, and then the
/// measured peak is a lie. Returns a number that depends on all of them.
@inlinable @inline(__always)
public func multiplyAddProbe<I: InstructionSet>(_: I.Type, iterations: Int) -> Float {
    var chains = InlineArray<12, SIMD8<Float>>(repeating: SIMD8<Float>())
    for c in 0..<12 {
        for lane in 0..<8 { chains[c][lane] = Float(c &* 8 &+ lane) * 0.01 }
    }
    let factor = SIMD8<Float>(repeating: 0.999)
    let addend = SIMD8<Float>(repeating: 0.001)
    for _ in 0..<iterations {
        for c in 0..<12 { chains[c] = I.multiplyAdd(chains[c], factor, addend) }
    }
    var sum = SIMD8<Float>()
    for c in 0..<12 { sum += chains[c] }
    return horizontalSum(sum)
}

/// Reads `byteCount` bytes (rounded down to 128) once and returns a digest of them.
@inlinable @inline(__always)
public func readProbe(_ bytes: UnsafeRawPointer, byteCount: Int) -> UInt64 {
    var digest = InlineArray<4, SIMD4<UInt64>>(repeating: SIMD4<UInt64>())
    var offset = 0
    while offset &+ 128 <= byteCount {
        for part in 0..<4 {
            digest[part] ^= (bytes + (offset &+ part &* 32)).loadUnaligned(as: SIMD4<UInt64>.self)
        }
        offset &+= 128
    }
    let total = (digest[0] ^ digest[1]) ^ (digest[2] ^ digest[3])
    return total[0] ^ total[1] ^ total[2] ^ total[3]
}

/// Twelve independent chains of pair products, `iterations` long: 768 floating-point operations a turn.
@inlinable @inline(__always)
public func multiplyPairsProbe<I: PairInstructionSet>(_: I.Type, iterations: Int) -> Float {
    var chains = InlineArray<12, SIMD16<Float>>(repeating: SIMD16<Float>())
    for c in 0..<12 {
        for lane in 0..<16 { chains[c][lane] = Float(c &* 16 &+ lane) * 0.01 }
    }
    // Pairs of 0.996 and −0.996.
    let a = SIMD16<UInt32>(repeating: 0x3F7F_BF7F)
    let b = SIMD16<UInt32>(repeating: 0x3F7F_3F7F)
    for _ in 0..<iterations {
        for c in 0..<12 { chains[c] = I.multiplyPairs(a, b, chains[c]) }
    }
    var sum = SIMD16<Float>()
    for c in 0..<12 { sum += chains[c] }
    return horizontalSum(sum.lowHalf) + horizontalSum(sum.highHalf)
}
