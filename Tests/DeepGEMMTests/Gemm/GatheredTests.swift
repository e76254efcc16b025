// SPDX-License-Identifier: MIT

import DeepGEMM
import KernelDispatch
import Platform
import TestSupport
import Testing

@Suite("Gathered rows")
struct GatheredTests {
    typealias Format = MatrixOperand.Format

    @Test(
        "Gathered rows are multiplied as rows that lie in that order, bit for bit, alone and grouped",
        arguments: InstructionSetLevel.available,
        [
            (Format.float32, Format.float32), (.bfloat16, .bfloat16), (.float8E4M3, .float8E4M3),
            (.float32, .float8E4M3), (.float8E4M3, .float4E2M1),
        ])
    func bits(level: InstructionSetLevel, formats: (Format, Format)) throws {
        let (stored, n, k) = (90, 40, 1300)
        let context = try ComputeContext(threadCount: 3, level: level)
        for order in MatrixOperand.Order.allCases {
            let a = TestOperand(
                formats.0, rows: stored, columns: k, order: order, gap: 2,
                granularity: usualGranularity(formats.0, isB: false), seed: 1)
            let b = TestOperand(
                formats.1, rows: n, columns: k, groups: 3, granularity: usualGranularity(formats.1, isB: true), seed: 2)
            let all = TestResult(.float32, rows: stored, columns: n, groups: 3)
            for group in 0..<3 {
                let ids = GuardedBuffer<Int32>(count: stored, repeating: Int32(group))
                var d = all.result
                d.baseAddress += group * all.groupStride * 4
                try gemm(a.operand, b.operand, groups: .ids(ids.start), into: d, on: context)
            }
            for count in [0, 1, 3, 70, 200] {
                var random = RandomNumbers(seed: 7)
                let rows = (0..<count).map { _ in Int(random.next() % UInt64(stored)) }
                let indices = GuardedBuffer<Int64>(rows.map { Int64($0) }, filler: 0)
                let ids = GuardedBuffer<Int32>((0..<count).map { Int32($0 * 3 / count) }, filler: 0)
                let found = TestResult(.float32, rows: count, columns: n)
                try gemm(
                    a.operand.gathering(indices.start, count: count), b.operand, groups: .ids(ids.start),
                    into: found.result, on: context)
                for row in 0..<count {
                    #expect(
                        found.rowBytes(row) == all.rowBytes(group: Int(ids.start[row]), rows[row]),
                        "\(order), row \(row) of \(count)")
                }
            }
        }
    }

    @Test("The reference gathers the same rows")
    func reference() throws {
        let a = TestOperand(.bfloat16, rows: 9, columns: 70, seed: 1)
        let b = TestOperand(.float32, rows: 5, columns: 70, seed: 2)
        let indices = GuardedBuffer<Int64>([8, 0, 0, 3], filler: 0)
        let rows = a.operand.gathering(indices.start, count: 4)
        let result = TestResult(.float32, rows: 4, columns: 5)
        try gemm(rows, b.operand, into: result.result, on: try ComputeContext(threadCount: 1))
        result.expect(referenceGemm(rows, b.operand), within: 1e-9, "gathered")
    }

    @Test("Misuse is named")
    func misuse() throws {
        let context = try ComputeContext(threadCount: 1)
        let a = TestOperand(.float32, rows: 4, columns: 8, seed: 1).operand
        let b = TestOperand(.float32, rows: 4, columns: 8, seed: 2).operand
        let d = TestResult(.float32, rows: 2, columns: 4)
        for (list, words) in [([0, 4], ["row 1", "row 4", "0…3"]), ([-1, 0], ["row 0", "-1"])] {
            let indices = GuardedBuffer<Int64>(list.map { Int64($0) }, filler: 0)
            expectFailure(.usage, naming: words) { () throws(FathomError) in
                try gemm(a.gathering(indices.start, count: 2), b, into: d.result, on: context)
            }
        }
        let indices = GuardedBuffer<Int64>([0, 1], filler: 0)
        expectFailure(.usage, naming: ["B", "gathered", "only"]) { () throws(FathomError) in
            try gemm(a, b.gathering(indices.start, count: 2), into: d.result, on: context)
        }
    }
}
