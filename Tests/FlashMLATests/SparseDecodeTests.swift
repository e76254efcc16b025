// SPDX-License-Identifier: MIT

import FlashMLA
import KernelDispatch
import Platform
import Tensors
import TestSupport
import Testing

extension SparseShape {
    /// List lengths at and around blocks and partitions, odd heads, every format and page size, empty requests.
    static let decode: [SparseShape] = [
        SparseShape(
            requests: 2, tokens: 2, heads: 3, rowWidth: 576, valueWidth: 512,
            pools: [.init(format: .packed(.v32), pageSize: 61, pageCount: 2, topK: 63)]),
        SparseShape(
            requests: 1, tokens: 1, heads: 2, rowWidth: 576, valueWidth: 512,
            pools: [.init(format: .packed(.v32), pageSize: 64, pageCount: 9, topK: 513)], type: .bfloat16,
            sinks: [0.5, -.infinity]),
        SparseShape(
            requests: 3, tokens: 1, heads: 2, rowWidth: 512, valueWidth: 512,
            pools: [
                .init(format: .packed(.model1), pageSize: 64, pageCount: 3, topK: 128, lengths: [128, 0, 65]),
                .init(format: .packed(.model1), pageSize: 2, pageCount: 40, topK: 37, lengths: [5, 0, 37]),
            ], type: .bfloat16, sinks: [2, .infinity]),
        SparseShape(
            requests: 2, tokens: 1, heads: 1, rowWidth: 512, valueWidth: 512,
            pools: [
                .init(format: .packed(.model1), pageSize: 576, pageCount: 1, topK: 30),
                .init(format: .packed(.v41), pageSize: 7, pageCount: 9, topK: 70),
            ]),
        SparseShape(
            requests: 2, tokens: 2, heads: 3, rowWidth: 512, valueWidth: 512,
            pools: [
                .init(format: .packed(.v41), pageSize: 64, pageCount: 3, topK: 128, lengths: [128, 31]),
                .init(format: .packed(.v41fp4), pageSize: 2, pageCount: 90, topK: 100),
            ], type: .bfloat16, sinks: [1, -2]),
        SparseShape(
            requests: 2, tokens: 3, heads: 5, rowWidth: 40, valueWidth: 24,
            pools: [.init(format: .float32, pageSize: 2, pageCount: 300, topK: 1100, lengths: [1100, 1])],
            sinks: [-3, .infinity, -.infinity, 0, 200]),
        SparseShape(
            requests: 2, tokens: 2, heads: 129, rowWidth: 24, valueWidth: 16,
            pools: [.init(format: .bfloat16, pageSize: 69, pageCount: 3, topK: 600, lengths: [600, 513])],
            type: .bfloat16),
        SparseShape(
            requests: 3, tokens: 2, heads: 17, rowWidth: 13, valueWidth: 7,
            pools: [
                .init(format: .float32, pageSize: 61, pageCount: 3, topK: 500, lengths: [500, 0, 1]),
                .init(format: .bfloat16, pageSize: 5, pageCount: 40, topK: 33, lengths: [0, 33, 32], holes: 2),
            ], sinks: [1]),
        SparseShape(
            requests: 3, tokens: 1, heads: 4, rowWidth: 16, valueWidth: 16,
            pools: [.init(format: .float32, pageSize: 64, pageCount: 1, topK: 1, lengths: [1, 0, 1], holes: 0)]),
        // Every entry is a hole; an empty pool; an empty list.
        SparseShape(
            requests: 1, tokens: 2, heads: 2, rowWidth: 16, valueWidth: 8,
            pools: [.init(format: .bfloat16, pageSize: 3, pageCount: 4, topK: 70, holes: 1)], sinks: [.infinity, 1]),
        SparseShape(
            requests: 1, tokens: 2, heads: 2, rowWidth: 16, valueWidth: 8,
            pools: [
                .init(format: .bfloat16, pageSize: 3, pageCount: 0, topK: 9),
                .init(format: .float32, pageSize: 8, pageCount: 2, topK: 0),
            ]),
    ]

