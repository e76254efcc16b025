// SPDX-License-Identifier: MIT

import DeepGEMM
import KernelDispatch
import Kernels
import LowPrecision
import Platform
import Tensors
import TestSupport
import Testing

/// The extents of one product.
struct LinearShape: Sendable, CustomStringConvertible {
    var m: Int
    var n: Int
    var k: Int
    var blockRows = 128
    var blockColumns = 128

    var description: String { "\(m)×\(n)×\(k), blocks \(blockRows)×\(blockColumns)" }

    /// Tiny, odd, with tails in every dimension, longer than a chunk of K, larger than a block of rows.
    static let all = [
        LinearShape(m: 1, n: 1, k: 1), LinearShape(m: 2, n: 3, k: 7), LinearShape(m: 3, n: 5, k: 8),
        LinearShape(m: 1, n: 37, k: 1033), LinearShape(m: 2, n: 130, k: 200),
        LinearShape(m: 5, n: 66, k: 513),
        LinearShape(m: 7, n: 33, k: 129), LinearShape(m: 130, n: 35, k: 71),
        LinearShape(m: 4, n: 41, k: 700, blockRows: 16, blockColumns: 24),
        LinearShape(m: 1, n: 41, k: 700, blockRows: 8, blockColumns: 40),
        LinearShape(m: 2, n: 70, k: 1100, blockRows: 64, blockColumns: 1024),
        LinearShape(m: 97, n: 12, k: 520, blockRows: 8, blockColumns: 8),
    ]
}

@Suite("Linear")
struct LinearTests {
    @Test(
        "Every format agrees with the reference in Double, and writes its outputs only",
        arguments: LinearShape.all, WeightMatrix.Format.allCases)
    func reference(shape: LinearShape, format: WeightMatrix.Format) throws {
        let weight = try TestWeight(
            format, outputs: shape.n, inputs: shape.k, blockRows: shape.blockRows,
            blockColumns: shape.blockColumns,
            seed: UInt64(shape.k))
        var random = RandomNumbers(seed: UInt64(shape.m))
        let a = random.normals(shape.m * shape.k)
        let expected = referenceLinear(a, rowCount: shape.m, weight: weight.matrix).map { Float($0) }
        for level in InstructionSetLevel.available {
            let context = try ComputeContext(threadCount: 2, level: level)
            // Rows of both operands are further apart than they are wide.
            let (aStride, outStride) = (shape.k + 3, shape.n + 5)
            let input = GuardedBuffer(poisoned: shape.m * aStride - 3)
            for index in a.indices { input.start[index / shape.k * aStride + index % shape.k] = a[index] }
            let out = GuardedBuffer(poisoned: shape.m * outStride - 5)
            linear(
                [
                    LinearProblem(
                        a: input.start, aStride: aStride, rowCount: shape.m, weight: weight.matrix,
                        out: out.start,
                        outStride: outStride)
                ], on: context)
            let values = out.values
            let found =
                a.isEmpty ? [] : (0..<shape.m).flatMap { values[$0 * outStride..<$0 * outStride + shape.n] }
            let difference = calcDiff(found, expected)
            #expect(difference < 1e-12, "\(level): \(difference)")
            #expect(out.isIntact)
            let gaps = values.indices.filter { $0 % outStride >= shape.n }
            #expect(gaps.allSatisfy { values[$0].bitPattern == GuardedBuffer.poison.bitPattern })
        }
    }

    @Test(
        "Rounded weights stay close to the originals",
        arguments: [(WeightMatrix.Format.float16, 1e-7), (.bfloat16, 1e-5), (.float8E4M3, 1e-3)])
    func precision(format: WeightMatrix.Format, limit: Double) throws {
        let (m, n, k) = (3, 140, 600)
        let weight = try TestWeight(format, outputs: n, inputs: k, seed: 5)
        let exact = try TestWeight(.float32, outputs: n, inputs: k, seed: 5)
        var random = RandomNumbers(seed: 9)
        let a = random.normals(m * k)
        let expected = referenceLinear(a, rowCount: m, weight: exact.matrix).map { Float($0) }
        for level in InstructionSetLevel.available {
            let context = try ComputeContext(threadCount: 1, level: level)
            let found = product(a, m, weight.matrix, on: context)
            let difference = calcDiff(found, expected)
            #expect(difference < limit && difference > limit * 1e-4, "\(level): \(difference)")
        }
    }

