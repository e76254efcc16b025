// SPDX-License-Identifier: MIT

import DeepGEMM
import KernelDispatch
import Tensors
import TestSupport
import Testing

/// The scales that a format goes with, as A or as B.
func usualGranularity(_ format: MatrixOperand.Format, isB: Bool) -> ScaleGranularity? {
    switch format {
    case .float32, .bfloat16, .float16: nil
    case .float8E4M3: isB ? .perBlock(128) : .perToken(128)
    case .float4E2M1: .perToken(32)
    }
}

@Suite("General product")
struct GemmTests {
    typealias Format = MatrixOperand.Format

    static let pairs = Format.allCases.flatMap { a in Format.allCases.map { (a, $0) } }

    @Test("Every pair of formats in every order agrees with the reference", arguments: pairs)
    func formats(a: Format, b: Format) throws {
        var seed: UInt64 = 1
        for (m, n, k) in [(3, 37, 1050), (35, 13, 200), (130, 9, 71), (1, 5, 2500), (33, 140, 40)] {
            for orderA in MatrixOperand.Order.allCases {
                for orderB in MatrixOperand.Order.allCases {
                    seed += 1
                    let style = ScaleStyle.allCases[Int(seed % 4)]
                    let left = TestOperand(
                        a, rows: m, columns: k, order: orderA, gap: Int(seed % 3),
                        granularity: usualGranularity(a, isB: false), style: style, seed: seed)
                    let right = TestOperand(
                        b, rows: n, columns: k, order: orderB, gap: Int(seed / 3 % 3),
                        granularity: usualGranularity(b, isB: true), style: style, seed: seed + 1000)
                    let expected = referenceGemm(left.operand, right.operand)
                    for level in InstructionSetLevel.available {
                        let context = try ComputeContext(threadCount: 1 + Int(seed % 3), level: level)
                        let d = TestResult(seed % 2 == 0 ? .float32 : .bfloat16, rows: m, columns: n)
                        try gemm(left.operand, right.operand, into: d.result, on: context)
                        d.expect(
                            expected, within: d.format == .float32 ? 1e-12 : 1e-5,
                            "\(m)×\(n)×\(k) \(orderA) \(orderB) \(style) \(level)")
                    }
                }
            }
        }
    }

    @Test(
        "Scales of every granularity on either side agree with the reference",
        arguments: [Format.float8E4M3, .float4E2M1], ScaleStyle.allCases)
    func granularities(format: Format, style: ScaleStyle) throws {
        let granularities = [(1, 32), (1, 128), (128, 128), (8, 8), (16, 24), (3, 40), (64, 2048), (1, 1104)]
            .map { ScaleGranularity(rows: $0.0, columns: $0.1) }
        for (index, granularity) in granularities.enumerated() {
            for (m, n, k) in [(2, 41, 1100), (40, 35, 1100)] {
                let seed = UInt64(index * 10 + m)
                let left = TestOperand(
                    format, rows: m, columns: k, granularity: granularities[(index + 3) % 8], style: style, seed: seed)
                let right = TestOperand(
                    format, rows: n, columns: k, order: index % 3 == 2 ? .mnMajor : .kMajor, granularity: granularity,
                    style: style, seed: seed + 1)
                let expected = referenceGemm(left.operand, right.operand)
                for level in InstructionSetLevel.available {
                    let context = try ComputeContext(threadCount: 2, level: level)
                    let d = TestResult(.float32, rows: m, columns: n)
                    try gemm(left.operand, right.operand, into: d.result, on: context)
                    d.expect(expected, within: 1e-12, "\(granularity), \(m) rows, \(level)")
                }
            }
        }
    }

    @Test(
        "Results stay within the originals' limits of the product of the unrounded numbers",
        arguments: [
            (Format.bfloat16, Format.bfloat16, 1e-5), (.float8E4M3, .float8E4M3, 1e-3),
            (.float8E4M3, .float4E2M1, 1e-2), (.float4E2M1, .float4E2M1, 2e-2), (.bfloat16, .float8E4M3, 1e-3),
            (.float16, .float16, 1e-5), (.float32, .float32, 1e-12),
        ])
    func precision(a: Format, b: Format, limit: Double) throws {
        let (m, n, k) = (70, 60, 700)
        let left = TestOperand(a, rows: m, columns: k, granularity: usualGranularity(a, isB: false), seed: 1)
        let right = TestOperand(b, rows: n, columns: k, granularity: usualGranularity(b, isB: true), seed: 2)
        let exactLeft = TestOperand(.float32, rows: m, columns: k, seed: 1)
        let exactRight = TestOperand(.float32, rows: n, columns: k, seed: 2)
        let expected = referenceGemm(exactLeft.operand, exactRight.operand)
        for level in InstructionSetLevel.available {
            let context = try ComputeContext(threadCount: 2, level: level)
            let d = TestResult(.float32, rows: m, columns: n)
            try gemm(left.operand, right.operand, into: d.result, on: context)
            d.expect(expected, within: limit, "\(level)")
        }
    }

    @Test("Empty extents are products too", arguments: InstructionSetLevel.available)
    func empty(level: InstructionSetLevel) throws {
        let context = try ComputeContext(threadCount: 2, level: level)
        for (m, n, k) in [(0, 5, 7), (5, 0, 7), (40, 6, 0), (3, 6, 0), (0, 0, 0)] {
            for format in Format.allCases {
                let left = TestOperand(format, rows: m, columns: k, seed: 1)
                let right = TestOperand(format, rows: n, columns: k, seed: 2)
                let d = TestResult(.bfloat16, rows: m, columns: n)
                try gemm(left.operand, right.operand, into: d.result, on: context)
                d.expect(referenceGemm(left.operand, right.operand), within: 1e-12, "\(m)×\(n)×\(k)")
            }
        }
        // Without K, D is C.
        let left = TestOperand(.float32, rows: 3, columns: 0, seed: 1)
        let d = TestResult(.float32, rows: 3, columns: 3)
        let c = d.fill(seed: 5)
        let before = d.bytes
        try gemm(left.operand, left.operand, adding: c, into: d.result, on: context)
        #expect(d.bytes == before)
    }
}
