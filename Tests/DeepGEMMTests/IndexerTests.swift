// SPDX-License-Identifier: MIT

import DeepGEMM
import KernelDispatch
import LowPrecision
import Platform
import Tensors
import TestSupport
import Testing

/// The extents of one call.
struct IndexerShape: Sendable, CustomTestStringConvertible {
    var queries: Int
    var heads: Int
    var depth: Int
    var keys: Int
    var testDescription: String { "s \(queries), h \(heads), d \(depth), s_kv \(keys)" }

    /// The originals' heads and depths, and odd ones: fewer than a lane, one more than a panel, tails of depth.
    static let all = [
        IndexerShape(queries: 1, heads: 1, depth: 1, keys: 1),
        IndexerShape(queries: 3, heads: 64, depth: 128, keys: 300),
        IndexerShape(queries: 9, heads: 32, depth: 64, keys: 97),
        IndexerShape(queries: 11, heads: 7, depth: 33, keys: 211),
        IndexerShape(queries: 2, heads: 17, depth: 96, keys: 13),
        IndexerShape(queries: 5, heads: 24, depth: 70, keys: 100),
        IndexerShape(queries: 17, heads: 9, depth: 31, keys: 500),
        IndexerShape(queries: 2, heads: 130, depth: 160, keys: 40),
        IndexerShape(queries: 4, heads: 3, depth: 257, keys: 1000),
    ]
}

@Suite("Indexer logits")
struct IndexerTests {
    /// Ranges of every kind: causal, empty, reversed, beyond both ends.
    private func bounds(_ shape: IndexerShape, seed: UInt64) -> (starts: [Int32], ends: [Int32]) {
        var random = RandomNumbers(seed: seed)
        var starts: [Int32] = []
        var ends: [Int32] = []
        for query in 0..<shape.queries {
            let (a, b) = (random.number(below: shape.keys + 1), random.number(below: shape.keys + 1))
            switch query % 5 {
            case 0: (starts, ends) = (starts + [Int32(min(a, b))], ends + [Int32(max(a, b))])
            case 1: (starts, ends) = (starts + [-7], ends + [Int32.max])
            case 2: (starts, ends) = (starts + [Int32(max(a, b))], ends + [Int32(min(a, b))])
            case 3: (starts, ends) = (starts + [0], ends + [Int32(b)])
            default: (starts, ends) = (starts + [Int32(a)], ends + [Int32(shape.keys)])
            }
        }
        return (starts, ends)
    }

    private func visible(_ starts: [Int32], _ ends: [Int32], keys: Int) -> [Range<Int>] {
        zip(starts, ends).map { start, end in
            let low = max(0, min(Int(start), keys))
            return low..<max(low, min(Int(end), keys))
        }
    }

    private func floats(_ bits: [UInt32]) -> [Float] { bits.map { Float(bitPattern: $0) } }

    @Test(
        "Every format agrees with the reference in Double on what it stores, and nearly on what it was given",
        arguments: IndexerShape.all, IndexerMatrix.Format.allCases)
    func reference(shape: IndexerShape, format: IndexerMatrix.Format) throws {
        let (starts, ends) = bounds(shape, seed: 5)
        let seen = visible(starts, ends, keys: shape.keys)
        for level in InstructionSetLevel.available {
            let context = try ComputeContext(threadCount: 2, level: level)
            let query = try IndexerQueryFixture(
                format, count: shape.queries, heads: shape.heads, depth: shape.depth, seed: 1, on: context)
            let keys = try IndexerRows(format, rows: shape.keys, depth: shape.depth, seed: 2, on: context)
            let logits = try GuardedLogits(rows: shape.queries, columns: shape.keys)
            try mqaLogits(
                query.queries, keys: keys.matrix, starts: starts, ends: ends, into: logits.view, on: context)
            let found = floats(logits.bits)
            #expect(logits.isIntact)
            let stored = referenceMQALogits(
                queries: query.rows.decoded, keys: keys.decoded, scales: keys.scales, weights: query.weights,
                headCount: shape.heads, depth: shape.depth, keyCount: shape.keys, visible: seen)
            #expect(indexerDifference(found, stored) < 5e-6)
            // Few numbers may cancel; the originals' limits are for many.
            guard shape.queries * shape.keys >= 500 else { continue }
            let exact = referenceMQALogits(
                queries: query.rows.original, keys: keys.original, weights: query.originalWeights,
                headCount: shape.heads, depth: shape.depth, keyCount: shape.keys, visible: seen)
            #expect(indexerDifference(found, exact) < (format == .float4E2M1 ? 2e-2 : 1e-3))
        }
    }

