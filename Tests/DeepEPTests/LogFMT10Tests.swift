// SPDX-License-Identifier: MIT

import DeepEP
import Glibc
import KernelDispatch
import Kernels
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

    @Test("every number below every largest magnitude gives the reference's bits")
    func everyPair() {
        // Largest magnitudes of each exponent and some mantissas, each beside all magnitudes up to it, at both signs.
        for largest in stride(from: UInt16(0x1280), to: 0x3F80, by: 37) {
            var next: UInt16 = largest > 0x1180 ? largest - 0x1180 : 0
            while next < largest {
                let block =
                    [Float(BFloat16(bitPattern: largest))]
                    + (0..<127).map { index in
                        let bits = min(next + UInt16(index), largest) | (index % 3 == 0 ? 0x8000 : 0)
                        return Float(BFloat16(bitPattern: bits))
                    }
                let found = Self.roundTrip(block).row
                let wanted = ReferenceLogFMT10.roundTrip(block)
                guard Self.bits(found) == Self.bits(wanted) else {
                    Issue.record("below \(block[0]) from \(BFloat16(bitPattern: next)) on")
                    return
                }
                next += 127
            }
        }
    }

    @Test("every instruction set encodes and sums to the same bits", arguments: 0..<40 as Range<UInt64>)
    func levels(seed: UInt64) {
        var random = RandomNumbers(seed: seed)
        let count = [128, 7168, 1, 81, 100, 300, 500][Int(seed) % 7]
        let partCount = random.number(below: 9)
        let rows = (0..<partCount).map { _ in
            GuardedBuffer(
                (0..<count).map { index -> UInt16 in
                    if random.number(below: 500) == 0 { return RowSumTests.number(&random) }
                    return BFloat16(random.normal() * exp2Whole(-random.number(below: 20) - 4)).bitPattern
                }, filler: 0)
        }
        let weights = random.normals(partCount)
        var encodings: [[[UInt8]]] = []
        var sums: [[UInt16]] = []
        for level in InstructionSetLevel.available {
            let scratch = GuardedBuffer<UInt64>(count: LogFMT.scratchBytes / 8, repeating: 0x5555)
            let encoded = rows.map { row in
                let out = GuardedBuffer<UInt8>(count: LogFMT10.maximumBytes(hidden: count), repeating: 0xAA)
                let bytes = level.logFMT.encode(row.start, out.start, count, scratch.start)
                #expect(out.isIntact && scratch.isIntact)
                return Array(out.values[..<bytes])
            }
            // Each row plain, each encoded, and both in turn.
            for way in 0..<3 {
                let parts = rows.indices.map { way == 0 || way == 2 && $0 % 2 == 0 }
                let out = GuardedBuffer<UInt16>(count: count, repeating: 0x5555)
                Self.sum(level.logFMT, rows.map { $0.start }, encoded, parts, weights, out.start, count, scratch.start)
                #expect(out.isIntact && scratch.isIntact)
                sums.append(out.values.map { $0 & 0x7F80 == 0x7F80 && $0 & 0x7F != 0 ? 0x7FC0 : $0 })
            }
            encodings.append(encoded)
        }
        #expect(encodings.allSatisfy { $0 == encodings[0] })
        #expect(sums.allSatisfy { $0 == sums[0] })
        var wanted = [Float](repeating: 0, count: count)
        for (row, weight) in zip(rows, weights) {
            let numbers = ReferenceLogFMT10.roundTrip(row.values.map { Float(BFloat16(bitPattern: $0)) })
            for index in wanted.indices { wanted[index] += numbers[index] * weight }
        }
        #expect(sums[0] == wanted.map { $0.isNaN ? 0x7FC0 : BFloat16($0).bitPattern })
    }

    private static func sum(
        _ kernels: LogFMTKernels, _ rows: [UnsafeMutablePointer<UInt16>], _ encoded: [[UInt8]], _ arePlain: [Bool],
        _ weights: [Float], _ out: UnsafeMutableRawPointer, _ count: Int, _ scratch: UnsafeMutableRawPointer
    ) {
        let copies = encoded.map { bytes in
            let copy = UnsafeMutablePointer<UInt8>.allocate(capacity: bytes.count)
            copy.initialize(from: bytes, count: bytes.count)
            return copy
        }
        defer { for copy in copies { copy.deallocate() } }
        let parts = rows.indices.map {
            arePlain[$0] ? UnsafeRawPointer(rows[$0]) : UnsafeRawPointer(copies[$0])
        }
        var cursors = parts + [UnsafeRawPointer(out)]
        (parts + [UnsafeRawPointer(out)]).withUnsafeBufferPointer { parts in
            cursors.withUnsafeMutableBufferPointer { cursors in
                (weights + [0]).withUnsafeBufferPointer { weights in
                    (arePlain + [false]).withUnsafeBufferPointer { arePlain in
                        var arguments = LogFMTSumArguments(
                            parts: parts.baseAddress!, arePlain: arePlain.baseAddress!, cursors: cursors.baseAddress!,
                            partCount: rows.count, weights: weights.baseAddress!, out: out, count: count,
                            floats: false, scratch: scratch)
                        kernels.sum(&arguments)
                    }
                }
            }
        }
    }

    @Test("the logarithm and the power are what they say")
    func polynomials() {
        for bits in UInt16(0x80)..<0x7F80 {
            let x = Float(BFloat16(bitPattern: bits))
            #expect(abs(Double(ReferenceLogFMT10.logarithm(x)) - log2(Double(x))) < 1.2e-5)
        }
        for step in 0..<100_000 {
            let x = -125 + Float(step) * 0.00126
            #expect(abs(Double(ReferenceLogFMT10.power(x)) / exp2(Double(x)) - 1) < 4e-6)
        }
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