    @Test(
        "Quantised activations and FP8 weights stay within 1e-3 of the originals", arguments: [false, true])
    func quantizedActivations(powerOfTwoScales: Bool) throws {
        let (m, n, k) = (4, 70, 600)
        let weight = try TestWeight(.float8E4M3, outputs: n, inputs: k, seed: 6)
        let exact = try TestWeight(.float32, outputs: n, inputs: k, seed: 6)
        var random = RandomNumbers(seed: 10)
        let a = random.normals(m * k)
        let expected = referenceLinear(a, rowCount: m, weight: exact.matrix).map { Float($0) }
        for level in InstructionSetLevel.available {
            let context = try ComputeContext(threadCount: 1, level: level)
            let input = GuardedBuffer(a)
            let coding = LinearProblem.Coding.float8E4M3(blockColumns: 128)
            let stride = coding.floatCount(k) + 1
            let codes = GuardedBuffer(poisoned: m * stride - 1)
            for row in 0..<m {
                quantizeActivations(
                    input.start + row * k, width: k, blockColumns: 128, powerOfTwoScales: powerOfTwoScales,
                    into: codes.start + row * stride, on: context)
            }
            let out = GuardedBuffer(poisoned: m * n)
            linear(
                [
                    LinearProblem(
                        a: codes.start, aStride: stride, coding: coding, rowCount: m, weight: weight.matrix,
                        out: out.start, outStride: n)
                ], on: context)
            let difference = calcDiff(out.values, expected)
            #expect(difference < 1e-3, "\(level): \(difference)")
        }
    }

    @Test("Accumulation adds to what the output holds", arguments: InstructionSetLevel.available)
    func accumulates(level: InstructionSetLevel) throws {
        let context = try ComputeContext(threadCount: 2, level: level)
        let weight = try TestWeight(.bfloat16, outputs: 43, inputs: 530, seed: 3)
        var random = RandomNumbers(seed: 4)
        for m in [1, 2, 3, 50] {
            let a = random.normals(m * 530)
            let before = random.normals(m * 43)
            let out = GuardedBuffer(before)
            let input = GuardedBuffer(a)
            linear(
                [
                    LinearProblem(
                        a: input.start, aStride: 530, rowCount: m, weight: weight.matrix, out: out.start,
                        outStride: 43, accumulates: true)
                ], on: context)
            let expected = zip(before, referenceLinear(a, rowCount: m, weight: weight.matrix)).map {
                Float(Double($0) + $1)
            }
            #expect(calcDiff(out.values, expected) < 1e-12)
        }
    }

    @Test("No rows, and an empty group, are no work")
    func empty() throws {
        let context = try ComputeContext(threadCount: 2)
        let weight = try TestWeight(.bfloat16, outputs: 9, inputs: 16, seed: 3)
        let out = GuardedBuffer(poisoned: 9)
        linear([], on: context)
        linear(
            [
                LinearProblem(
                    a: out.start, aStride: 16, rowCount: 0, weight: weight.matrix, out: out.start,
                    outStride: 9)
            ],
            on: context)
        #expect(out.bitPatterns.allSatisfy { $0 == GuardedBuffer.poison.bitPattern })
    }
}

/// Dense rows times a weight.
func product(_ a: [Float], _ rowCount: Int, _ weight: WeightMatrix, on context: ComputeContext) -> [Float] {
    let input = GuardedBuffer(a)
    let out = GuardedBuffer(poisoned: rowCount * weight.outputCount)
    linear(
        [
            LinearProblem(
                a: input.start, aStride: weight.inputCount, rowCount: rowCount, weight: weight,
                out: out.start,
                outStride: weight.outputCount)
        ], on: context)
    return out.values
}
