// SPDX-License-Identifier: MIT

internal import LowPrecision

extension RowSum {
    /// out = sums, rounded to BF16 as `BFloat16` does it.
    static func round(_ sums: UnsafePointer<Float>, to out: UnsafeMutableRawPointer, count: Int) {
        // SAFETY: both are whole rows of `count` numbers, which the caller warrants.
        let whole = count & ~7
        for index in stride(from: 0, to: whole, by: 8) {
            // SAFETY: both vectors are eight times 32 bits.
            let values = UnsafeRawPointer(sums + index).loadUnaligned(as: SIMD8<Float>.self)
            let bits = unsafeBitCast(values, to: SIMD8<UInt32>.self)
            let rounded = (bits &+ 0x7FFF &+ ((bits &>> 16) & 1)) &>> 16
            let result = rounded.replacing(with: (bits &>> 16) | 0x40, where: values .!= values)
            out.storeBytes(
                of: SIMD8<UInt16>(truncatingIfNeeded: result), toByteOffset: 2 * index, as: SIMD8<UInt16>.self)
        }
        for index in whole..<count {
            out.storeBytes(of: BFloat16(sums[index]).bitPattern, toByteOffset: 2 * index, as: UInt16.self)
        }
    }
}
