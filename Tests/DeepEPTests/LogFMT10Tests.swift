// SPDX-License-Identifier: MIT

import DeepEP
import LowPrecision
import TestSupport
import Testing

@Suite("LogFMT-10")
struct LogFMT10Tests {
    /// What arrives of a row, and the bytes that it took.
    static func roundTrip(_ row: [Float]) -> (row: [Float], bytes: Int) {
        let numbers = TestGroup.bytes(row)
        var out = [UInt8](repeating: 0xAA, count: LogFMT10.maximumBytes(hidden: row.count) + 16)
        let count = numbers.withUnsafeBytes { numbers in
            out.withUnsafeMutableBytes { out -> Int in
                guard let from = numbers.baseAddress, let to = out.baseAddress else { return 0 }
                return LogFMT10.encode(from, hidden: row.count, to: to)
            }
        }
        #expect(out[count...].allSatisfy { $0 == 0xAA }, "\(count) bytes, and something written behind them")
        let decoded = out.withUnsafeBytes { out in
            out.baseAddress.map { LogFMT10.decode($0, hidden: row.count) } ?? []
        }
        return (decoded, count)
    }

    static func bits(_ row: [Float]) -> [UInt32] { row.map(\.bitPattern) }

    /// The bound of the page: |error| / |x| for a block whose magnitudes above zero lie within so many binades, and
    /// what floats add to it.
    static func bound(binades: Int) -> Float {
        // 2^(binades / 510), by its series.
        let x = Float(min(32, binades)) / 510 * 0.693_147_2
        let ratio = 1 + x * (1 + x / 2 * (1 + x / 3 * (1 + x / 4)))
        return (ratio - 1) / (ratio + 1) + 2e-5
    }

    @Test("every magnitude below 1 comes back within the bound, beside every largest magnitude's exponent")
    func everyNumber() {
        // Each block has a known largest magnitude, and 127 numbers that cover all of BF16 below it.
        for exponent in stride(from: 40, to: 127, by: 3) {
            let largest = Float(BFloat16(bitPattern: UInt16(exponent << 7 | 0x55)))
            var next: UInt16 = UInt16(max(exponent - 40, 0) << 7)
            while Float(BFloat16(bitPattern: next)) < largest {
                let block =
                    [largest]
                    + (0..<127).map { index in
                        let magnitude = Float(BFloat16(bitPattern: next + UInt16(index)))
                        return min(magnitude, largest) * (index % 2 == 0 ? 1 : -1)
                    }
                check(block)
                next += 127
            }
        }
    }

    /// A block comes back within the bound, signs kept.
    private func check(_ block: [Float]) {
        let found = Self.roundTrip(block).row
        let magnitudes = block.map(abs).filter { $0 > 0 }
        let largest = magnitudes.max() ?? 0
        let smallest = max(magnitudes.min() ?? 0, largest * 0x1p-32)
        let bound = Self.bound(binades: Int(largest.exponent - smallest.exponent) + 1)
        for (value, wanted) in zip(found, block) {
            if abs(wanted) >= smallest {
                #expect(abs(value - wanted) <= bound * abs(wanted), "\(wanted) comes back as \(value) under \(largest)")
            } else {
                #expect(abs(value - wanted) <= smallest * 0.5001, "\(wanted) comes back as \(value) under \(largest)")
            }
            #expect(value == 0 || (value < 0) == (wanted < 0))
        }
    }

    @Test("random rows of any length give the reference's bits", arguments: 0..<60 as Range<UInt64>)
    func reference(seed: UInt64) {
        var random = RandomNumbers(seed: seed)
        let count = 1 + random.number(below: 700)
        var scale = exp2Whole(random.number(below: 60) - 50)
        let row = (0..<count).map { index -> Float in
            // Some blocks reach 1, and others do not.
            if index % 128 == 0 { scale = exp2Whole(random.number(below: 60) - 55) }
            if random.number(below: 9) == 0 { return 0 }
            return Float(BFloat16(random.normal() * scale * exp2Whole(-random.number(below: 40))))
        }
        let (found, bytes) = Self.roundTrip(row)
        #expect(Self.bits(found) == Self.bits(ReferenceLogFMT10.roundTrip(row)))
        #expect(bytes <= LogFMT10.maximumBytes(hidden: count))
    }

    private func exp2Whole(_ exponent: Int) -> Float { Float(sign: .plus, exponent: exponent, significand: 1) }

    @Test("a code is the nearest of its neighbours, not of their logarithms")
    func nearest() throws {
        var random = RandomNumbers(seed: 8)
        var misses = 0
        var numbers = 0
        for binades in [1, 4, 12, 30] {
            let block = (0..<128).map { _ in
                Float(
                    BFloat16(
                        0.9 * exp2Whole(-random.number(below: binades)) * Float(1 + random.number(below: 127)) / 128))
            }
            let (codes, magnitudes) = try #require(ReferenceLogFMT10.codes(block))
            for (value, code) in zip(block, codes) where code > 0 {
                numbers += 1
                let error = abs(abs(value) - magnitudes[code - 1])
                let best = magnitudes.map { abs(abs(value) - $0) }.min() ?? 0
                // Where a number lies at the border, floats may decide either way.
                if error > best * 1.01 + abs(value) * 1e-5 { misses += 1 }
            }
        }
        #expect(numbers > 400 && misses == 0, "\(misses) of \(numbers)")
    }

    @Test(
        "a block that would lose stays BF16",
        arguments: [
            [1, 0.5, 0.25, 0.125, 0, 0], [-1.5, 0.5, 0, 0, 0.25, 0.1], [0.5, 0.5, -0.5, 0.5, 0.5, 0.5],
            [0, 0, 0, 0, 0, 0], [.infinity, 0.5, 0.25, 0.5, 0.5, 0.1], [0x1p-100, 0x1p-101, 0, 0, 0, 0], [0.5, 0.25],
            [0.5],
        ] as [[Float]])
    func fallbacks(block: [Float]) {
        let block = block.map { Float(BFloat16($0)) }
        let (found, bytes) = Self.roundTrip(block)
        #expect(Self.bits(found) == Self.bits(block))
        #expect(bytes == 4 + 2 * block.count)
    }

    @Test("a NaN stays one and its neighbours do not suffer")
    func notANumber() {
        let found = Self.roundTrip([.nan, 0.5, 0.25, 0.125, 0.3125, 0.0625]).row
        #expect(found[0].isNaN)
        #expect(Array(found[1...]) == [0.5, 0.25, 0.125, 0.3125, 0.0625])
    }

    @Test("a row takes 1.25 bytes a number and 4 bytes a block")
    func size() {
        var random = RandomNumbers(seed: 2)
        let row = (0..<7168).map { _ in Float(BFloat16(random.normal() * 0.01)) }
        #expect(Self.roundTrip(row).bytes == 7168 * 5 / 4 + 4 * 56)
    }
}
