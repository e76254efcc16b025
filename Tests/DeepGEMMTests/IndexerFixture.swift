// SPDX-License-Identifier: MIT

import DeepGEMM
import KernelDispatch
import LowPrecision
import Platform
import Tensors
import TestSupport

/// Random rows in one of the indexer's formats, with the numbers before and after they were rounded to it.
struct IndexerRows {
    let matrix: IndexerMatrix
    /// [rows, depth] as drawn.
    let original: [Float]
    /// [rows, depth] as stored, without FP8's row scales.
    let decoded: [Float]
    /// FP8's row scales, else ones.
    let scales: [Float]

    init(
        _ format: IndexerMatrix.Format, rows: Int, depth: Int, seed: UInt64, on context: ComputeContext
    ) throws {
        var random = RandomNumbers(seed: seed)
        original = random.normals(rows * depth)
        let memory = GuardedBuffer<Float>(original)
        let floats = try FloatRows(
            TensorView(
                name: "rows", scalarType: .float32, shape: [rows, depth],
                baseAddress: UnsafeRawPointer(memory.start), sourcePath: "", owner: memory))
        var ones = [Float](repeating: 1, count: rows)
        switch format {
        case .float32:
            matrix = try IndexerMatrix(floats)
            decoded = original
        case .bfloat16:
            let codes = original.map { BFloat16($0) }
            let halves = GuardedBuffer<UInt16>(codes.map(\.bitPattern), filler: 0)
            matrix = try IndexerMatrix(
                FloatRows(
                    TensorView(
                        name: "rows", scalarType: .bfloat16, shape: [rows, depth],
                        baseAddress: UnsafeRawPointer(halves.start), sourcePath: "", owner: halves)))
            decoded = codes.map { Float($0) }
        case .float8E4M3:
            let quantized = try quantizeFloat8(floats, granularity: .perToken(max(depth, 1)), on: context)
            matrix = try IndexerMatrix(quantized)
            decoded = (0..<rows * depth).map { quantized.code(row: $0 / depth, column: $0 % depth) }
            if depth > 0 { ones = quantized.scales.array }
        case .float4E2M1:
            let quantized = try quantizeFloat4(floats, on: context)
            matrix = try IndexerMatrix(quantized)
            decoded = quantized.dequantized()
        }
        scales = ones
    }
}

/// Queries with weights, in one of the formats.
struct IndexerQueryFixture {
    let queries: IndexerQueries
    let rows: IndexerRows
    let originalWeights: [Float]
    /// Weights times FP8's scale of the row.
    let weights: [Float]

    init(
        _ format: IndexerMatrix.Format, count: Int, heads: Int, depth: Int, seed: UInt64,
        on context: ComputeContext
    ) throws {
        rows = try IndexerRows(format, rows: count * heads, depth: depth, seed: seed, on: context)
        var random = RandomNumbers(seed: seed + 1)
        let drawn = random.normals(count * heads)
        let memory = GuardedBuffer<Float>(drawn)
        queries = try IndexerQueries(
            values: rows.matrix, headCount: heads,
            weights: FloatRows(
                TensorView(
                    name: "weights", scalarType: .float32, shape: [count, heads],
                    baseAddress: UnsafeRawPointer(memory.start), sourcePath: "", owner: memory)))
        originalWeights = drawn
        let scales = rows.scales
        weights = drawn.indices.map { drawn[$0] * scales[$0] }
    }
}

/// Logits in guarded memory, poisoned, rows further apart than they are wide.
struct GuardedLogits {
    let memory: GuardedBuffer<UInt32>
    let view: IndexerLogits
    let stride: Int
    /// A NaN that no arithmetic makes.
    static let poison: UInt32 = 0x7FD1_E5AD

    init(rows: Int, columns: Int) throws {
        stride = columns + 3
        memory = GuardedBuffer(count: max(rows * stride - 3, 0), repeating: Self.poison)
        view = try IndexerLogits(
            UnsafeMutableRawPointer(memory.start), element: .float32, rowCount: rows, columnCount: columns,
            rowStride: stride)
    }

    /// All rows, without what lies between them.
    var bits: [UInt32] {
        (0..<view.rowCount).flatMap { row in (0..<view.columnCount).map { memory.start[row * stride + $0] } }
    }

    /// Whether nothing was written outside the rows.
    var isIntact: Bool {
        memory.isIntact
            && (0..<memory.count).allSatisfy {
                $0 % stride < view.columnCount || memory.start[$0] == Self.poison
            }
    }
}

/// Compares logits with a reference: exactly its −∞, and `calcDiff` over the rest.
func indexerDifference(_ found: [Float], _ expected: [Double]) -> Double {
    for (a, b) in zip(found, expected) where (a == -.infinity) != (b == -.infinity) || a.isNaN != b.isNaN {
        return .infinity
    }
    let finite = expected.indices.filter { expected[$0].isFinite }
    return calcDiff(finite.map { found[$0] }, finite.map { Float(expected[$0]) })
}
