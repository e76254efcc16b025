// SPDX-License-Identifier: MIT

extension UE8M0 {
    /// The power of two that DeepGEMM's quantisers round a scale up to: the exponent field of |value|, plus one if any
    /// mantissa bit is set, kept within 1…254.
    ///
    /// So zero and subnormals give 2⁻¹²⁶, infinity and what lies above 2¹²⁷ give 2¹²⁷. NaN stays NaN.
    @inlinable
    public init(clampingUp value: Float) {
        guard !value.isNaN else {
            self.init(bitPattern: 0xFF)
            return
        }
        let bits = value.bitPattern & 0x7FFF_FFFF
        let exponent = (bits >> 23) + (bits & 0x007F_FFFF != 0 ? 1 : 0)
        self.init(bitPattern: UInt8(truncatingIfNeeded: min(max(exponent, 1), 254)))
    }

    /// The code of exactly `value`, or nil if `value` is not a power of two from 2⁻¹²⁷ to 2¹²⁷.
    @inlinable
    public init?(exactly value: Float) {
        let bits = value.bitPattern
        if bits == 0x0040_0000 {
            self.init(bitPattern: 0)
        } else if bits & 0x807F_FFFF == 0, bits != 0, bits != 0x7F80_0000 {
            self.init(bitPattern: UInt8(truncatingIfNeeded: bits >> 23))
        } else {
            return nil
        }
    }

    /// Four scales in one word, the first in the lowest byte: how four consecutive K blocks of a row travel.
    @inlinable
    public static func pack(_ first: UE8M0, _ second: UE8M0, _ third: UE8M0, _ fourth: UE8M0) -> Int32 {
        let low = UInt32(first.bitPattern) | UInt32(second.bitPattern) << 8
        let high = UInt32(third.bitPattern) | UInt32(fourth.bitPattern) << 8
        return Int32(bitPattern: low | high << 16)
    }

    /// Scale 0…3 of a word that `pack` made.
    @inlinable
    public init(word: Int32, index: Int) {
        precondition(index >= 0 && index < 4, "a word holds the scales 0…3, not \(index)")
        self.init(bitPattern: UInt8(truncatingIfNeeded: UInt32(bitPattern: word) >> UInt32(8 * index)))
    }
}