    static let prefill: [SparseShape] = [
        SparseShape(
            requests: 7, tokens: 1, heads: 3, rowWidth: 576, valueWidth: 512,
            pools: [.init(format: .bfloat16, pageSize: 150, pageCount: 1, topK: 63)], type: .bfloat16,
            sinks: [0.5, .infinity, -.infinity]),
        SparseShape(
            requests: 9, tokens: 1, heads: 5, rowWidth: 40, valueWidth: 32,
            pools: [
                .init(
                    format: .bfloat16, pageSize: 900, pageCount: 1, topK: 1100,
                    lengths: [1100, 0, 1, 63, 64, 65, 511, 512, 513])
            ], type: .bfloat16, sinks: [1, -2]),
        SparseShape(
            requests: 4, tokens: 1, heads: 131, rowWidth: 24, valueWidth: 13,
            pools: [.init(format: .float32, pageSize: 33, pageCount: 1, topK: 513)]),
        SparseShape(
            requests: 4, tokens: 1, heads: 2, rowWidth: 8, valueWidth: 8,
            pools: [.init(format: .float32, pageSize: 33, pageCount: 1, topK: 1)], sinks: [3]),
        SparseShape(
            requests: 3, tokens: 1, heads: 2, rowWidth: 8, valueWidth: 8,
            pools: [.init(format: .float32, pageSize: 0, pageCount: 0, topK: 12)], sinks: [3]),
    ]
}

@Suite("Sparse attention over listed rows")
struct SparseDecodeTests {
    @Test("Decoding agrees with the definition within the original's limits", arguments: SparseShape.decode)
    func decode(shape: SparseShape) throws {
        let test = try SparseCase(shape, seed: 91)
        let expected = test.reference()
        for level in InstructionSetLevel.available {
            for threads in [1, 4] {
                let context = try ComputeContext(threadCount: threads, level: level)
                let found = try #require(try test.run(on: context), "written beside the results")
                expectClose(
                    found, expected, shape, spread: test.spread(on: context), absolute: 1e-3, relative: 2.01 / 128,
                    difference: 5e-6)
            }
        }
    }

    @Test(
        "Prefill agrees with the definition, whatever the void entries hold", arguments: SparseShape.prefill)
    func prefill(shape: SparseShape) throws {
        var test = try SparseCase(shape, seed: 92)
        // Holes of every kind.
        let rowCount = Int32(shape.pools[0].pageSize * shape.pools[0].pageCount)
        for (place, index) in test.indices[0].enumerated() where index == -1 {
            test.indices[0][place] = [.min, -123_456, -1, rowCount, .max][place % 5]
        }
        let expected = test.reference()
        for level in InstructionSetLevel.available {
            for threads in [1, 5] {
                let context = try ComputeContext(threadCount: threads, level: level)
                let found = try #require(try test.run(prefill: true, on: context), "written beside the results")
                expectClose(
                    found, expected, shape, spread: test.spread(on: context), absolute: 8e-4, relative: 3.01 / 128,
                    difference: 7e-6)
            }
        }
    }

    /// The original's limits for bfloat16, what the arithmetic reaches for float32; infinities in the same places.
    /// Values of these tests are larger than what the absolute bound is made for, so where weights are rounded to
    /// bfloat16 the rounding's own bound, 2⁻⁹ of the spread, counts as well.
    private func expectClose(
        _ found: SparseCase.Results, _ expected: SparseCase.Results, _ shape: SparseShape, spread: [Float]?,
        absolute: Float, relative: Float, difference: Double
    ) {
        let isExact = shape.type == .float32
        #expect(calcDiff(found.out, expected.out) < (isExact ? 1e-11 : difference))
        for (index, (x, y)) in zip(found.out, expected.out).enumerated() {
            var rounding: Float = 0
            if let spread { rounding = (spread[index] + abs(y)) * 0x1.04p-9 }
            let bound = isExact ? max(2e-6, abs(y) * 1e-5) : max(absolute, abs(y) * relative, rounding)
            guard abs(x - y) <= bound else {
                Issue.record("out[\(index)] is \(x), not \(y)")
                break
            }
        }
        for (mine, theirs) in [(found.logSums, expected.logSums), (found.maxima, expected.maxima)] {
            for (index, (x, y)) in zip(mine, theirs).enumerated()
            where !(x == y || abs(x - y) <= max(1e-6, abs(y) * 2.01 / 65536)) {
                Issue.record("statistic \(index) is \(x), not \(y)")
                break
            }
        }
    }

    @Test("The original's shapes: 64 heads, MODEL1 with a window pool and a compressed one")
    func model1() throws {
        let shape = SparseShape(
            requests: 1, tokens: 1, heads: 64, rowWidth: 512, valueWidth: 512,
            pools: [
                .init(format: .packed(.model1), pageSize: 256, pageCount: 1, topK: 20, lengths: [17]),
                .init(format: .packed(.model1), pageSize: 64, pageCount: 1, topK: 12, lengths: [12]),
            ], type: .bfloat16, sinks: [0.1, 1, 5])
        let test = try SparseCase(shape, seed: 93)
        let context = try ComputeContext(threadCount: 2)
        let found = try #require(try test.run(on: context))
        expectClose(
            found, test.reference(), shape, spread: test.spread(on: context), absolute: 1e-3, relative: 2.01 / 128,
            difference: 5e-6)
    }

