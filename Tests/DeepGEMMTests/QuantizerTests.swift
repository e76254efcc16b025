// SPDX-License-Identifier: MIT

import DeepGEMM
import KernelDispatch
import Kernels
import LowPrecision
import Platform
import Tensors
import TestSupport
import Testing

/// One way to quantise one matrix.
struct QuantizerCase: Sendable, CustomTestStringConvertible {
    var rows: Int
    var columns: Int
    var granularity: ScaleGranularity
    var format = QuantizedMatrix.Format.float8E4M3
    var testDescription: String { "\(rows)×\(columns) by \(granularity), \(format)" }

    static let all: [QuantizerCase] = {
        let extents = [(1, 1), (3, 128), (5, 300), (130, 257), (2, 1027), (7, 33), (129, 129)]
        let grains: [ScaleGranularity] = [
            .perToken(), .perToken(32), .perToken(5), .perChannel(), .perChannel(3), .perBlock(), .perBlock(7),
            ScaleGranularity(rows: 2, columns: 24), ScaleGranularity(rows: 64, columns: 3),
            ScaleGranularity(rows: 1000, columns: 1000),
        ]
        let fours: [ScaleGranularity] = [
            .perToken(32), .perToken(16), .perToken(2), .perBlock(32), .perToken(5001),
            ScaleGranularity(rows: 3, columns: 10),
        ]
        return extents.flatMap { extent in
            grains.map { QuantizerCase(rows: extent.0, columns: extent.1, granularity: $0) }
                + fours.map {
                    QuantizerCase(rows: extent.0, columns: extent.1, granularity: $0, format: .float4E2M1)
                }
        }
    }()
}

/// Normal numbers over many magnitudes, with zeros and blocks of nothing but zeros.
func quantizerValues(_ count: Int, seed: UInt64, specials: Bool = false) -> [Float] {
    var random = RandomNumbers(seed: seed)
    return (0..<count).map { index in
        if specials, random.number(below: 23) == 0 {
            return [Float.nan, .infinity, -.infinity, -.nan, 0x1p-140, -3e38][random.number(below: 6)]
        }
        if random.number(below: 9) == 0 || index / 64 % 11 == 3 { return random.number(below: 2) == 0 ? 0 : -0.0 }
        return random.normal() * Float(sign: .plus, exponent: random.number(below: 12) - 6, significand: 1)
    }
}

/// The element codes of a matrix, FP4 unpacked.
func elementCodes(_ matrix: QuantizedMatrix) -> [UInt8] {
    (0..<matrix.rowCount).flatMap { row in
        (0..<matrix.columnCount).map { column in
            let base = row * matrix.rowByteCount
            switch matrix.format {
            case .float8E4M3: return matrix.codes.baseAddress[base + column]
            case .float4E2M1: return matrix.codes.baseAddress[base + column / 2] >> UInt8(column % 2 * 4) & 15
            }
        }
    }
}

@Suite("Quantisers")
struct QuantizerTests {
    private func quantize(
        _ input: FloatRows, _ test: QuantizerCase, powerOfTwo: Bool, on context: ComputeContext
    ) throws -> QuantizedMatrix {
        switch test.format {
        case .float8E4M3:
            try quantizeFloat8(
                input, granularity: test.granularity, powerOfTwoScales: powerOfTwo, on: context)
        case .float4E2M1:
            try quantizeFloat4(
                input, granularity: test.granularity, powerOfTwoScales: powerOfTwo, on: context)
        }
    }