    @Test("Queries and keys of different formats go together")
    func mixed() throws {
        let shape = IndexerShape(queries: 4, heads: 12, depth: 64, keys: 150)
        let context = try ComputeContext(threadCount: 2)
        let query = try IndexerQueryFixture(
            .float8E4M3, count: shape.queries, heads: shape.heads, depth: shape.depth, seed: 3, on: context)
        let keys = try IndexerRows(.float4E2M1, rows: shape.keys, depth: shape.depth, seed: 4, on: context)
        let logits = try GuardedLogits(rows: shape.queries, columns: shape.keys)
        let (starts, ends) = bounds(shape, seed: 6)
        try mqaLogits(
            query.queries, keys: keys.matrix, starts: starts, ends: ends, into: logits.view, on: context)
        let expected = referenceMQALogits(
            queries: query.rows.decoded, keys: keys.decoded, weights: query.weights, headCount: shape.heads,
            depth: shape.depth, keyCount: shape.keys, visible: visible(starts, ends, keys: shape.keys))
        #expect(indexerDifference(floats(logits.bits), expected) < 5e-6)
    }

    @Test("Without cleaning, what a query does not see is not touched")
    func uncleaned() throws {
        let shape = IndexerShape(queries: 12, heads: 9, depth: 40, keys: 700)
        let context = try ComputeContext(threadCount: 3)
        let query = try IndexerQueryFixture(
            .bfloat16, count: shape.queries, heads: shape.heads, depth: shape.depth, seed: 1, on: context)
        let keys = try IndexerRows(.bfloat16, rows: shape.keys, depth: shape.depth, seed: 2, on: context)
        let (starts, ends) = bounds(shape, seed: 9)
        let clean = try GuardedLogits(rows: shape.queries, columns: shape.keys)
        let raw = try GuardedLogits(rows: shape.queries, columns: shape.keys)
        try mqaLogits(
            query.queries, keys: keys.matrix, starts: starts, ends: ends, into: clean.view, on: context)
        try mqaLogits(
            query.queries, keys: keys.matrix, starts: starts, ends: ends, into: raw.view, cleans: false, on: context)
        let minus = (-Float.infinity).bitPattern
        #expect(raw.bits == clean.bits.map { $0 == minus ? GuardedLogits.poison : $0 } && raw.isIntact)
    }

    @Test("Compressed logits are the same bits, moved to the left")
    func compressed() throws {
        let shape = IndexerShape(queries: 23, heads: 16, depth: 64, keys: 600)
        let context = try ComputeContext(threadCount: 2)
        let query = try IndexerQueryFixture(
            .float8E4M3, count: shape.queries, heads: shape.heads, depth: shape.depth, seed: 1, on: context)
        let keys = try IndexerRows(.float8E4M3, rows: shape.keys, depth: shape.depth, seed: 2, on: context)
        let (starts, ends) = bounds(shape, seed: 4)
        let seen = visible(starts, ends, keys: shape.keys)
        let full = try GuardedLogits(rows: shape.queries, columns: shape.keys)
        try mqaLogits(
            query.queries, keys: keys.matrix, starts: starts, ends: ends, into: full.view, on: context)
        let all = full.bits
        let longest = seen.map(\.count).max() ?? 0
        for (width, cleans) in [(longest, true), (longest, false), (longest + 37, true), (shape.keys, true)] {
            let found = try GuardedLogits(rows: shape.queries, columns: width)
            try mqaLogits(
                query.queries, keys: keys.matrix, starts: starts, ends: ends, into: found.view, cleans: cleans,
                compressedWidth: width, on: context)
            let rest = cleans ? (-Float.infinity).bitPattern : GuardedLogits.poison
            let expected = seen.enumerated().flatMap { row, range in
                range.map { all[row * shape.keys + $0] }
                    + [UInt32](repeating: rest, count: width - range.count)
            }
            #expect(found.bits == expected && found.isIntact)
        }
    }

