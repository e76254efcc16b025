// SPDX-License-Identifier: MIT

// SAFETY: In this file pointers are to whole rows: `hidden` BF16 numbers, or as many bytes as an encoded row has, which
// the callers warrant; reads and writes stay inside them.

internal import LowPrecision

#if canImport(Glibc)
internal import Glibc
#elseif canImport(Musl)
internal import Musl
#endif

/// Ten bits for a number: how experts' rows travel back where bandwidth is short.
///
/// A block of 128 neighbours shares the logarithms of its smallest magnitude above zero and its largest,
///
///     high = log₂ max |x|,  low = max(log₂ min |x|, high − 32),  step = (high − low) / 510
///
/// and a number is a sign and nine bits: code 0 is zero, code c from 1 to 511 is the magnitude 2^(low + (c − 1)·step).
/// A magnitude takes the nearer one of its two neighbours on that scale, not of their logarithms: the border between
/// codes c and c + 1 lies at the mean of both magnitudes. So |error| ≤ |x|·(2^step − 1) / (2^step + 1), at most
/// 2.2 % where a block spans all 32 binades and 0.07 % where it spans one; what is more than 32 binades below the
/// largest becomes the smallest magnitude or zero, whichever is nearer.
///
/// A block stays BF16 where that does not serve: where its largest magnitude is 1 or more (or not a number, or below
/// 2⁻⁹⁰), where all its magnitudes are equal, and where it would not be shorter.
///
/// A row is, for each block, the BF16 bits of its smallest and largest magnitude (the smallest's are 0xFFFF where the
/// block stays BF16), then the blocks one after another: codes, the sign above, lowest bits first, four to five bytes.
public enum LogFMT10 {
    /// Numbers that share a scale.
    public static let blockCount = 128
    /// Codes of magnitudes above zero.
    static let magnitudes = 511
    /// Binades from the largest magnitude to the smallest at most.
    static let binades: Float = 32
    static let leastMaximum: Float = 0x1p-90
    private static let staysBFloat16: UInt16 = 0xFFFF

    /// Bytes of a row at most: where all blocks stay BF16.
    public static func maximumBytes(hidden: Int) -> Int { headerBytes(hidden) + 2 * hidden }

    private static func headerBytes(_ hidden: Int) -> Int { (hidden + blockCount - 1) / blockCount * 4 }
    /// Bytes of the codes of `count` numbers.
    static func codeBytes(_ count: Int) -> Int { (count + 3) / 4 * 5 }

    /// log₂ of 1 + i/128: the part of a BF16 number's logarithm that its mantissa decides.
    private static let mantissaLogarithms: [Float] = (0..<128).map { Float(log2(1 + Double($0) / 128)) }

    /// The scale of a block.
    struct Scale {
        var low: Float
        var step: Float

        /// - Parameters: BF16 bits of the smallest magnitude above zero and of the largest, both normal and different.
        init(smallest: UInt16, largest: UInt16) {
            let high = LogFMT10.logarithm(largest)
            low = max(LogFMT10.logarithm(smallest), high - LogFMT10.binades)
            step = (high - low) / Float(LogFMT10.magnitudes - 1)
        }

        /// log₂ of the mean of 1 and 2^step: 2^step is below 1.05, so few terms of the series suffice.
        var border: Float {
            let half = (LogFMT10.exponential(step) - 1) / 2
            return half * (1 - half * (0.5 - half * (1 / 3 - half * 0.25))) * 1.442_695_04
        }

        /// The magnitude that a code from 1 on stands for.
        func magnitude(_ code: Int) -> Float { LogFMT10.exponential(low + Float(code - 1) * step) }
    }

    /// log₂ of a positive number given by its BF16 bits.
    static func logarithm(_ bits: UInt16) -> Float {
        guard bits >= 0x80 else {
            // A subnormal is a multiple of 2⁻¹³³; few numbers are.
            return Float(log2(Double(bits))) - 133
        }
        return Float(Int(bits >> 7) - 127) + mantissaLogarithms[Int(bits & 0x7F)]
    }

