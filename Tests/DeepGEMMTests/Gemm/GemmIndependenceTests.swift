// SPDX-License-Identifier: MIT

import DeepGEMM
import KernelDispatch
import LowPrecision
import TestSupport
import Testing

@Suite("Independence of a product's rows")
struct GemmIndependenceTests {
    typealias Format = MatrixOperand.Format

    static let pairs: [(Format, Format)] = [
        (.float32, .float32), (.float32, .float8E4M3), (.bfloat16, .bfloat16), (.float8E4M3, .float8E4M3),
        (.float8E4M3, .float4E2M1), (.float4E2M1, .float4E2M1), (.float16, .float8E4M3),
    ]

    /// Rows first ..< first + count of a K-major operand.
    private func slice(_ operand: MatrixOperand, _ first: Int, _ count: Int) -> MatrixOperand {
        var part = operand
        part.baseAddress += first * operand.stride * operand.format.bitCount / 8
        part.rowCount = count
        if let scales = operand.scales {
            part.scales?.baseAddress +=
                first / scales.granularity.rows * scales.rowStride * (scales.encoding == .ue8m0 ? 1 : 4)
        }
        return part
    }

    @Test(
        "A row's bits are the same alone, in any batch, in groups, with any number of threads and stored either way",
        arguments: InstructionSetLevel.available, pairs)
    func rows(level: InstructionSetLevel, formats: (Format, Format)) throws {
        let (m, n, k) = (600, 45, 1100)
        let a = TestOperand(
            formats.0, rows: m, columns: k, granularity: usualGranularity(formats.0, isB: false), seed: 1)
        let b = TestOperand(
            formats.1, rows: n, columns: k, granularity: usualGranularity(formats.1, isB: true), seed: 2)
        let bTransposed = TestOperand(
            formats.1, rows: n, columns: k, order: .mnMajor, gap: 2,
            granularity: usualGranularity(formats.1, isB: true),
            style: .mnMajor, seed: 2)
        var random = RandomNumbers(seed: 3)
        let bias = GuardedBuffer(random.normals(n))
        for epilogue in [Epilogue(), Epilogue(alpha: 0.3, bias: UnsafePointer(bias.start))] {
            let all = TestResult(.float32, rows: m, columns: n)
            try gemm(
                a.operand, b.operand, into: all.result, epilogue: epilogue,
                on: try ComputeContext(threadCount: 1, level: level))
            func expectSame(_ found: TestResult, _ foundRow: Int, _ row: Int, group: Int = 0, _ what: String) {
                #expect(found.rowBytes(group: group, foundRow) == all.rowBytes(row), "\(what): row \(row)")
            }
            for threads in [1, 2, 5] {
                let context = try ComputeContext(threadCount: threads, level: level)
                for (first, count) in [(0, 1), (599, 1), (17, 2), (100, 32), (200, 33), (10, 130), (0, 600)] {
                    for right in [b.operand, bTransposed.operand] {
                        let part = TestResult(.float32, rows: count, columns: n)
                        try gemm(
                            slice(a.operand, first, count), right, into: part.result, epilogue: epilogue, on: context)
                        for row in [0, count / 2, count - 1] {
                            expectSame(part, row, first + row, "\(threads) threads, \(count) rows, \(right.order)")
                        }
                    }
                }
                // The same rows as groups of every size, all of the same matrix.
                var one = b.operand
                one.groupCount = 3
                one.groupStride = 0
                one.scales?.groupStride = 0
                let ids = (0..<m).map { Int32($0 % 97 < 40 ? 0 : $0 % 97 < 41 ? 1 : $0 % 97 < 90 ? 2 : 0) }
                let grouped = TestResult(.float32, rows: m, columns: n)
                try ids.withUnsafeBufferPointer {
                    try gemm(
                        a.operand, one, groups: .ids($0.baseAddress!), into: grouped.result, epilogue: epilogue,
                        on: context)
                }
                #expect(grouped.bytes == all.bytes, "\(threads) threads, grouped")
            }
        }
    }

    @Test(
        "bfloat16 and accumulated results are the float32 bits, rounded and continued",
        arguments: InstructionSetLevel.available)
    func outputs(level: InstructionSetLevel) throws {
        let context = try ComputeContext(threadCount: 2, level: level)
        for m in [2, 60] {
            let a = TestOperand(.float32, rows: m, columns: 1500, seed: 1)
            let b = TestOperand(.float8E4M3, rows: 50, columns: 1500, granularity: .perBlock(), seed: 2)
            let exact = TestResult(.float32, rows: m, columns: 50)
            try gemm(a.operand, b.operand, into: exact.result, on: context)
            let rounded = TestResult(.bfloat16, rows: m, columns: 50)
            try gemm(a.operand, b.operand, into: rounded.result, on: context)
            // Accumulation in place, and from another matrix.
            let inPlace = TestResult(.float32, rows: m, columns: 50)
            let c = inPlace.fill(seed: 9)
            let copy = TestResult(.float32, rows: m, columns: 50)
            let other = copy.fill(seed: 9)
            let apart = TestResult(.float32, rows: m, columns: 50)
            try gemm(a.operand, b.operand, adding: other, into: apart.result, on: context)
            try gemm(a.operand, b.operand, adding: c, into: inPlace.result, on: context)
            for row in 0..<m {
                #expect(inPlace.rowBytes(row) == apart.rowBytes(row))
                for column in 0..<50 {
                    #expect(
                        rounded.value(group: 0, row: row, column: column)
                            == Float(BFloat16(exact.value(group: 0, row: row, column: column))))
                }
            }
        }
    }

    @Test(
        "Rows that do not fit the workers' shared memory at once are those of small products",
        arguments: InstructionSetLevel.available)
    func manyRows(level: InstructionSetLevel) throws {
        let (m, n, k) = (ComputeContext.sharedCount / 2080 + 300, 9, 1030)
        let context = try ComputeContext(threadCount: 2, level: level)
        let a = TestOperand(.float32, rows: m, columns: k, seed: 1)
        let b = TestOperand(.bfloat16, rows: n, columns: k, seed: 2)
        let all = TestResult(.float32, rows: m, columns: n)
        let start = all.fill(seed: 3)
        let plain = TestResult(.float32, rows: m, columns: n)
        _ = plain.fill(seed: 3)
        let coded = TestResult(.float8E4M3, rows: m, columns: n)
        try gemm(a.operand, b.operand, adding: start, into: all.result, on: context)
        try gemm(a.operand, b.operand, into: coded.result, on: context)
        for row in [0, m / 2 - 1, m / 2 + 200, m - 1] {
            let one = TestResult(.float32, rows: 1, columns: n)
            try gemm(slice(a.operand, row, 1), b.operand, into: one.result, on: context)
            for column in 0..<n {
                let sum = one.value(group: 0, row: 0, column: column)
                let before = plain.value(group: 0, row: row, column: column)
                let found = all.value(group: 0, row: row, column: column)
                #expect(abs(found - (before + sum)) <= 1e-4 * max(1, abs(sum)), "row \(row), column \(column)")
            }
            let oneCoded = TestResult(.float8E4M3, rows: 1, columns: n)
            try gemm(slice(a.operand, row, 1), b.operand, into: oneCoded.result, on: context)
            #expect(coded.rowBytes(row) == oneCoded.rowBytes(0), "row \(row)")
            #expect(
                Array(coded.scaleMemory.values[4 * row..<4 * row + 4]) == oneCoded.scaleMemory.values, "row \(row)")
        }
    }
}