    @Test("bfloat16 logits and weights: the float32 logits, rounded")
    func bfloat16Logits() throws {
        let shape = IndexerShape(queries: 7, heads: 8, depth: 32, keys: 130)
        let context = try ComputeContext(threadCount: 2)
        let query = try IndexerQueryFixture(
            .float4E2M1, count: shape.queries, heads: shape.heads, depth: shape.depth, seed: 1, on: context)
        let keys = try IndexerRows(.float4E2M1, rows: shape.keys, depth: shape.depth, seed: 2, on: context)
        let (starts, ends) = bounds(shape, seed: 4)
        let short = query.originalWeights.map { BFloat16($0) }
        let memory = GuardedBuffer<UInt16>(short.map(\.bitPattern), filler: 0)
        let wide = GuardedBuffer<Float>(short.map { Float($0) })
        func run(_ weights: UnsafeRawPointer, _ element: FloatRows.Element, into logits: IndexerLogits) throws {
            let rows = try FloatRows(
                weights, element: element, rowCount: shape.queries, columnCount: shape.heads)
            let queries = try IndexerQueries(values: query.rows.matrix, headCount: shape.heads, weights: rows)
            try mqaLogits(queries, keys: keys.matrix, starts: starts, ends: ends, into: logits, on: context)
        }
        let full = try IndexerLogits(rowCount: shape.queries, columnCount: shape.keys)
        #expect(full.rowStride == 256)
        try run(wide.start, .float32, into: full)
        let out = GuardedBuffer<UInt16>(count: shape.queries * shape.keys, repeating: 0x7FD1)
        let view = try IndexerLogits(
            out.start, element: .bfloat16, rowCount: shape.queries, columnCount: shape.keys)
        try run(memory.start, .bfloat16, into: view)
        #expect(out.values == (0..<shape.queries).flatMap { full.row($0) }.map { BFloat16($0).bitPattern })
        #expect(out.isIntact && view[0, 0] == Float(BFloat16(full[0, 0])))
    }

