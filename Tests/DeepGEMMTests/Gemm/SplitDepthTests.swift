// SPDX-License-Identifier: MIT

import DeepGEMM
import KernelDispatch
import TestSupport
import Testing

@Suite("Products whose threads divide K")
struct SplitDepthTests {
    @Test("K is divided where threads would find no columns, and only there")
    func choice() throws {
        func parts(m: Int, n: Int, k: Int, threads: Int) throws -> Int {
            try GemmPlan(m: m, n: n, k: k, formatB: .bfloat16, threads: threads).blocking.depthTasks
        }
        #expect(try parts(m: 1, n: 32, k: 7168, threads: 2) > 1)
        #expect(try parts(m: 4, n: 576, k: 7168, threads: 64) > 1)
        #expect(try parts(m: 1, n: 4096, k: 7168, threads: 2) == 1)
        #expect(try parts(m: 1, n: 32, k: 7168, threads: 1) == 1)
        // One chunk cannot be divided, and a little work is not worth it.
        #expect(try parts(m: 1, n: 8, k: 1024, threads: 8) == 1)
        #expect(try parts(m: 1, n: 2, k: 4096, threads: 8) == 1)
        let plan = try GemmPlan(m: 1, n: 32, k: 7168, formatB: .bfloat16, threads: 8)
        #expect(plan.description.contains("K is divided into \(plan.blocking.depthTasks) parts"))
        #expect(plan.tasks == plan.blocking.columnTasks * plan.blocking.depthTasks)
    }

    @Test(
        "The bits are those of one thread, in every format, with segments and every epilogue",
        arguments: InstructionSetLevel.available,
        [
            (MatrixOperand.Format.float32, MatrixOperand.Format.float32), (.bfloat16, .bfloat16),
            (.float32, .float8E4M3), (.float8E4M3, .float8E4M3), (.float8E4M3, .float4E2M1), (.float32, .float4E2M1),
        ])
    func bits(level: InstructionSetLevel, formats: (MatrixOperand.Format, MatrixOperand.Format)) throws {
        let (n, k) = (50, 5003)
        let one = try ComputeContext(threadCount: 1, level: level)
        let many = try ComputeContext(threadCount: 13, level: level)
        var random = RandomNumbers(seed: 5)
        let bias = GuardedBuffer(random.normals(n))
        for m in [1, 4, 9] {
            let a = TestOperand(
                formats.0, rows: m, columns: k, gap: 1, groups: 2, granularity: usualGranularity(formats.0, isB: false),
                seed: 1)
            let b = TestOperand(
                formats.1, rows: n, columns: k, gap: 1, groups: 2, granularity: usualGranularity(formats.1, isB: true),
                seed: 2)
            for epilogue in [
                Epilogue(), Epilogue(alpha: 0.5, bias: UnsafePointer(bias.start)), Epilogue(gate: true),
            ] {
                let columns = epilogue.gate ? n / 2 : n
                let (expected, found) = (
                    TestResult(.float32, rows: m, columns: columns), TestResult(.float32, rows: m, columns: columns)
                )
                let (c, other) = (expected.fill(seed: 3), found.fill(seed: 3))
                try gemm(
                    a.operand, b.operand, groups: .summed, adding: epilogue.gate ? nil : c, into: expected.result,
                    epilogue: epilogue, on: one)
                try gemm(
                    a.operand, b.operand, groups: .summed, adding: epilogue.gate ? nil : other, into: found.result,
                    epilogue: epilogue, on: many)
                #expect(found.bytes == expected.bytes, "\(m) rows")
            }
        }
    }

    @Test("Blocks of scales that cross chunks are not divided", arguments: InstructionSetLevel.available)
    func crossingScales(level: InstructionSetLevel) throws {
        let granularity = ScaleGranularity(rows: 8, columns: 1536)
        let a = TestOperand(.float32, rows: 2, columns: 4000, seed: 1)
        let b = TestOperand(.float8E4M3, rows: 16, columns: 4000, granularity: granularity, seed: 2)
        let plan = try GemmPlan(
            m: 2, n: 16, k: 4000, formatB: .float8E4M3, scalesB: granularity, threads: 9, multipliesPairs: false)
        #expect(plan.blocking.depthTasks == 1)
        let (expected, found) = (TestResult(.float32, rows: 2, columns: 16), TestResult(.float32, rows: 2, columns: 16))
        try gemm(a.operand, b.operand, into: expected.result, on: try ComputeContext(threadCount: 1, level: level))
        try gemm(a.operand, b.operand, into: found.result, on: try ComputeContext(threadCount: 9, level: level))
        #expect(found.bytes == expected.bytes)
    }

    @Test("A result that goes past the caches is whole", arguments: InstructionSetLevel.available)
    func streamed(level: InstructionSetLevel) throws {
        let (m, n, k) = (2100, 2051, 9)
        let context = try ComputeContext(threadCount: 2, level: level)
        let a = TestOperand(.float32, rows: m, columns: k, seed: 1)
        let b = TestOperand(.bfloat16, rows: n, columns: k, seed: 2)
        // A stride of a multiple of sixteen bytes, and one that is not.
        for gap in [1, 2] {
            let all = TestResult(.float32, rows: m, columns: n, gap: gap)
            try gemm(a.operand, b.operand, into: all.result, on: context)
            for first in [0, 1000, m - 40] {
                var part = a.operand
                part.baseAddress += first * part.stride * 4
                part.rowCount = 40
                let rows = TestResult(.float32, rows: 40, columns: n, gap: gap)
                try gemm(part, b.operand, into: rows.result, on: context)
                for row in 0..<40 { #expect(all.rowBytes(first + row) == rows.rowBytes(row)) }
            }
        }
    }
}
