// SPDX-License-Identifier: MIT

internal import LowPrecision

/// The sum of rows, each number's parts in a given order, in floats.
///
/// A block of numbers stays in registers while the rows pass; widening BF16 is a shift, and baseline vectors
/// keep up with memory.
enum RowSum {
    // SAFETY: In this file pointers are to whole rows of `count` numbers, which the caller warrants; reads and writes
    // stay inside them.

    /// Numbers that are summed at a time.
    private static let block = 32
    private typealias Lanes = SIMD8<Float>

    /// out = Σ parts, rounded once to BF16.
    static func bfloat16(_ parts: [UnsafeRawPointer], to out: UnsafeMutableRawPointer, count: Int) {
        var start = 0
        while start + block <= count {
            var a = Lanes()
            var b = Lanes()
            var c = Lanes()
            var d = Lanes()
            for part in parts {
                let numbers = part + start * 2
                a += widened(numbers)
                b += widened(numbers + 16)
                c += widened(numbers + 32)
                d += widened(numbers + 48)
            }
            store(a, out + start * 2)
            store(b, out + start * 2 + 16)
            store(c, out + start * 2 + 32)
            store(d, out + start * 2 + 48)
            start += block
        }
        for index in start..<max(count, start) {
            var sum: Float = 0
            for part in parts {
                sum += Float(BFloat16(bitPattern: part.loadUnaligned(fromByteOffset: index * 2, as: UInt16.self)))
            }
            out.storeBytes(of: BFloat16(sum).bitPattern, toByteOffset: index * 2, as: UInt16.self)
        }
    }

    /// out = Σ parts.
    static func float32(_ parts: [UnsafeRawPointer], to out: UnsafeMutableRawPointer, count: Int) {
        var start = 0
        while start + 8 <= count {
            var sum = Lanes()
            for part in parts { sum += part.loadUnaligned(fromByteOffset: start * 4, as: Lanes.self) }
            out.storeBytes(of: sum, toByteOffset: start * 4, as: Lanes.self)
            start += 8
        }
        for index in start..<max(count, start) {
            var sum: Float = 0
            for part in parts { sum += part.loadUnaligned(fromByteOffset: index * 4, as: Float.self) }
            out.storeBytes(of: sum, toByteOffset: index * 4, as: Float.self)
        }
    }

    /// out = Σ weight · part in floats, rounded once to BF16: a product is rounded before it is added.
    static func weightedBFloat16(
        _ parts: [(row: UnsafeRawPointer, weight: Float)], to out: UnsafeMutableRawPointer, count: Int
    ) {
        var start = 0
        while start + 8 <= count {
            var sum = Lanes()
            for part in parts { sum += widened(part.row + start * 2) * part.weight }
            storeChecked(sum, out + start * 2)
            start += 8
        }
        for index in start..<max(count, start) {
            var sum: Float = 0
            for part in parts {
                let bits = part.row.loadUnaligned(fromByteOffset: index * 2, as: UInt16.self)
                sum += Float(BFloat16(bitPattern: bits)) * part.weight
            }
            out.storeBytes(of: BFloat16(sum).bitPattern, toByteOffset: index * 2, as: UInt16.self)
        }
    }

    /// out = Σ weight · part: a product is rounded before it is added.
    static func weightedFloat32(
        _ parts: [(row: UnsafeRawPointer, weight: Float)], to out: UnsafeMutableRawPointer, count: Int
    ) {
        var start = 0
        while start + 8 <= count {
            var sum = Lanes()
            for part in parts {
                sum += part.row.loadUnaligned(fromByteOffset: start * 4, as: Lanes.self) * part.weight
            }
            out.storeBytes(of: sum, toByteOffset: start * 4, as: Lanes.self)
            start += 8
        }
        for index in start..<max(count, start) {
            var sum: Float = 0
            for part in parts {
                sum += part.row.loadUnaligned(fromByteOffset: index * 4, as: Float.self) * part.weight
            }
            out.storeBytes(of: sum, toByteOffset: index * 4, as: Float.self)
        }
    }

    @inline(__always)
    private static func widened(_ numbers: UnsafeRawPointer) -> Lanes {
        let bits = SIMD8<UInt32>(truncatingIfNeeded: numbers.loadUnaligned(as: SIMD8<UInt16>.self)) &<< 16
        return unsafeBitCast(bits, to: Lanes.self)
    }

    /// Rounds a sum of BF16 numbers to nearest, ties to even, as `BFloat16` does. There is no case for NaN: one that
    /// comes out of such a sum is quiet and has no low bits, so that nothing carries. The signed shift lets lanes be
    /// packed by one instruction.
    @inline(__always)
    private static func store(_ values: Lanes, _ out: UnsafeMutableRawPointer) {
        let bits = unsafeBitCast(values, to: SIMD8<UInt32>.self)
        let rounded = unsafeBitCast(bits &+ 0x7FFF &+ ((bits &>> 16) & 1), to: SIMD8<Int32>.self) &>> 16
        out.storeBytes(of: SIMD8<Int16>(truncatingIfNeeded: rounded), as: SIMD8<Int16>.self)
    }

    /// Rounds whatever there is.
    @inline(__always)
    private static func storeChecked(_ values: Lanes, _ out: UnsafeMutableRawPointer) {
        let bits = unsafeBitCast(values, to: SIMD8<UInt32>.self)
        let rounded = (bits &+ 0x7FFF &+ ((bits &>> 16) & 1)) &>> 16
        let result = rounded.replacing(with: (bits &>> 16) | 0x40, where: values .!= values)
        out.storeBytes(of: SIMD8<UInt16>(truncatingIfNeeded: result), as: SIMD8<UInt16>.self)
    }
}
