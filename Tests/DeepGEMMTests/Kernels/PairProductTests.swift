// SPDX-License-Identifier: MIT

import DeepGEMM
import KernelDispatch
import Kernels
import LowPrecision
import TestSupport
import Testing

private let levels = InstructionSetLevel.available.filter { $0.pairKernels != nil }

@Suite("Products of bfloat16 pairs", .enabled(if: !levels.isEmpty, "this processor multiplies no bfloat16 pairs"))
struct PairProductTests {
    /// An operand's stored numbers and their scales, [row][k] and [row][block of 128].
    private struct Numbers {
        var values: [[Float]]
        var scales: [[Float]]

        init(_ test: TestOperand) {
            let operand = test.operand
            let base = operand.baseAddress
            values = (0..<operand.rowCount).map { row in
                (0..<operand.columnCount).map { k in
                    let index =
                        operand.order == .kMajor ? row * operand.stride + k : k * operand.stride + row
                    return operand.format == .bfloat16
                        ? Float(BFloat16(bitPattern: base.loadUnaligned(fromByteOffset: 2 * index, as: UInt16.self)))
                        : Float(Float8E4M3(bitPattern: base.load(fromByteOffset: index, as: UInt8.self)))
                }
            }
            scales = (0..<operand.rowCount).map { row in
                stride(from: 0, to: operand.columnCount, by: 128).map { k in
                    guard let scales = operand.scales else { return 1 }
                    let index =
                        row / scales.granularity.rows * scales.rowStride
                        + k / scales.granularity.columns * scales.blockStride
                    return scales.baseAddress.loadUnaligned(fromByteOffset: 4 * index, as: Float.self)
                }
            }
        }
    }

    /// The sum as `PairBlockArguments` defines it.
    private func sum(_ a: Numbers, _ m: Int, _ b: Numbers, _ n: Int) -> Float {
        let (x, y) = (a.values[m], b.values[n])
        func product(_ k: Int, _ sum: Float) -> Float { k < x.count ? sum.addingProduct(x[k], y[k]) : sum }
        var result: Float = 0
        for chunk in stride(from: 0, to: x.count, by: 1024) {
            var totals = [Float](repeating: 0, count: 4)
            for block in stride(from: chunk, to: min(chunk + 1024, x.count), by: 128) {
                let scale = a.scales[m][block / 128] * b.scales[n][block / 128]
                for part in 0..<4 {
                    var sum: Float = 0
                    for k in stride(from: block + 2 * part, to: min(block + 128, x.count), by: 8) {
                        sum = product(k, product(k + 1, sum))
                    }
                    totals[part] = totals[part].addingProduct(sum, scale)
                }
            }
            result += (totals[0] + totals[2]) + (totals[1] + totals[3])
        }
        return result
    }

    struct Case: Sendable, CustomTestStringConvertible {
        var format: MatrixOperand.Format
        var granularityA: ScaleGranularity?
        var granularityB: ScaleGranularity?
        var testDescription: String { "\(format.rawValue), scales of \(granularityA, default: "none")" }
    }

    static let cases = [
        Case(format: .bfloat16), Case(format: .float8E4M3),
        Case(format: .float8E4M3, granularityA: .perToken(128), granularityB: .perBlock()),
        Case(format: .float8E4M3, granularityA: .perToken(128), granularityB: .perToken(128)),
        Case(
            format: .float8E4M3, granularityA: .perToken(384), granularityB: ScaleGranularity(rows: 8, columns: 1 << 16)
        ),
    ]

    @Test("Every bit is what the definition says, for any extents and orders", arguments: levels, cases)
    func bits(level: InstructionSetLevel, form: Case) throws {
        let context = try ComputeContext(threadCount: 2, level: level)
        let extents = [
            (1, 1, 1), (1, 9, 16), (2, 8, 127), (3, 45, 129), (4, 17, 1024), (5, 12, 1039), (6, 4, 8), (7, 130, 40),
            (8, 21, 250), (9, 33, 1100), (13, 7, 2064), (23, 19, 136),
        ]
        for (index, (m, n, k)) in extents.enumerated() {
            for order in [MatrixOperand.Order.kMajor, .mnMajor] {
                let a = TestOperand(
                    form.format, rows: m, columns: k, order: order, gap: index % 3, granularity: form.granularityA,
                    seed: 1)
                let b = TestOperand(
                    form.format, rows: n, columns: k, order: order, gap: index % 2, granularity: form.granularityB,
                    seed: 2)
                let out = TestResult(.float32, rows: m, columns: n)
                try gemm(a.operand, b.operand, into: out.result, on: context)
                let (x, y) = (Numbers(a), Numbers(b))
                var wrong: (Int, Int)?
                for row in 0..<m {
                    for column in 0..<n
                    where out.value(group: 0, row: row, column: column).bitPattern != sum(x, row, y, column).bitPattern
                    {
                        wrong = wrong ?? (row, column)
                    }
                }
                #expect(wrong == nil, "\(m)×\(n)×\(k) \(order): first at \(wrong.map { "\($0)" } ?? "")")
            }
        }
    }

    @Test("Each E4M3 code becomes its own number; the codes of NaN ±480", arguments: levels)
    func codes(level: InstructionSetLevel) throws {
        let pairs = try #require(level.pairKernels)
        let codes = GuardedBuffer<UInt8>((0...255).map { UInt8($0) }, filler: 0)
        let out = GuardedBuffer<UInt16>(count: 256, repeating: 0xFFFF)
        var arguments = PairPackArguments(
            source: codes.start, stride: 256, rowCount: 1, count: 256, out: out.start, outStride: 512)
        pairs.packRowsFloat8E4M3(&arguments)
        for code in 0...255 {
            let found = Float(BFloat16(bitPattern: out.start[code]))
            let number = Float(Float8E4M3(bitPattern: UInt8(code)))
            #expect(
                found == (number.isNaN ? code < 128 ? 480 : -480 : number) && (found.sign == .minus) == (code > 127))
        }
    }

    @Test("Infinity, NaN and the largest bfloat16 numbers come through; denormal operands are zero", arguments: levels)
    func extremes(level: InstructionSetLevel) throws {
        let context = try ComputeContext(threadCount: 1, level: level)
        let k = 40
        let one = GuardedBuffer<UInt16>(count: 10 * k, repeating: 0x3F80)
        for special: UInt16 in [0x7F80, 0xFF80, 0x7FC0, 0x7F7F, 0x0001, 0x0080] {
            for rows in [1, 10] {
                let b = GuardedBuffer<UInt16>(count: 3 * k, repeating: 0)
                b.start[k + 17] = special
                let out = GuardedBuffer(poisoned: rows * 3)
                try gemm(
                    MatrixOperand(one.start, .bfloat16, rowCount: rows, columnCount: k),
                    MatrixOperand(b.start, .bfloat16, rowCount: 3, columnCount: k),
                    into: MatrixResult(out.start, stride: 3), on: context)
                let expected = special == 1 ? 0 : Float(BFloat16(bitPattern: special))
                for row in 0..<rows {
                    let found = out.start[row * 3 + 1]
                    #expect(expected.isNaN ? found.isNaN : found == expected, "\(special), row \(row) of \(rows)")
                    #expect(out.start[row * 3] == 0 && out.start[row * 3 + 2] == 0)
                }
            }
        }
    }
}
