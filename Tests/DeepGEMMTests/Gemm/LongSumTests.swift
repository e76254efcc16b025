// SPDX-License-Identifier: MIT

import DeepGEMM
import KernelDispatch
import TestSupport
import Testing

@Suite("Long sums")
struct LongSumTests {
    typealias Format = MatrixOperand.Format

    /// Rows, K, A, B, and the granularity of B's scales.
    static let cases: [(m: Int, k: Int, a: Format, b: Format, scales: ScaleGranularity?)] = [
        (1, 300_000, .bfloat16, .float8E4M3, .perBlock()),
        (32, 20_000, .float8E4M3, .float8E4M3, .perBlock()),
        // The pieces of K must end where blocks end: 24 does so every three chunks, 7000 never.
        (32, 20_000, .bfloat16, .float8E4M3, ScaleGranularity(rows: 16, columns: 24)),
        (32, 20_000, .bfloat16, .float8E4M3, ScaleGranularity(rows: 64, columns: 7000)),
        (3, 100_000, .float32, .float8E4M3, ScaleGranularity(rows: 8, columns: 8)),
        (2, 140_000, .float16, .bfloat16, nil),
        (33, 9_000, .float32, .float4E2M1, .perToken(32)),
    ]

    @Test("K of any length is summed, by few rows as by many", arguments: cases.indices)
    func lengths(index: Int) throws {
        let (m, k, formatA, formatB, scales) = Self.cases[index]
        let n = 9
        let a = TestOperand(formatA, rows: m, columns: k, granularity: usualGranularity(formatA, isB: false), seed: 1)
        let b = TestOperand(formatB, rows: n, columns: k, granularity: scales, seed: 2)
        // The last row alone says as much as all of them, and the reference is slow.
        var last = a.operand
        last.baseAddress += (m - 1) * last.stride * formatA.bitCount / 8
        last.rowCount = 1
        if let scales = last.scales { last.scales?.baseAddress += (m - 1) * scales.rowStride * 4 }
        let expected = referenceGemm(last, b.operand)
        for level in InstructionSetLevel.available {
            let context = try ComputeContext(threadCount: 2, level: level)
            let all = TestResult(.float32, rows: m, columns: n)
            try gemm(a.operand, b.operand, into: all.result, on: context)
            let one = TestResult(.float32, rows: 1, columns: n)
            try gemm(last, b.operand, into: one.result, on: context)
            one.expect(expected, within: 1e-11, "\(level)")
            #expect(one.rowBytes(0) == all.rowBytes(m - 1), "\(level)")
            // More rows than the direct path takes give the same bits.
            var many = a.operand
            many.rowCount = 40
            if m == 1 {
                let memory = GuardedBuffer<UInt8>(count: 40 * k * 2, repeating: 0)
                for row in 0..<40 {
                    (memory.start + row * k * 2).update(
                        from: last.baseAddress.assumingMemoryBound(to: UInt8.self), count: k * 2)
                }
                many.baseAddress = UnsafeRawPointer(memory.start)
                many.stride = k
                let panels = TestResult(.float32, rows: 40, columns: n)
                try gemm(many, b.operand, into: panels.result, on: context)
                #expect(panels.rowBytes(39) == one.rowBytes(0))
                withExtendedLifetime(memory) {}
            }
        }
    }
}
