// SPDX-License-Identifier: MIT

internal import LowPrecision

/// LogFMT-10, one number after the other; see ``LogFMT10`` for the definition.
public enum ReferenceLogFMT10 {
    /// What arrives of a row of BF16 numbers.
    public static func roundTrip(_ row: [Float]) -> [Float] {
        stride(from: 0, to: row.count, by: LogFMT10.blockCount).flatMap { first in
            block(Array(row[first..<min(first + LogFMT10.blockCount, row.count)]))
        }
    }

    /// The codes of a block, signs apart, and the magnitudes that codes from 1 on stand for; nil where it stays BF16.
    public static func codes(_ block: [Float]) -> (codes: [Int], magnitudes: [Float])? {
        let magnitudes = block.map(abs)
        guard let largest = magnitudes.max(), let smallest = magnitudes.filter({ $0 > 0 }).min(),
            magnitudes.allSatisfy({ $0 < 1 }), largest >= LogFMT10.leastMaximum, smallest < largest,
            LogFMT10.codeBytes < 2 * block.count
        else { return nil }
        let high = logarithm(largest)
        let low = max(logarithm(smallest), high - LogFMT10.binades)
        let step = (high - low) * (1 / 510)
        let inverse = 510 / (high - low)
        // The border between two codes is at the mean of their magnitudes: log₂((1 + 2^step) / 2) above the lower one.
        let offset = -0.086_643_4 * step
        let codes = magnitudes.map { magnitude -> Int in
            // Zeros and subnormals are below everything.
            guard magnitude >= .leastNormalMagnitude, case let distance = logarithm(magnitude) - low, distance + 1 >= 0
            else { return 0 }
            return Int((Double(max(0, distance * inverse + offset)) + 1).rounded(.toNearestOrEven))
        }
        let base = low - step
        return (codes, (1...LogFMT10.magnitudes).map { power(Float($0) * step + base) })
    }

    private static func block(_ block: [Float]) -> [Float] {
        guard let (codes, magnitudes) = codes(block) else { return block }
        return zip(block, codes).map { number, code in
            code == 0 ? 0 : Float(signOf: number, magnitudeOf: magnitudes[code - 1])
        }
    }

    /// log₂ x by a polynomial, to 2·10⁻⁶: x = 2^exponent · (1 + f) with 1 + f between 0.707 and 1.4141.
    public static func logarithm(_ x: Float) -> Float {
        var exponent = Float(x.exponent)
        var f = x.significand - 1
        if x.significand >= 1.414_062_5 {
            exponent += 1
            f = x.significand / 2 - 1
        }
        var p = f * -0.210_649_92 + 0.322_822_6
        for coefficient: Float in [-0.366_909_07, 0.479_291_53, -0.721_150_9, 1.442_714_2] { p = p * f + coefficient }
        return p * f + exponent
    }

    /// 2^x by a polynomial around the nearest integer, to 3·10⁻⁶ of it.
    public static func power(_ x: Float) -> Float {
        let whole = x.rounded(.toNearestOrEven)
        let f = x - whole
        var p = f * 0.009_570_103_4 + 0.055_917_865
        for coefficient: Float in [0.240_247_35, 0.693_121_8, 0.999_999_26] { p = p * f + coefficient }
        return Float(sign: .plus, exponent: Int(whole), significand: p)
    }
}
