// SPDX-License-Identifier: MIT

import DeepGEMM
import KernelDispatch
import LowPrecision
import TestSupport
import Testing

@Suite("Epilogues")
struct EpilogueTests {
    static let shapes = [(3, 48, 130), (40, 280, 130), (1, 2, 9), (35, 512, 20), (2, 4200, 30)]

    @Test("Alpha, bias, C, gate and heads in all combinations agree with the reference", arguments: shapes)
    func combinations(m: Int, n: Int, k: Int) throws {
        let a = TestOperand(.bfloat16, rows: m, columns: k, seed: 1)
        let b = TestOperand(.float8E4M3, rows: n, columns: k, granularity: .perBlock(128), seed: 2)
        var random = RandomNumbers(seed: 3)
        let bias = GuardedBuffer(random.normals(n))
        for pattern in 0..<32 {
            var epilogue = Epilogue()
            if pattern & 1 != 0 { epilogue.alpha = -0.75 }
            if pattern & 2 != 0 { epilogue.bias = UnsafePointer(bias.start) }
            let hasC = pattern & 4 != 0
            if pattern & 8 != 0 {
                if hasC { continue }
                epilogue.gate = true
            }
            if pattern & 16 != 0 {
                let width = epilogue.gate ? n / 2 : n
                let head = width % 20 == 0 ? 20 : width
                epilogue.heads = HeadSplit(left: head / 4, mid: 3, right: head - head / 4)
            }
            let columns = epilogue.resultColumns(outputs: n)
            for level in InstructionSetLevel.available {
                let context = try ComputeContext(threadCount: 2, level: level)
                for format in [MatrixResult.Format.float32, .bfloat16] {
                    let d = TestResult(format, rows: m, columns: columns)
                    let other = TestResult(.float32, rows: m, columns: columns)
                    // C is D itself, or another matrix of another format.
                    let c = hasC ? (format == .bfloat16 ? other : d).fill(seed: 5) : nil
                    let expected = referenceGemm(a.operand, b.operand, adding: c, epilogue: epilogue)
                    try gemm(a.operand, b.operand, adding: c, into: d.result, epilogue: epilogue, on: context)
                    d.expect(
                        expected, within: format == .float32 ? 1e-11 : 1e-5,
                        isPoisoned: !(hasC && format == .float32), "\(pattern) \(level) \(format)")
                }
            }
        }
    }

    @Test("FP8 results are the float32 ones, quantised per 128 columns", arguments: InstructionSetLevel.available)
    func quantized(level: InstructionSetLevel) throws {
        let context = try ComputeContext(threadCount: 2, level: level)
        for (m, n, k) in [(3, 300, 64), (70, 300, 64), (5, 130, 1), (2, 4096, 16)] {
            for gate in [false, true] {
                let a = TestOperand(.float32, rows: m, columns: k, seed: 1)
                let b = TestOperand(.bfloat16, rows: n, columns: k, seed: 2)
                let epilogue = Epilogue(gate: gate)
                let columns = epilogue.resultColumns(outputs: n)
                let plain = TestResult(.float32, rows: m, columns: columns)
                try gemm(a.operand, b.operand, into: plain.result, epilogue: epilogue, on: context)
                let values = (0..<m).flatMap { row in (0..<columns).map { plain.value(group: 0, row: row, column: $0) }
                }
                for encoding in [ResultScales.Encoding.float32, .float32PowerOfTwo, .ue8m0] {
                    let expected = referenceQuantize(
                        values, rowCount: m, columnCount: columns, format: .float8E4M3, granularity: .perToken(128),
                        powerOfTwoScales: encoding != .float32)
                    let d = TestResult(.float8E4M3, rows: m, columns: columns, scaleEncoding: encoding)
                    try gemm(a.operand, b.operand, into: d.result, epilogue: epilogue, on: context)
                    #expect((0..<m).flatMap { d.rowBytes($0) } == expected.codes)
                    let scales = d.scaleMemory.values
                    let wanted =
                        encoding == .ue8m0
                        ? expected.scales.map { UE8M0(clampingUp: $0).bitPattern }
                        : expected.scales.flatMap { scale in
                            (0..<4).map { UInt8(truncatingIfNeeded: scale.bitPattern >> (8 * $0)) }
                        }
                    #expect(scales == wanted)
                    d.expect(
                        referenceGemm(a.operand, b.operand, epilogue: epilogue), within: 2e-3, "\(encoding) \(gate)")
                }
            }
        }
    }

    @Test("A cleared row of an FP8 result decodes to zeros")
    func padding() throws {
        let context = try ComputeContext(threadCount: 1)
        let a = TestOperand(.float32, rows: 4, columns: 8, seed: 1)
        let b = TestOperand(.float32, rows: 130, columns: 8, groups: 2, seed: 2)
        let ids: [Int32] = [1, -1, 0, -1]
        for encoding in [ResultScales.Encoding.float32, .float32PowerOfTwo, .ue8m0] {
            let d = TestResult(.float8E4M3, rows: 4, columns: 130, scaleEncoding: encoding)
            try ids.withUnsafeBufferPointer {
                try gemm(
                    a.operand, b.operand, groups: .ids($0.baseAddress!, zeroesPadding: true), into: d.result,
                    on: context)
            }
            for row in [1, 3] {
                #expect((0..<130).allSatisfy { d.value(group: 0, row: row, column: $0) == 0 })
            }
            #expect((0..<130).contains { d.value(group: 0, row: 2, column: $0) != 0 })
        }
    }
}