    @Test("Codes and scales are the reference's, bit for bit", arguments: QuantizerCase.all)
    func reference(_ test: QuantizerCase) throws {
        for (specials, powerOfTwo) in [(false, false), (false, true), (true, false), (true, true)] {
            let values = quantizerValues(
                test.rows * test.columns, seed: UInt64(test.columns), specials: specials)
            let expected = referenceQuantize(
                values, rowCount: test.rows, columnCount: test.columns, format: test.format,
                granularity: test.granularity, powerOfTwoScales: powerOfTwo)
            for level in InstructionSetLevel.available {
                let context = try ComputeContext(threadCount: 3, level: level)
                // Rows are further apart than they are wide, and the last ends at a page that cannot be read.
                let stride = test.columns + 3
                let memory = GuardedBuffer<Float>(poisoned: test.rows * stride - 3)
                for (index, value) in values.enumerated() {
                    memory.start[index / test.columns * stride + index % test.columns] = value
                }
                let input = try FloatRows(
                    memory.start, element: .float32, rowCount: test.rows, columnCount: test.columns,
                    rowStride: stride)
                let found = try quantize(input, test, powerOfTwo: powerOfTwo, on: context)
                #expect(elementCodes(found) == expected.codes)
                #expect(
                    found.scales.array.map(bits) == expected.scales.map(bits),
                    "\(level), specials \(specials), power of two \(powerOfTwo)")
            }
        }
    }

    /// Bits, with one NaN for all: which payload arithmetic leaves is not defined.
    private func bits(_ value: Float) -> UInt32 { value.isNaN ? 0x7FC0_0000 : value.bitPattern }

    @Test(
        "bfloat16 input gives what the same numbers in float32 give",
        arguments: QuantizerCase.all.filter { $0.rows == 5 })
    func bfloat16(_ test: QuantizerCase) throws {
        let codes = quantizerValues(test.rows * test.columns, seed: 3, specials: true).map { BFloat16($0) }
        let memory = GuardedBuffer<UInt16>(codes.map(\.bitPattern), filler: 0)
        let expected = referenceQuantize(
            codes.map { Float($0) }, rowCount: test.rows, columnCount: test.columns, format: test.format,
            granularity: test.granularity, powerOfTwoScales: true)
        for level in InstructionSetLevel.available {
            let context = try ComputeContext(threadCount: 2, level: level)
            let input = try FloatRows(
                memory.start, element: .bfloat16, rowCount: test.rows, columnCount: test.columns)
            let found = try quantize(input, test, powerOfTwo: true, on: context)
            #expect(elementCodes(found) == expected.codes)
            #expect(found.scales.array.map(bits) == expected.scales.map(bits))
        }
    }

    @Test("Quantised numbers are close to the originals", arguments: [false, true])
    func precision(powerOfTwo: Bool) throws {
        var random = RandomNumbers(seed: 4)
        let (rows, columns) = (64, 1024)
        let values = random.normals(rows * columns)
        let buffer = try AlignedBuffer<Float>(count: values.count, purpose: "test")
        for (index, value) in values.enumerated() { buffer.baseAddress[index] = value }
        let input = try FloatRows(buffer, rowCount: rows, columnCount: columns)
        let context = try ComputeContext(threadCount: 2)
        for granularity in [ScaleGranularity.perToken(), .perChannel(64), .perBlock()] {
            let found = try quantizeFloat8(
                input, granularity: granularity, powerOfTwoScales: powerOfTwo, on: context)
            #expect(calcDiff(found.dequantized(), values) < 1e-3)
        }
        let four = try quantizeFloat4(input, powerOfTwoScales: powerOfTwo, on: context)
        #expect(calcDiff(four.dequantized(), values) < 2e-2)
        for (code, value) in zip(four.dequantized(), values) { #expect(code * value >= 0) }
    }

    @Test("The number of threads changes nothing, and an empty matrix is quantised to nothing")
    func threads() throws {
        let values = quantizerValues(300 * 500, seed: 8)
        let memory = GuardedBuffer<Float>(values)
        let input = try FloatRows(memory.start, element: .float32, rowCount: 300, columnCount: 500)
        var seen: Set<[UInt8]> = []
        for threads in 1...4 {
            let context = try ComputeContext(threadCount: threads)
            seen.insert(elementCodes(try quantizeFloat8(input, granularity: .perBlock(), on: context)))
        }
        #expect(seen.count == 1)
        let context = try ComputeContext(threadCount: 1)
        for (rows, columns) in [(0, 5), (5, 0), (0, 0)] {
            let empty = try FloatRows(
                memory.start, element: .float32, rowCount: rows, columnCount: columns)
            #expect(try quantizeFloat8(empty, on: context).dequantized().isEmpty)
        }
    }

    @Test("Decoding FP4 gives the codes' values at every length and level, and writes no more")
    func decoding() {
        for level in InstructionSetLevel.available {
            for count in 0...37 {
                let bytes = (0..<(count + 1) / 2).map { UInt8(truncatingIfNeeded: $0 &* 73 &+ count) }
                let source = GuardedBuffer<UInt8>(bytes, filler: 0)
                let out = GuardedBuffer<Float>(poisoned: count)
                level.kernels.decodeFloat4(source.start, out.start, count, 0.75)
                let expected = (0..<count).map { index -> UInt32 in
                    let pair = Float4E2M1.unpack(bytes[index / 2])
                    return (Float(index % 2 == 0 ? pair.even : pair.odd) * 0.75).bitPattern
                }
                #expect(out.bitPatterns == expected && out.isIntact)
            }
        }
    }

    @Test(
        "With scale 1, every exponent and every tie is rounded as the scalar formats do",
        arguments: QuantizedMatrix.Format.allCases)
    func sweep(format: QuantizedMatrix.Format) throws {
        // The first number makes the scale exactly 1.
        var values: [Float] = [format.largest]
        for upper in UInt32(0)..<65536 {
            for low: UInt32 in [0, 1, 0x7FFF, 0x8000, 0x8001, 0xFFFF] {
                let x = Float(bitPattern: upper << 16 | low)
                if abs(x) <= format.largest || (x.isNaN && format == .float8E4M3) { values.append(x) }
            }
        }
        let memory = GuardedBuffer<Float>(values)
        let input = try FloatRows(memory.start, element: .float32, rowCount: 1, columnCount: values.count)
        let row = ScaleGranularity.perToken(values.count)
        for level in InstructionSetLevel.available {
            let context = try ComputeContext(threadCount: 1, level: level)
            let found =
                format == .float8E4M3
                ? try quantizeFloat8(input, granularity: row, on: context)
                : try quantizeFloat4(input, granularity: row, on: context)
            #expect(found.scales.array == [1])
            for (x, code) in zip(values, elementCodes(found)) {
                let wanted =
                    format == .float8E4M3 ? Float8E4M3(x).bitPattern : Float4E2M1(x).bitPattern
                if code != wanted { Issue.record("\(level): \(x) became \(code), not \(wanted)") }
            }
        }
    }

    @Test("The kernels write a strip's codes and scales and nothing else", arguments: QuantizerCase.all)
    func canaries(_ test: QuantizerCase) throws {
        let rows = min(test.rows, test.granularity.rows)
        let values = quantizerValues(rows * test.columns, seed: 5)
        let expected = referenceQuantize(
            values, rowCount: rows, columnCount: test.columns, format: test.format,
            granularity: test.granularity, powerOfTwoScales: false)
        let rowBytes = test.format == .float8E4M3 ? test.columns : (test.columns + 1) / 2
        let stride = rowBytes + 3
        for level in InstructionSetLevel.available {
            let source = GuardedBuffer<Float>(values)
            let codes = GuardedBuffer<UInt8>(count: rows * stride - 3, repeating: 0xEE)
            let scales = GuardedBuffer<Float>(poisoned: expected.scales.count)
            var arguments = QuantizeArguments(
                source: source.start, sourceStride: test.columns * 4, rowCount: rows, columnCount: test.columns,
                blockColumns: min(test.granularity.columns, test.columns), powerOfTwoScales: false,
                codes: codes.start, codeStride: stride, scales: scales.start)
            switch test.format {
            case .float8E4M3: level.kernels.quantizeE4M3Float32(&arguments)
            case .float4E2M1: level.kernels.quantizeFloat4Float32(&arguments)
            }
            #expect(codes.isIntact && scales.isIntact && scales.values == expected.scales)
            for (index, byte) in codes.values.enumerated() {
                let (row, place) = (index / stride, index % stride)
                let first = row * test.columns + place * (test.format == .float8E4M3 ? 1 : 2)
                let wanted: UInt8
                if place >= rowBytes {
                    wanted = 0xEE
                } else if test.format == .float8E4M3 {
                    wanted = expected.codes[first]
                } else {
                    let odd = place * 2 + 1 < test.columns ? expected.codes[first + 1] : 0
                    wanted = expected.codes[first] | odd << 4
                }
                if byte != wanted { Issue.record("row \(row), byte \(place): \(byte), not \(wanted)") }
            }
        }
    }

    @Test("Misuse is refused, naming what is legal")
    func misuse() throws {
        let buffer = try AlignedBuffer<Float>(count: 100, purpose: "test")
        let context = try ComputeContext(threadCount: 1)
        expectFailure(.usage, naming: ["-1"]) { () throws(FathomError) in
            _ = try FloatRows(buffer, rowCount: -1, columnCount: 4)
        }
        expectFailure(.usage, naming: ["9 apart", "10"]) { () throws(FathomError) in
            _ = try FloatRows(buffer, rowCount: 2, columnCount: 10, rowStride: 9)
        }
        expectFailure(.usage, naming: ["100 numbers", "11 rows"]) { () throws(FathomError) in
            _ = try FloatRows(buffer, rowCount: 11, columnCount: 10)
        }
        expectFailure(.usage, naming: ["rows of 10", "is legal"]) { () throws(FathomError) in
            _ = try FloatRows(buffer, rowCount: 3, columnCount: 10, rowStride: .max)
        }
        let input = try FloatRows(buffer, rowCount: 10, columnCount: 10)
        expectFailure(.usage, naming: ["0×8", "at least 1"]) { () throws(FathomError) in
            _ = try quantizeFloat8(
                input, granularity: ScaleGranularity(rows: 0, columns: 8), on: context)
        }
        expectFailure(.usage, naming: ["1×5", "even", "10"]) { () throws(FathomError) in
            _ = try quantizeFloat4(input, granularity: .perToken(5), on: context)
        }
        let tensor = TensorView(
            name: "w", scalarType: .int8, shape: [10, 10], baseAddress: UnsafeRawPointer(buffer.baseAddress),
            sourcePath: "", owner: buffer)
        expectFailure(.usage, naming: ["'w'", "I8", "BF16"]) { () throws(FathomError) in
            _ = try FloatRows(tensor)
        }
    }
}
