// SPDX-License-Identifier: MIT

import DeepGEMM
import KernelDispatch
import LowPrecision
import Platform
import TestSupport
import Testing

@Suite("Top-k")
struct IndexerTopKTests {
    /// By definition: sort all that may be chosen.
    private func reference(_ row: [Float], count: Int) -> [Int32] {
        let order = row.indices.filter { !row[$0].isNaN && row[$0] != -.infinity }
            .sorted { (row[$0], $1) > (row[$1], $0) }
        return order.prefix(count).map { Int32($0) }
            + [Int32](repeating: -1, count: max(0, count - order.count))
    }

    /// Numbers with many ties, both zeros, infinities and NaN.
    private func row(_ width: Int, seed: UInt64) -> [Float] {
        var random = RandomNumbers(seed: seed)
        return (0..<width).map { _ in
            switch random.number(below: 12) {
            case 0: [0, -0.0, .infinity, -.infinity, .nan, -.nan, 0x1p-149, -0x1p-149][random.number(below: 8)]
            case 1...4: Float(random.number(below: 5)) - 2
            default: random.normal()
            }
        }
    }

    @Test(
        "Chooses what sorting chooses, ties by the lower column, never −∞ or NaN",
        arguments: [
            (1, 1), (5, 3), (100, 100), (100, 130), (700, 64), (2500, 512), (33, 0), (0, 4),
        ])
    func reference(width: Int, count: Int) throws {
        let rows = (0..<6).map { row(width, seed: UInt64(width * 10 + $0)) } + [[Float](repeating: 1.5, count: width)]
        let stride = width + 2
        let memory = GuardedBuffer<Float>(count: max(rows.count * stride - 2, 0), repeating: .infinity)
        for (index, values) in rows.enumerated() {
            for (column, value) in values.enumerated() { memory.start[index * stride + column] = value }
        }
        let logits = try IndexerLogits(
            memory.start, element: .float32, rowCount: rows.count, columnCount: width, rowStride: stride)
        let expected = rows.flatMap { reference($0, count: count) }
        for threads in 1...3 {
            let context = try ComputeContext(threadCount: threads)
            #expect(try topK(logits, count: count, on: context) == expected)
        }
        let context = try ComputeContext(threadCount: 2)
        let limits = rows.indices.map { $0 == 0 ? -4 : $0 == 1 ? Int.max : width * $0 / 7 }
        let limited = rows.indices.flatMap {
            reference(Array(rows[$0].prefix(max(0, limits[$0]))), count: count)
        }
        #expect(try topK(logits, count: count, limits: limits, on: context) == limited)
    }

    @Test("bfloat16 logits")
    func bfloat16() throws {
        let values = row(400, seed: 3).map { BFloat16($0) }
        let memory = GuardedBuffer<UInt16>(values.map(\.bitPattern), filler: 0)
        let logits = try IndexerLogits(memory.start, element: .bfloat16, rowCount: 1, columnCount: 400)
        let context = try ComputeContext(threadCount: 1)
        #expect(
            try topK(logits, count: 77, on: context) == reference(values.map { Float($0) }, count: 77))
    }

    @Test("Follows the indexer: only keys that a query sees are chosen")
    func afterLogits() throws {
        let context = try ComputeContext(threadCount: 2)
        let query = try IndexerQueryFixture(.float8E4M3, count: 4, heads: 8, depth: 32, seed: 1, on: context)
        let keys = try IndexerRows(.float8E4M3, rows: 90, depth: 32, seed: 2, on: context)
        let logits = try IndexerLogits(rowCount: 4, columnCount: 90)
        let (starts, ends): ([Int32], [Int32]) = ([0, 10, 50, 3], [90, 20, 50, 4])
        try mqaLogits(query.queries, keys: keys.matrix, starts: starts, ends: ends, into: logits, on: context)
        let chosen = try topK(logits, count: 16, on: context)
        for row in 0..<4 {
            let part = chosen[row * 16..<(row + 1) * 16]
            let seen = max(0, ends[row] - starts[row])
            #expect(part.filter { $0 >= 0 }.count == min(16, Int(seen)))
            #expect(part.allSatisfy { $0 == -1 || ($0 >= starts[row] && $0 < ends[row]) })
        }
    }

    @Test("Misuse is refused, naming what is legal")
    func misuse() throws {
        let context = try ComputeContext(threadCount: 1)
        let logits = try IndexerLogits(rowCount: 3, columnCount: 4)
        expectFailure(.usage, naming: ["-1"]) { () throws(FathomError) in
            _ = try topK(logits, count: -1, on: context)
        }
        expectFailure(.usage, naming: ["\(Int.max)", "1048576"]) { () throws(FathomError) in
            _ = try topK(logits, count: .max, on: context)
        }
        expectFailure(.usage, naming: ["2 limits", "3 rows"]) { () throws(FathomError) in
            _ = try topK(logits, count: 1, limits: [1, 2], on: context)
        }
    }
}

@Suite("Indexer benchmark")
struct IndexerBenchmarkTests {
    @Test("Measures every format, plain and paged", arguments: IndexerMatrix.Format.allCases)
    func smoke(format: IndexerMatrix.Format) throws {
        let context = try ComputeContext(threadCount: 2)
        for blockSize in [nil, 16] {
            let result = try IndexerBenchmark.measure(
                queryCount: 2, headCount: 8, depth: 32, keyCount: 100, format: format.rawValue,
                blockSize: blockSize, minimumSeconds: 0, on: context)
            #expect(result.seconds > 0 && result.gigaflops > 0)
            let ratio = result.gigaflops / result.gigareluPerSecond
            #expect(abs(ratio - 64) < 1e-6)
        }
        #expect(
            try IndexerBenchmark.measureTopK(
                queryCount: 1, keyCount: 50, count: 5, minimumSeconds: 0, on: context) > 0)
    }

    @Test("Measures lists of blocks, plain and paged")
    func sparse() throws {
        let context = try ComputeContext(threadCount: 2)
        for blockSize in [nil, 16] {
            let result = try IndexerBenchmark.measureSparse(
                queryCount: 3, headCount: 8, depth: 32, contextLength: 500, listBlockSize: 8, blocksPerQuery: 9,
                blockSize: blockSize, minimumSeconds: 0, on: context)
            #expect(result.seconds > 0 && result.keyCount == 72)
        }
        expectFailure(.usage, naming: ["10 blocks of 8", "79"]) { () throws(FathomError) in
            _ = try IndexerBenchmark.measureSparse(
                queryCount: 1, contextLength: 79, listBlockSize: 8, blocksPerQuery: 10, minimumSeconds: 0, on: context)
        }
    }

    @Test("Misuse is refused, naming what is legal")
    func misuse() throws {
        let context = try ComputeContext(threadCount: 1)
        expectFailure(.usage, naming: ["fp3", "float8E4M3"]) { () throws(FathomError) in
            _ = try IndexerBenchmark.measure(
                queryCount: 1, keyCount: 1, format: "fp3", minimumSeconds: 0, on: context)
        }
        expectFailure(.usage, naming: ["0 keys"]) { () throws(FathomError) in
            _ = try IndexerBenchmark.measure(queryCount: 1, keyCount: 0, minimumSeconds: 0, on: context)
        }
    }
}