    @Test("A logit has the same bits with any number of threads, in any batch and among any keys")
    func independence() throws {
        let shape = IndexerShape(queries: 13, heads: 40, depth: 72, keys: 1300)
        for level in InstructionSetLevel.available {
            let context = try ComputeContext(threadCount: 1, level: level)
            let query = try IndexerQueryFixture(
                .float32, count: shape.queries, heads: shape.heads, depth: shape.depth, seed: 1, on: context)
            let keys = try IndexerRows(.float32, rows: shape.keys, depth: shape.depth, seed: 2, on: context)
            let all = try GuardedLogits(rows: shape.queries, columns: shape.keys)
            let starts = [Int32](repeating: 0, count: shape.queries)
            let ends = [Int32](repeating: Int32(shape.keys), count: shape.queries)
            try mqaLogits(
                query.queries, keys: keys.matrix, starts: starts, ends: ends, into: all.view, on: context)
            let expected = all.bits
            for threads in 1...4 {
                let team = try ComputeContext(threadCount: threads, level: level)
                for _ in 0..<5 {
                    let again = try GuardedLogits(rows: shape.queries, columns: shape.keys)
                    try mqaLogits(
                        query.queries, keys: keys.matrix, starts: starts, ends: ends, into: again.view, on: team)
                    #expect(again.bits == expected)
                }
            }
            // One query alone, from an odd key on.
            let (row, first) = (5, 641)
            let alone = GuardedBuffer<Float>(
                Array(query.rows.original[row * shape.heads * shape.depth..<(row + 1) * shape.heads * shape.depth]))
            let weights = GuardedBuffer<Float>(
                Array(query.originalWeights[row * shape.heads..<(row + 1) * shape.heads]))
            let one = try IndexerQueries(
                values: IndexerMatrix(
                    FloatRows(alone.start, element: .float32, rowCount: shape.heads, columnCount: shape.depth)),
                headCount: shape.heads,
                weights: FloatRows(weights.start, element: .float32, rowCount: 1, columnCount: shape.heads))
            let part = try GuardedLogits(rows: 1, columns: shape.keys)
            try mqaLogits(
                one, keys: keys.matrix, starts: [Int32(first)], ends: [Int32(shape.keys)], into: part.view,
                on: context)
            #expect(
                Array(part.bits[first...])
                    == Array(expected[row * shape.keys + first..<(row + 1) * shape.keys]))
        }
    }

    @Test("More heads and depth than a thread's scratch memory holds at once")
    func large() throws {
        let context = try ComputeContext(threadCount: 2)
        for shape in [
            IndexerShape(queries: 2, heads: 300, depth: 4000, keys: 20),
            IndexerShape(queries: 1, heads: 33, depth: IndexerMatrix.depthLimit, keys: 14),
        ] {
            let query = try IndexerQueryFixture(
                .bfloat16, count: shape.queries, heads: shape.heads, depth: shape.depth, seed: 1, on: context)
            let keys = try IndexerRows(.bfloat16, rows: shape.keys, depth: shape.depth, seed: 2, on: context)
            let logits = try GuardedLogits(rows: shape.queries, columns: shape.keys)
            let seen = [Range<Int>](repeating: 0..<shape.keys, count: shape.queries)
            try mqaLogits(
                query.queries, keys: keys.matrix, starts: seen.map { Int32($0.lowerBound) },
                ends: seen.map { Int32($0.upperBound) }, into: logits.view, on: context)
            let expected = referenceMQALogits(
                queries: query.rows.decoded, keys: keys.decoded, weights: query.weights, headCount: shape.heads,
                depth: shape.depth, keyCount: shape.keys, visible: seen)
            #expect(indexerDifference(floats(logits.bits), expected) < 5e-6)
        }
    }

    @Test(
        "NaN in keys that nobody sees stays out; in keys that are seen it shows",
        arguments: [
            IndexerMatrix.Format.float32, .float8E4M3,
        ])
    func notANumber(format: IndexerMatrix.Format) throws {
        let (heads, depth, count) = (10, 48, 60)
        let context = try ComputeContext(threadCount: 2)
        let query = try IndexerQueryFixture(format, count: 2, heads: heads, depth: depth, seed: 1, on: context)
        var random = RandomNumbers(seed: 3)
        var numbers = random.normals(count * depth)
        for key in [0, 19, 41, 59] { numbers[key * depth + 7] = .nan }
        let memory = GuardedBuffer<Float>(numbers)
        let rows = try FloatRows(memory.start, element: .float32, rowCount: count, columnCount: depth)
        let keys =
            format == .float32
            ? try IndexerMatrix(rows)
            : try IndexerMatrix(quantizeFloat8(rows, granularity: .perToken(depth), on: context))
        let logits = try GuardedLogits(rows: 2, columns: count)
        try mqaLogits(
            query.queries, keys: keys, starts: [1, 20], ends: [19, 59], into: logits.view, on: context)
        let found = floats(logits.bits)
        for column in 0..<count {
            #expect(found[column].isFinite == (1..<19).contains(column))
            #expect(found[count + column].isNaN == (column == 41))
        }
    }

    @Test("An infinite key gives infinite logits and no NaN, whatever the number of heads")
    func infinity() throws {
        let depth = 12
        let context = try ComputeContext(threadCount: 1)
        for heads in [1, 5, 8, 9, 13, 16, 17] {
            var random = RandomNumbers(seed: UInt64(heads))
            var numbers = random.normals(20 * depth)
            numbers[3 * depth + 4] = .infinity
            numbers[7 * depth + 5] = -.infinity
            let (q, k) = (GuardedBuffer<Float>(random.normals(heads * depth)), GuardedBuffer<Float>(numbers))
            let ones = GuardedBuffer<Float>(count: heads, repeating: 1)
            let queries = try IndexerQueries(
                values: IndexerMatrix(
                    FloatRows(q.start, element: .float32, rowCount: heads, columnCount: depth)),
                headCount: heads,
                weights: FloatRows(ones.start, element: .float32, rowCount: 1, columnCount: heads))
            let keys = try IndexerMatrix(
                FloatRows(k.start, element: .float32, rowCount: 20, columnCount: depth))
            let logits = try GuardedLogits(rows: 1, columns: 20)
            try mqaLogits(queries, keys: keys, starts: [0], ends: [20], into: logits.view, on: context)
            let expected = referenceMQALogits(
                queries: q.values, keys: numbers, weights: ones.values, headCount: heads, depth: depth,
                keyCount: 20, visible: [0..<20])
            for (found, wanted) in zip(floats(logits.bits), expected) {
                #expect(wanted.isInfinite ? Double(found) == wanted : abs(Double(found) - wanted) < 1e-5)
            }
        }
    }

    @Test("No queries, no keys, no depth")
    func empty() throws {
        let context = try ComputeContext(threadCount: 2)
        for (queries, depth, count) in [(0, 8, 5), (3, 8, 0), (3, 0, 5)] {
            let query = try IndexerQueryFixture(
                .float8E4M3, count: queries, heads: 4, depth: depth, seed: 1, on: context)
            let keys = try IndexerRows(.float8E4M3, rows: count, depth: depth, seed: 2, on: context)
            let logits = try GuardedLogits(rows: queries, columns: count)
            try mqaLogits(
                query.queries, keys: keys.matrix, starts: [Int32](repeating: 0, count: queries),
                ends: [Int32](repeating: 9, count: queries), into: logits.view, on: context)
            #expect(floats(logits.bits).allSatisfy { $0 == 0 })
            // In compressed mode there are columns without any key.
            let wide = try GuardedLogits(rows: queries, columns: 7)
            try mqaLogits(
                query.queries, keys: keys.matrix, starts: [Int32](repeating: 0, count: queries),
                ends: [Int32](repeating: 0, count: queries), into: wide.view, compressedWidth: 7, on: context)
            #expect(floats(wide.bits).allSatisfy { $0 == -.infinity })
        }
    }

    @Test("Misuse is refused, naming what is legal")
    func misuse() throws {
        let context = try ComputeContext(threadCount: 1)
        let query = try IndexerQueryFixture(
            .float8E4M3, count: 2, heads: 4, depth: 32, seed: 1, on: context)
        let keys = try IndexerRows(.float8E4M3, rows: 10, depth: 32, seed: 2, on: context)
        let logits = try IndexerLogits(rowCount: 2, columnCount: 10)
        func run(
            _ keys: IndexerMatrix, _ starts: [Int32], _ ends: [Int32], _ logits: IndexerLogits, width: Int? = nil
        ) throws(FathomError) {
            try mqaLogits(
                query.queries, keys: keys, starts: starts, ends: ends, into: logits, compressedWidth: width,
                on: context)
        }
        let deep = try IndexerRows(.float32, rows: 10, depth: 33, seed: 2, on: context).matrix
        expectFailure(.usage, naming: ["32", "33"]) { () throws(FathomError) in
            try run(deep, [0, 0], [9, 9], logits)
        }
        expectFailure(.usage, naming: ["1 starts", "2 queries"]) { () throws(FathomError) in
            try run(keys.matrix, [0], [9, 9], logits)
        }
        expectFailure(.usage, naming: ["[2, 10]", "[2, 4]"]) { () throws(FathomError) in
            try run(keys.matrix, [0, 0], [9, 9], logits, width: 4)
        }
        let narrow = try IndexerLogits(rowCount: 2, columnCount: 4)
        expectFailure(.usage, naming: ["query 1", "2..<9", "4"]) { () throws(FathomError) in
            try run(keys.matrix, [0, 2], [4, 9], narrow, width: 4)
        }
        let weights = query.queries.weights
        expectFailure(.usage, naming: ["8 query rows", "3 heads"]) { () throws(FathomError) in
            let three = try AlignedBuffer<Float>(count: 6, purpose: "test")
            _ = try IndexerQueries(
                values: query.rows.matrix, headCount: 3,
                weights: FloatRows(three, rowCount: 2, columnCount: 3))
        }
        expectFailure(.usage, naming: ["4 columns", "8 heads"]) { () throws(FathomError) in
            _ = try IndexerQueries(values: query.rows.matrix, headCount: 8, weights: weights)
        }
        let buffer = try AlignedBuffer<Float>(count: 64 * 4, purpose: "test")
        buffer.baseAddress[0] = 1
        let rows = try FloatRows(buffer, rowCount: 4, columnCount: 64)
        expectFailure(.usage, naming: ["1×32", "1×64"]) { () throws(FathomError) in
            _ = try IndexerMatrix(quantizeFloat8(rows, granularity: .perToken(32), on: context))
        }
        expectFailure(.usage, naming: ["1×16", "1×32"]) { () throws(FathomError) in
            _ = try IndexerMatrix(quantizeFloat4(rows, granularity: .perToken(16), on: context))
        }
        expectFailure(.badData, naming: ["row 0", "block 0", "power of two"]) { () throws(FathomError) in
            _ = try IndexerMatrix(quantizeFloat4(rows, powerOfTwoScales: false, on: context))
        }
    }
}