    /// 2^x for x from −125 to 1, to 3·10⁻⁶ of it: a polynomial around the nearest integer, the same on every machine.
    static func exponential(_ x: Float) -> Float { exponential(SIMD8(repeating: x))[0] }

    @inline(__always)
    private static func exponential(_ x: SIMD8<Float>) -> SIMD8<Float> {
        // Floats near 1.5·2²³ are integers: adding rounds.
        let magic = SIMD8<Float>(repeating: 12_582_912)
        let shifted = x + magic
        let f = x - (shifted - magic)
        var p = f * 0.001_333_355_8 + 0.009_618_129
        p = p * f + 0.055_504_109
        p = p * f + 0.240_226_507
        p = p * f + 0.693_147_18
        p = p * f + 1
        let exponent = (unsafeBitCast(shifted, to: SIMD8<Int32>.self) &- 0x4B40_0000) &<< 23
        return unsafeBitCast(unsafeBitCast(p, to: SIMD8<Int32>.self) &+ exponent, to: SIMD8<Float>.self)
    }

    // MARK: Encoding

    /// Writes a row.
    ///
    /// - Parameters:
    ///   - row: `hidden` BF16 numbers.
    ///   - out: room for `maximumBytes(hidden:)`.
    /// - Returns: the bytes that were written.
    @discardableResult
    public static func encode(_ row: UnsafeRawPointer, hidden: Int, to out: UnsafeMutableRawPointer) -> Int {
        mantissaLogarithms.withUnsafeBufferPointer { logarithms in
            var offset = headerBytes(hidden)
            for first in stride(from: 0, to: hidden, by: blockCount) {
                let count = min(blockCount, hidden - first)
                offset += encodeBlock(
                    row + 2 * first, count, header: out + first / blockCount * 4, to: out + offset, logarithms)
            }
            return offset
        }
    }

    private static func encodeBlock(
        _ numbers: UnsafeRawPointer, _ count: Int, header: UnsafeMutableRawPointer, to out: UnsafeMutableRawPointer,
        _ logarithms: UnsafeBufferPointer<Float>
    ) -> Int {
        var largest: UInt16 = 0
        // Zero, less one, is above everything else.
        var smallest: UInt16 = 0xFFFF
        for index in 0..<count {
            let magnitude = numbers.loadUnaligned(fromByteOffset: 2 * index, as: UInt16.self) & 0x7FFF
            largest = max(largest, magnitude)
            smallest = min(smallest, magnitude &- 1)
        }
        smallest &+= 1
        guard largest < 0x3F80, Float(BFloat16(bitPattern: largest)) >= leastMaximum, smallest < largest,
            codeBytes(count) < 2 * count
        else {
            header.storeBytes(of: staysBFloat16, as: UInt16.self)
            header.storeBytes(of: largest, toByteOffset: 2, as: UInt16.self)
            out.copyMemory(from: numbers, byteCount: 2 * count)
            return 2 * count
        }
        header.storeBytes(of: smallest, as: UInt16.self)
        header.storeBytes(of: largest, toByteOffset: 2, as: UInt16.self)
        let scale = Scale(smallest: smallest, largest: largest)
        let inverse = 1 / scale.step
        let shift = 2 - scale.border * inverse - scale.low * inverse
        var packed: UInt64 = 0
        for index in 0..<(count + 3) / 4 * 4 {
            let bits = index < count ? numbers.loadUnaligned(fromByteOffset: 2 * index, as: UInt16.self) : 0
            let code = code(of: bits, scale.low, inverse, shift, logarithms)
            packed |= UInt64(code) << UInt64(10 * (index & 3))
            guard index & 3 == 3 else { continue }
            let place = out + index / 4 * 5
            place.storeBytes(of: UInt32(truncatingIfNeeded: packed), as: UInt32.self)
            place.storeBytes(of: UInt8(packed >> 32), toByteOffset: 4, as: UInt8.self)
            packed = 0
        }
        return codeBytes(count)
    }

