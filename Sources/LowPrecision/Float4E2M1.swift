// SPDX-License-Identifier: MIT

/// A 4-bit float with 2 exponent bits and 1 mantissa bit (`float4_e2m1fn`): ±{0, ½, 1, 1½, 2, 3, 4, 6}.
///
/// The code lies in the lower half of `bitPattern`: sign in bit 3, then exponent and mantissa. There is neither
/// infinity nor NaN. Equality and hashing compare bit patterns. Two codes share a byte: `pack`.
public struct Float4E2M1: Sendable, Hashable {
    /// 0…15.
    public let bitPattern: UInt8

    /// The largest magnitude.
    public static let greatestFiniteMagnitude: Float = 6

    /// The eight magnitudes, indexed by the code without its sign.
    public static let magnitudes: [Float] = [0, 0.5, 1, 1.5, 2, 3, 4, 6]

    /// Takes the lower four bits.
    @inlinable
    public init(bitPattern: UInt8) {
        self.bitPattern = bitPattern & 0x0F
    }

    /// Rounds to the nearest level as DeepGEMM's FP4 quantiser does: a magnitude moves up only when it lies strictly
    /// above the middle of two levels, so ties go towards zero. Beyond 6, infinity included, it saturates.
    ///
    /// What rounds to zero becomes code 0: negative zero is never made. NaN, which the format lacks, becomes code 0
    /// too; quantisers carry it in the block's scale.
    @inlinable
    public init(_ value: Float) {
        let x = abs(value)
        var code: UInt8 = 0
        if x > 0.25 { code += 1 }
        if x > 0.75 { code += 1 }
        if x > 1.25 { code += 1 }
        if x > 1.75 { code += 1 }
        if x > 2.5 { code += 1 }
        if x > 3.5 { code += 1 }
        if x > 5 { code += 1 }
        bitPattern = code != 0 && value < 0 ? code | 8 : code
    }

    /// Two codes in a byte, the element with the even index in the lower half.
    @inlinable
    public static func pack(even: Float4E2M1, odd: Float4E2M1) -> UInt8 {
        even.bitPattern | odd.bitPattern << 4
    }

    /// The two codes of a byte; see `pack`.
    @inlinable
    public static func unpack(_ byte: UInt8) -> (even: Float4E2M1, odd: Float4E2M1) {
        (Float4E2M1(bitPattern: byte), Float4E2M1(bitPattern: byte >> 4))
    }
}

extension Float {
    /// The same number, exactly. Code 8 is −0.
    @inlinable
    public init(_ value: Float4E2M1) {
        let magnitude = UInt32(value.bitPattern & 7)
        let sign = UInt32(value.bitPattern & 8) << 28
        switch magnitude {
        case 0: self.init(bitPattern: sign)
        case 1: self.init(bitPattern: sign | 0x3F00_0000)
        // Exponent and mantissa move into a float whose bias is larger by 126.
        default: self.init(bitPattern: sign | ((magnitude << 22) &+ (126 << 23)))
        }
    }
}
