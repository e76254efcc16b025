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
            LogFMT10.codeBytes(block.count) < 2 * block.count
        else { return nil }
        let scale = LogFMT10.Scale(smallest: BFloat16(smallest).bitPattern, largest: BFloat16(largest).bitPattern)
        let levels = (1...LogFMT10.magnitudes).map { scale.magnitude($0) }
        let inverse = 1 / scale.step
        let shift = 2 - scale.border * inverse - scale.low * inverse
        let codes = magnitudes.map { magnitude in
            guard magnitude >= 0x1p-126 else { return 0 }
            let logarithm = LogFMT10.logarithm(BFloat16(magnitude).bitPattern)
            guard logarithm >= scale.low - 1 else { return 0 }
            return max(1, min(LogFMT10.magnitudes, Int(logarithm * inverse + shift)))
        }
        return (codes, levels)
    }

    private static func block(_ block: [Float]) -> [Float] {
        guard let (codes, magnitudes) = codes(block) else { return block }
        return zip(block, codes).map { number, code in
            code == 0 ? 0 : Float(signOf: number, magnitudeOf: magnitudes[code - 1])
        }
    }
}