    @Test(
        "Neither threads nor repetition nor other requests change a bit", arguments: InstructionSetLevel.available)
    func bits(level: InstructionSetLevel) throws {
        for shape in SparseShape.decode {
            let test = try SparseCase(shape, seed: 94)
            let one = try #require(try test.run(on: try ComputeContext(threadCount: 1, level: level)))
            for threads in [1, 2, 3, 5] {
                let context = try ComputeContext(threadCount: threads, level: level)
                for _ in 0..<(threads == 2 ? 5 : 1) {
                    let many = try test.run(on: context)?.bits
                    #expect(many == one.bits, "\(shape), \(threads) threads")
                }
                for request in 0..<shape.requests {
                    let alone = try #require(try test.run(request: request, on: context))
                    let size = shape.tokens * shape.heads
                    let part = one.out[request * size * shape.valueWidth..<(request + 1) * size * shape.valueWidth]
                    #expect(alone.out.map(\.bitPattern) == part.map(\.bitPattern))
                    #expect(
                        alone.logSums.map(\.bitPattern)
                            == one.logSums[request * size..<(request + 1) * size].map(\.bitPattern))
                }
            }
        }
        for shape in SparseShape.prefill {
            let test = try SparseCase(shape, seed: 95)
            let one = try test.run(prefill: true, on: try ComputeContext(threadCount: 1, level: level))?.bits
            for threads in [2, 3, 5] {
                let context = try ComputeContext(threadCount: threads, level: level)
                let many = try test.run(prefill: true, on: context)?.bits
                #expect(many == one, "\(shape), \(threads) threads")
            }
        }
    }

    @Test("A NaN in a row that is listed makes its token's results NaN, and no other's")
    func listedNaN() throws {
        let shape = SparseShape(
            requests: 4, tokens: 1, heads: 3, rowWidth: 16, valueWidth: 8,
            pools: [.init(format: .float32, pageSize: 64, pageCount: 2, topK: 600, holes: 0)])
        for level in InstructionSetLevel.available {
            for threads in [1, 5] {
                let context = try ComputeContext(threadCount: threads, level: level)
                var test = try SparseCase(shape, seed: 96)
                let clean = try #require(try test.run(on: context))
                let nan = try #require((0..<Int32(128)).first { !test.indices[0].contains($0) })
                // In the second partition of request 1; everywhere in request 2.
                test.indices[0][600 + 599] = nan
                for place in 0..<600 { test.indices[0][1200 + place] = nan }
                let found = try #require(try test.run(on: context))
                for request in 0..<4 {
                    let (out, sums) = (request * 24..<(request + 1) * 24, request * 3..<(request + 1) * 3)
                    if request == 1 || request == 2 {
                        #expect(found.out[out].allSatisfy { $0.isNaN })
                        #expect(
                            found.logSums[sums].allSatisfy { $0.isNaN } && found.maxima[sums].allSatisfy { $0.isNaN })
                    } else {
                        #expect(found.out[out] == clean.out[out] && found.logSums[sums] == clean.logSums[sums])
                    }
                }
            }
        }
    }

    @Test("Every benchmark runs")
    func benchmark() throws {
        let context = try ComputeContext(threadCount: 2)
        for format in [SparsePool.Format.packed(.v32), .packed(.model1), .bfloat16] {
            let shape = SparseBenchmark.Shape(
                requests: 2, tokens: 2, heads: 3, topK: 70, format: format, pageSize: 64, poolRows: 1000)
            let found = try SparseBenchmark.measure(shape, minimumSeconds: 0, on: context)
            let operations = found.gigaflops * found.seconds * 1e9
            let width = Double(format == .packed(.model1) ? 512 : 576)
            #expect(abs(operations / (2 * 280 * 3 * (width + 512)) - 1) < 1e-9)
            #expect(found.gigabytesPerSecond > 0)
        }
        expectFailure(.usage, naming: ["-1", "1 to"]) { () throws(FathomError) in
            _ = try SparseBenchmark.measure(
                .init(requests: -1, tokens: 1, heads: 1, topK: 1, format: .bfloat16, pageSize: 1, poolRows: 1),
                minimumSeconds: 0, on: context)
        }
    }
}