    /// Sign and code of a number.
    @inline(__always)
    private static func code(
        of bits: UInt16, _ low: Float, _ inverse: Float, _ shift: Float, _ logarithms: UnsafeBufferPointer<Float>
    ) -> UInt16 {
        let magnitude = bits & 0x7FFF
        // Subnormals are more than 32 binades below any largest magnitude that is encoded.
        guard magnitude >= 0x80 else { return 0 }
        let logarithm = Float(Int32(magnitude >> 7) - 127) + logarithms[Int(magnitude & 0x7F)]
        // Half of the smallest magnitude is as near to zero as to it.
        guard logarithm >= low - 1 else { return 0 }
        let place = max(1, min(Int32(magnitudes), Int32(logarithm * inverse + shift)))
        return UInt16(place) | (bits & 0x8000) >> 6
    }

    // MARK: Decoding

    /// AdAdds `weight` times a row to `sums`, room for `hidden` floats: a product is rounded before it is added.
    public static func add(
        _ row: UnsafeRawPointer, hidden: Int, weight: Float, to sums: UnsafeMutablePointer<Float>
    ) {
        var offset = headerBytes(hidden)
        withUnsafeTemporaryAllocation(of: Float.self, capacity: blockCount) { numbers in
            guard let block = numbers.baseAddress else { return }
            for first in stride(from: 0, to: hidden, by: blockCount) {
                let count = min(blockCount, hidden - first)
                offset += decodeBlock(row + offset, count, header: row + first / blockCount * 4, to: block)
                for index in 0..<count { sums[first + index] += block[index] * weight }
            }
        }
    }

    /// The numbers of a row that `encode` wrote.
    public static func decode(_ row: UnsafeRawPointer, hidden: Int) -> [Float] {
        [Float](unsafeUninitializedCapacity: hidden) { numbers, count in
            numbers.initialize(repeating: 0)
            if let sums = numbers.baseAddress { add(row, hidden: hidden, weight: 1, to: sums) }
            count = hidden
        }
    }

    /// - Returns: the bytes that were read.
    private static func decodeBlock(
        _ codes: UnsafeRawPointer, _ count: Int, header: UnsafeRawPointer, to out: UnsafeMutablePointer<Float>
    ) -> Int {
        let smallest = header.loadUnaligned(as: UInt16.self)
        guard smallest != staysBFloat16 else {
            for index in 0..<count {
                let bits = codes.loadUnaligned(fromByteOffset: 2 * index, as: UInt16.self)
                out[index] = Float(BFloat16(bitPattern: bits))
            }
            return 2 * count
        }
        let scale = Scale(smallest: smallest, largest: header.loadUnaligned(fromByteOffset: 2, as: UInt16.self))
        for first in stride(from: 0, to: count, by: 8) {
            var lanes = SIMD8<Int32>()
            for quarter in 0..<(count - first > 4 ? 2 : 1) {
                let place = codes + (first / 4 + quarter) * 5
                let packed =
                    UInt64(place.loadUnaligned(as: UInt32.self))
                    | UInt64(place.loadUnaligned(fromByteOffset: 4, as: UInt8.self)) << 32
                for lane in 0..<4 {
                    lanes[4 * quarter + lane] = Int32(truncatingIfNeeded: packed >> UInt64(10 * lane)) & 0x3FF
                }
            }
            let code = lanes & 0x1FF
            let magnitude = exponential(scale.low + SIMD8<Float>(code &- 1) * scale.step)
            let bits = unsafeBitCast(magnitude, to: SIMD8<Int32>.self) | ((lanes & 0x200) &<< 22)
            let values = unsafeBitCast(bits, to: SIMD8<Float>.self).replacing(with: 0, where: code .== 0)
            for lane in 0..<min(8, count - first) { out[first + lane] = values[lane] }
        }
        return codeBytes(count)
    }
}
