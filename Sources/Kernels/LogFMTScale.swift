// SPDX-License-Identifier: MIT

public import CFathom

/// The smallest magnitude above zero and the largest of a block, as BF16 bits.
@usableFromInline
struct LogFMTRange {
    /// Zero where there is none above zero.
    @usableFromInline var smallest: UInt16
    @usableFromInline var largest: UInt16

    /// - Parameter numbers: 128 BF16 numbers at any address.
    @inlinable @inline(__always)
    init(_ numbers: UnsafeRawPointer) {
        let range = fathom_magnitude_range(numbers)
        largest = UInt16(truncatingIfNeeded: range)
        smallest = UInt16(truncatingIfNeeded: range >> 16) &+ 1
    }

    /// Whether codes serve the first `count` numbers: all are below 1, two magnitudes differ, the largest is at least
    /// 2⁻⁹⁰, and codes are shorter.
    @inlinable @inline(__always)
    func isCoded(_ count: Int) -> Bool {
        largest < 0x3F80 && largest >= 0x1280 && smallest < largest && LogFMT.codeBytes < count &* 2
    }
}

/// The scale of a block: codes 1 to 511 stand for 2^(base + code·step).
@usableFromInline
struct LogFMTScale {
    /// log₂ of the smallest magnitude that has a code.
    @usableFromInline var low: Float
    @usableFromInline var step: Float
    /// `low`, less a step.
    @usableFromInline var base: Float
    /// Steps in a unit of the logarithm.
    @usableFromInline var inverse: Float
    /// What is added to a number's distance in steps before it is rounded. The border between two codes lies at the
    /// mean of their magnitudes: log₂((1 + 2^step) / 2) = step / 2 + step²·ln 2 / 8 − … above the lower logarithm.
    @usableFromInline var offset: Float

    /// - Parameters: BF16 bits, the second above the first and at least 2⁻⁹⁰.
    @inlinable @inline(__always)
    init(_ smallest: UInt16, _ largest: UInt16) {
        let logarithms = logarithmLogFMT(
            SIMD16(
                lowHalf: SIMD8(repeating: UInt32(smallest) &<< 16), highHalf: SIMD8(repeating: UInt32(largest) &<< 16)))
        let high = logarithms[8]
        // A subnormal's logarithm is not one, but far below this.
        let least = high - 32
        low = logarithms[0] > least ? logarithms[0] : least
        step = (high - low) * (1 / 510)
        base = low - step
        inverse = 510 / (high - low)
        offset = -0.086_643_4 * step
    }

    /// Codes before they are cut out of the sum: near 1.5·2²³, floats are integers.
    @inlinable @inline(__always)
    func place(_ distance: SIMD16<Float>) -> SIMD16<Float> {
        let place = distance * inverse + offset
        return unsafeBitCast(
            unsafeBitCast(place, to: SIMD16<UInt32>.self) & ~negativesLogFMT(place), to: SIMD16<Float>.self)
            + 12_582_913
    }

    /// Sign and code of numbers, given by the bits of floats.
    @inlinable @inline(__always)
    func code(_ bits: SIMD16<UInt32>) -> SIMD16<UInt32> {
        let distance = logarithmLogFMT(bits & 0x7FFF_FFFF) - low
        let code = unsafeBitCast(place(distance), to: SIMD16<UInt32>.self) & 0x1FF
        // Half of the smallest magnitude is as near to zero as to it.
        return code & ~negativesLogFMT(distance + 1) | (bits &>> 22) & 0x200
    }

    /// What sign and code stand for.
    @inlinable @inline(__always)
    func number(_ code: SIMD16<UInt32>) -> SIMD16<Float> {
        let magnitude = code & 0x1FF
        let value = unsafeBitCast(magnitude | 0x4B00_0000, to: SIMD16<Float>.self) - 8_388_608
        let bits = powerLogFMT(value * step + base) | (code & 0x200) &<< 22
        let isZero = unsafeBitCast(magnitude &- 1, to: SIMD16<Int32>.self) &>> 31
        return unsafeBitCast(bits & ~unsafeBitCast(isZero, to: SIMD16<UInt32>.self), to: SIMD16<Float>.self)
    }

    /// `number` of `code`.
    @inlinable @inline(__always)
    func rounded(_ bits: SIMD16<UInt32>) -> SIMD16<Float> {
        let distance = logarithmLogFMT(bits & 0x7FFF_FFFF) - low
        let value = place(distance) - 12_582_912
        let result = powerLogFMT(value * step + base) | bits & 0x8000_0000
        return unsafeBitCast(result & ~negativesLogFMT(distance + 1), to: SIMD16<Float>.self)
    }
}

/// All bits where a number's sign is set, else none. (Selecting lanes by a comparison is a loop over sixteen of them.)
@inlinable @inline(__always)
func negativesLogFMT(_ values: SIMD16<Float>) -> SIMD16<UInt32> {
    unsafeBitCast(unsafeBitCast(values, to: SIMD16<Int32>.self) &>> 31, to: SIMD16<UInt32>.self)
}

/// log₂ of positive normal BF16 numbers, given by the bits of floats, to 2·10⁻⁶; of zeros and subnormals, something
/// below −125.
///
/// The exponent is chosen so that the mantissa, less one, is between −0.293 and 0.407; a polynomial there.
@inlinable @inline(__always)
func logarithmLogFMT(_ bits: SIMD16<UInt32>) -> SIMD16<Float> {
    let raised = unsafeBitCast(bits &- 0x3F35_0000, to: SIMD16<Int32>.self)
    let exponent = raised &>> 23
    let mantissa = unsafeBitCast(bits, to: SIMD16<Int32>.self) &- exponent &<< 23
    let f = unsafeBitCast(mantissa, to: SIMD16<Float>.self) - 1
    let whole = unsafeBitCast(exponent &+ 0x4B40_0000, to: SIMD16<Float>.self) - 12_582_912
    var p = f * -0.210_649_92 + 0.322_822_6
    p = p * f - 0.366_909_07
    p = p * f + 0.479_291_53
    p = p * f - 0.721_150_9
    p = p * f + 1.442_714_2
    return p * f + whole
}

/// The bits of 2^x for x from −125 to 1, to 3·10⁻⁶ of it: a polynomial around the nearest integer.
@inlinable @inline(__always)
func powerLogFMT(_ x: SIMD16<Float>) -> SIMD16<UInt32> {
    // Floats near 1.5·2²³ are integers: adding rounds.
    let shifted = x + 12_582_912
    let f = x - (shifted - 12_582_912)
    var p = f * 0.009_570_103_4 + 0.055_917_865
    p = p * f + 0.240_247_35
    p = p * f + 0.693_121_8
    p = p * f + 0.999_999_26
    return unsafeBitCast(p, to: SIMD16<UInt32>.self) &+ unsafeBitCast(shifted, to: SIMD16<UInt32>.self) &<< 23
}
