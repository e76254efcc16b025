// SPDX-License-Identifier: MIT

/// MurmurHash3 x64 128: a hash of 128 bits that is fast and not cryptographic (Austin Appleby, public domain).
///
/// It names cache entries and finds damage. Entries hold what they were made from, so a collision costs a compilation
/// and never gives the wrong kernel.
package struct Murmur3: Hashable, Sendable {
    package var low: UInt64
    package var high: UInt64

    private static let multiplier1: UInt64 = 0x87C3_7B91_1142_53D5
    private static let multiplier2: UInt64 = 0x4CF5_AD43_2745_937F

    /// The hash of `bytes`.
    package init(_ bytes: [UInt8], seed: UInt32 = 0) {
        var h1 = UInt64(seed)
        var h2 = UInt64(seed)
        let whole = bytes.count / 16 * 16
        for start in stride(from: 0, to: whole, by: 16) {
            h1 ^= Self.mix1(Self.word(bytes, start, 8))
            h1 = (Self.rotate(h1, 27) &+ h2) &* 5 &+ 0x52DC_E729
            h2 ^= Self.mix2(Self.word(bytes, start + 8, 8))
            h2 = (Self.rotate(h2, 31) &+ h1) &* 5 &+ 0x3849_5AB5
        }
        let rest = bytes.count - whole
        if rest > 8 { h2 ^= Self.mix2(Self.word(bytes, whole + 8, rest - 8)) }
        if rest > 0 { h1 ^= Self.mix1(Self.word(bytes, whole, min(rest, 8))) }
        h1 ^= UInt64(bytes.count)
        h2 ^= UInt64(bytes.count)
        h1 &+= h2
        h2 &+= h1
        h1 = Self.finish(h1)
        h2 = Self.finish(h2)
        h1 &+= h2
        h2 &+= h1
        low = h1
        high = h2
    }

    /// 32 hexadecimal digits.
    package var text: String { Self.hexadecimal(low) + Self.hexadecimal(high) }

    private static func hexadecimal(_ value: UInt64) -> String {
        let digits = String(value, radix: 16)
        return String(repeating: "0", count: 16 - digits.count) + digits
    }

    private static func word(_ bytes: [UInt8], _ start: Int, _ count: Int) -> UInt64 {
        var value: UInt64 = 0
        for index in 0..<count { value |= UInt64(bytes[start + index]) << UInt64(8 * index) }
        return value
    }

    private static func rotate(_ value: UInt64, _ count: UInt64) -> UInt64 {
        value << count | value >> (64 - count)
    }

    private static func mix1(_ value: UInt64) -> UInt64 { rotate(value &* multiplier1, 31) &* multiplier2 }
    private static func mix2(_ value: UInt64) -> UInt64 { rotate(value &* multiplier2, 33) &* multiplier1 }

    private static func finish(_ value: UInt64) -> UInt64 {
        var value = value
        value ^= value >> 33
        value = value &* 0xFF51_AFD7_ED55_8CCD
        value ^= value >> 33
        value = value &* 0xC4CE_B9FE_1A85_EC53
        return value ^ value >> 33
    }
}
