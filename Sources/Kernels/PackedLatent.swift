// SPDX-License-Identifier: MIT

/// How a group of a packed latent row is stored.
public enum PackedLatentCoding: UInt8, Sendable {
    /// FP8 E4M3 codes, float32 scales.
    case float8
    /// FP8 E4M3 codes, UE8M0 scales.
    case float8WithExponents
    /// FP4 E2M1 codes, two a byte with the even column in the lower half, FP8 E4M3 scales.
    case float4
}

/// One row of a packed latent cache: the arguments of `decodePackedLatent`.
public struct PackedLatentArguments {
    /// Codes [groupCount · groupWidth].
    public var codes: UnsafeRawPointer
    /// A scale for each group; any alignment.
    public var scales: UnsafeRawPointer
    public var coding: PackedLatentCoding
    public var groupCount: Int
    /// Codes that share a scale; a multiple of eight.
    public var groupWidth: Int
    /// bfloat16 numbers [plainCount], any alignment; a multiple of eight.
    public var plain: UnsafeRawPointer
    public var plainCount: Int
    /// The row [groupCount · groupWidth + plainCount]: first what was packed, then what was plain.
    public var out: UnsafeMutablePointer<Float>

    public init(
        codes: UnsafeRawPointer, scales: UnsafeRawPointer, coding: PackedLatentCoding, groupCount: Int, groupWidth: Int,
        plain: UnsafeRawPointer, plainCount: Int, out: UnsafeMutablePointer<Float>
    ) {
        self.codes = codes
        self.scales = scales
        self.coding = coding
        self.groupCount = groupCount
        self.groupWidth = groupWidth
        self.plain = plain
        self.plainCount = plainCount
        self.out = out
    }
}

/// Decodes one row: code · scale in single precision, rounded to the nearest bfloat16; then the plain numbers as they
/// are. A NaN code or scale becomes NaN.
///
/// With scales that are powers of two the rounding changes nothing, since a code has four significant bits; nor does it
/// with FP4 codes and FP8 scales, whose products have at most six.
@inlinable @inline(__always)
public func decodePackedLatent<I: InstructionSet>(_: I.Type, _ arguments: UnsafePointer<PackedLatentArguments>) {
    let g = arguments.pointee
    if g.coding == .float4 {
        decodeFloat4Latent(I.self, g)
        return
    }
    var codes = g.codes
    var out = g.out
    for group in 0..<g.groupCount {
        let scale = packedScale(g, group)
        var k = 0
        if isPlainScale(scale) {
            // Exact in one product: nothing to round.
            let factor = SIMD8<Float>(repeating: scale * 0x1p120)
            while k < g.groupWidth {
                let raw = Float8E4M3Format.load8(I.self, codes)
                store8(restoreNaN(raw * factor, raw), out)
                codes += 8
                out += 8
                k &+= 8
            }
        }
        while k < g.groupWidth {
            store8(latent8(I.self, codes, scale), out)
            codes += 8
            out += 8
            k &+= 8
        }
    }
    var k = 0
    while k < g.plainCount {
        store8(BFloat16Format.load8(I.self, g.plain + 2 &* k), out + k)
        k &+= 8
    }
}

/// Decodes one row of FP4 codes. Exact.
@inlinable @inline(__always)
func decodeFloat4Latent<I: InstructionSet>(_: I.Type, _ g: PackedLatentArguments) {
    for group in 0..<g.groupCount {
        let code = UInt32((g.scales + group).load(as: UInt8.self))
        // The bits of half precision with a bias of 7 instead of 15.
        let half = SIMD8<UInt16>(repeating: UInt16(truncatingIfNeeded: (code & 0x80) &<< 8 | (code & 0x7F) &<< 7))
        let scale = code & 0x7F == 0x7F ? Float(bitPattern: 0x7FC0_0000) : I.floats(halfBits: half)[0] * 0x1p8
        let first = group &* g.groupWidth
        decodeFloat4(I.self, g.codes + first / 2, to: g.out + first, count: g.groupWidth, scale: scale)
    }
}

/// The scale of one group.
@inlinable @inline(__always)
func packedScale(_ g: PackedLatentArguments, _ group: Int) -> Float {
    guard g.coding == .float8WithExponents else { return (g.scales + 4 &* group).loadUnaligned(as: Float.self) }
    let code = UInt32((g.scales + group).load(as: UInt8.self))
    if code == 0xFF { return Float(bitPattern: 0x7FC0_0000) }
    // Code 0 is 2⁻¹²⁷, a subnormal number.
    return Float(bitPattern: code == 0 ? 0x0040_0000 : code &<< 23)
}

/// Whether the scale is a power of two from 2⁻¹⁰⁰ to 2⁷: then code · scale is a normal bfloat16 (or zero), and the
/// scale leaves room for the difference of the exponent biases.
@inlinable @inline(__always)
func isPlainScale(_ scale: Float) -> Bool {
    scale.bitPattern & 0x7F_FFFF == 0 && scale >= 0x1p-100 && scale <= 0x1p7
}

/// Puts NaN where the code was NaN: `Float8E4M3Format` knows of none.
@inlinable @inline(__always)
func restoreNaN(_ value: SIMD8<Float>, _ raw: SIMD8<Float>) -> SIMD8<Float> {
    let magnitude = unsafeBitCast(raw, to: SIMD8<UInt32>.self) & 0x7FFF_FFFF
    return value.replacing(
        with: SIMD8<Float>(repeating: .nan), where: magnitude .== SIMD8<UInt32>(repeating: 0x07F0_0000))
}

/// Eight codes times their scale, rounded to bfloat16.
@inlinable @inline(__always)
func latent8<I: InstructionSet>(_: I.Type, _ codes: UnsafeRawPointer, _ scale: Float) -> SIMD8<Float> {
    let raw = Float8E4M3Format.load8(I.self, codes)
    // Single precision's exponent bias is larger by 120; this product is exact.
    let value = restoreNaN(raw * SIMD8<Float>(repeating: 0x1p120), raw) * SIMD8<Float>(repeating: scale)
    return unsafeBitCast(SIMD8<UInt32>(truncatingIfNeeded: BFloat16Format.round(value)) &<< 16, to: SIMD8<Float>.self)
}
