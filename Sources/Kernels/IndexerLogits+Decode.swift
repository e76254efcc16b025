// SPDX-License-Identifier: MIT

/// Stored rows that are to become floats: the arguments of `decodeIndexerE4M3` and `decodeIndexerFloat4`.
public struct IndexerDecodeArguments {
    /// Rows of `depth` codes, `sourceStride` bytes apart.
    public var source: UnsafeRawPointer
    public var sourceStride: Int
    public var rowCount: Int
    public var depth: Int
    /// FP4 alone: a UE8M0 byte per 32 columns, rows `scaleStride` bytes apart.
    public var scales: UnsafeRawPointer
    public var scaleStride: Int
    /// Rows `outStride` floats apart.
    public var out: UnsafeMutablePointer<Float>
    public var outStride: Int

    public init(
        source: UnsafeRawPointer, sourceStride: Int, rowCount: Int, depth: Int, scales: UnsafeRawPointer,
        scaleStride: Int, out: UnsafeMutablePointer<Float>, outStride: Int
    ) {
        self.source = source
        self.sourceStride = sourceStride
        self.rowCount = rowCount
        self.depth = depth
        self.scales = scales
        self.scaleStride = scaleStride
        self.out = out
        self.outStride = outStride
    }
}

/// FP8 E4M3 rows as the numbers they stand for, without scales; NaN codes become NaN.
@inlinable @inline(__always)
public func decodeIndexerE4M3<I: InstructionSet>(_: I.Type, _ arguments: UnsafePointer<IndexerDecodeArguments>) {
    let g = arguments.pointee
    let whole = g.depth & ~7
    for row in 0..<g.rowCount {
        let source = g.source + row &* g.sourceStride
        let out = g.out + row &* g.outStride
        var k = 0
        while k < whole {
            store8(exactE4M3(I.self, Float8E4M3Format.load8(I.self, source + k)), out + k)
            k &+= 8
        }
        let rest = g.depth &- whole
        if rest > 0 {
            store8(exactE4M3(I.self, Float8E4M3Format.load8(I.self, source + k, count: rest)), out + k, count: rest)
        }
    }
}

/// What the codes stand for, from floats that are 2¹²⁰ times too small. 480 is what NaN codes would be as numbers.
@inlinable @inline(__always)
func exactE4M3<I: InstructionSet>(_: I.Type, _ small: SIMD8<Float>) -> SIMD8<Float> {
    let value = small * SIMD8<Float>(repeating: 0x1p120)
    let magnitude = unsafeBitCast(
        unsafeBitCast(value, to: SIMD8<UInt32>.self) & 0x7FFF_FFFF, to: SIMD8<Float>.self)
    return value.replacing(with: SIMD8<Float>(repeating: .nan), where: magnitude .> SIMD8<Float>(repeating: 448))
}

/// FP4 E2M1 rows times their block scales.
@inlinable @inline(__always)
public func decodeIndexerFloat4<I: InstructionSet>(_: I.Type, _ arguments: UnsafePointer<IndexerDecodeArguments>) {
    let g = arguments.pointee
    for row in 0..<g.rowCount {
        let source = g.source + row &* g.sourceStride
        let scales = g.scales + row &* g.scaleStride
        let out = g.out + row &* g.outStride
        var k = 0
        var block = 0
        while k < g.depth {
            let count = min(32, g.depth &- k)
            let scale = powerOfTwo(code: (scales + block).loadUnaligned(as: UInt8.self))
            decodeFloat4(I.self, source + k / 2, to: out + k, count: count, scale: scale)
            k &+= 32
            block &+= 1
        }
    }
}

/// The value of a UE8M0 code: 2^(code − 127), NaN for 255.
@inlinable @inline(__always)
func powerOfTwo(code: UInt8) -> Float {
    if code == 0 { return Float(bitPattern: 0x0040_0000) }
    return code == 255 ? .nan : Float(bitPattern: UInt32(code) &<< 23)
}
