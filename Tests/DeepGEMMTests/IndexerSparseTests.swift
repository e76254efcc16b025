// SPDX-License-Identifier: MIT

import DeepGEMM
import KernelDispatch
import LowPrecision
import Platform
import TestSupport
import Testing

/// One call of the sparse indexer.
struct SparseIndexerCase: Sendable, CustomTestStringConvertible {
    var format: IndexerMatrix.Format
    var shape: IndexerShape
    var blockSize: Int
    var blocksPerRow: Int
    var testDescription: String { "\(format), \(shape.testDescription), \(blocksPerRow) blocks of \(blockSize)" }

    /// The originals' blocks of 8 and 16 with their heads and depths, and odd ones.
    static let all = [
        SparseIndexerCase(
            format: .float8E4M3, shape: IndexerShape(queries: 6, heads: 64, depth: 128, keys: 1000), blockSize: 16,
            blocksPerRow: 40),
        SparseIndexerCase(
            format: .float4E2M1, shape: IndexerShape(queries: 7, heads: 32, depth: 64, keys: 700), blockSize: 8,
            blocksPerRow: 70),
        SparseIndexerCase(
            format: .float8E4M3, shape: IndexerShape(queries: 11, heads: 7, depth: 33, keys: 211), blockSize: 8,
            blocksPerRow: 27),
        SparseIndexerCase(
            format: .float4E2M1, shape: IndexerShape(queries: 5, heads: 9, depth: 37, keys: 90), blockSize: 16,
            blocksPerRow: 9),
        SparseIndexerCase(
            format: .bfloat16, shape: IndexerShape(queries: 10, heads: 17, depth: 96, keys: 300), blockSize: 1,
            blocksPerRow: 310),
        SparseIndexerCase(
            format: .float32, shape: IndexerShape(queries: 9, heads: 24, depth: 70, keys: 1000), blockSize: 300,
            blocksPerRow: 4),
    ]
}

@Suite("Sparse indexer logits")
struct IndexerSparseTests {
    /// Lists of every kind: in order, shuffled, with repeats and holes, short, empty, full.
    private func lists(
        rows: Int, keys: Int, blockSize: Int, blocksPerRow: Int, seed: UInt64
    ) throws -> IndexerBlockLists {
        var random = RandomNumbers(seed: seed)
        let blocks = (keys + blockSize - 1) / blockSize
        var entries: [Int32] = []
        for row in 0..<rows {
            var list = (0..<blocksPerRow).map { _ in Int32(random.number(below: blocks)) }
            switch row % 5 {
            case 0: list = (0..<blocksPerRow).map { $0 < blocks ? Int32($0) : -1 }
            case 1: list = list.map { random.number(below: 3) == 0 ? -1 : $0 }
            case 2: list = list.enumerated().map { $0.offset < 3 ? $0.element : -1 }
            case 3: list = row % 2 == 0 ? list.map { _ in -1 } : list.sorted()
            default: break
            }
            entries += list
        }
        return try IndexerBlockLists(entries, rowCount: rows, blocksPerRow: blocksPerRow, blockSize: blockSize)
    }

    private func bounds(_ shape: IndexerShape) -> (starts: [Int32], ends: [Int32]) {
        var random = RandomNumbers(seed: 77)
        let pairs = (0..<shape.queries).map { query -> (Int32, Int32) in
            let (a, b) = (random.number(below: shape.keys + 1), random.number(below: shape.keys + 1))
            return query % 4 == 0 ? (-5, Int32.max) : query % 4 == 1 ? (9, 3) : (Int32(min(a, b)), Int32(max(a, b)))
        }
        return (pairs.map(\.0), pairs.map(\.1))
    }

    @Test(
        "Listed tokens have the plain form's bits at every instruction-set level, the rest is −∞",
        arguments: SparseIndexerCase.all)
    func plain(test: SparseIndexerCase) throws {
        let shape = test.shape
        let lists = try lists(
            rows: shape.queries, keys: shape.keys, blockSize: test.blockSize, blocksPerRow: test.blocksPerRow, seed: 3)
        let (starts, ends) = bounds(shape)
        for level in InstructionSetLevel.available {
            let context = try ComputeContext(threadCount: 3, level: level)
            let query = try IndexerQueryFixture(
                test.format, count: shape.queries, heads: shape.heads, depth: shape.depth, seed: 1, on: context)
            let keys = try IndexerRows(test.format, rows: shape.keys, depth: shape.depth, seed: 2, on: context)
            let dense = try GuardedLogits(rows: shape.queries, columns: shape.keys)
            try mqaLogits(
                query.queries, keys: keys.matrix, starts: starts, ends: ends, into: dense.view, on: context)
            let expected = referenceSparseLogits(
                dense.bits.map { Float(bitPattern: $0) }, keyCount: shape.keys, lists: lists)
            #expect(expected.contains { $0.isFinite } && expected.contains(-.infinity))
            let found = try GuardedLogits(rows: shape.queries, columns: lists.columnCount)
            try sparseMQALogits(
                query.queries, keys: keys.matrix, lists: lists, starts: starts, ends: ends, into: found.view,
                on: context)
            #expect(found.bits == expected.map(\.bitPattern) && found.isIntact)
        }
    }

    @Test("The reference in Double agrees")
    func reference() throws {
        let test = SparseIndexerCase.all[0]
        let shape = test.shape
        let context = try ComputeContext(threadCount: 2)
        let lists = try lists(
            rows: shape.queries, keys: shape.keys, blockSize: 16, blocksPerRow: test.blocksPerRow, seed: 4)
        let query = try IndexerQueryFixture(
            .float8E4M3, count: shape.queries, heads: shape.heads, depth: shape.depth, seed: 1, on: context)
        let keys = try IndexerRows(.float8E4M3, rows: shape.keys, depth: shape.depth, seed: 2, on: context)
        let dense = referenceMQALogits(
            queries: query.rows.decoded, keys: keys.decoded, scales: keys.scales, weights: query.weights,
            headCount: shape.heads, depth: shape.depth, keyCount: shape.keys,
            visible: [Range<Int>](repeating: 0..<shape.keys, count: shape.queries))
        let logits = try GuardedLogits(rows: shape.queries, columns: lists.columnCount)
        try sparseMQALogits(query.queries, keys: keys.matrix, lists: lists, into: logits.view, on: context)
        let expected = referenceSparseLogits(dense, keyCount: shape.keys, lists: lists)
        #expect(indexerDifference(logits.bits.map { Float(bitPattern: $0) }, expected) < 5e-6)
    }

    @Test("bfloat16 logits are the float32 logits, rounded")
    func bfloat16Logits() throws {
        let shape = IndexerShape(queries: 5, heads: 8, depth: 32, keys: 130)
        let context = try ComputeContext(threadCount: 2)
        let lists = try lists(rows: 5, keys: 130, blockSize: 8, blocksPerRow: 12, seed: 8)
        let query = try IndexerQueryFixture(.float4E2M1, count: 5, heads: 8, depth: 32, seed: 1, on: context)
        let keys = try IndexerRows(.float4E2M1, rows: shape.keys, depth: 32, seed: 2, on: context)
        let full = try GuardedLogits(rows: 5, columns: 96)
        try sparseMQALogits(query.queries, keys: keys.matrix, lists: lists, into: full.view, on: context)
        let out = GuardedBuffer<UInt16>(count: 5 * 96, repeating: 0x7FD1)
        try sparseMQALogits(
            query.queries, keys: keys.matrix, lists: lists,
            into: IndexerLogits(out.start, element: .bfloat16, rowCount: 5, columnCount: 96), on: context)
        #expect(out.values == full.bits.map { BFloat16(Float(bitPattern: $0)).bitPattern } && out.isIntact)
    }

    @Test("The paged form has the bits of the paged plain form, with blocks that cross pages", arguments: [8, 16, 5])
    func paged(blockSize: Int) throws {
        for test in PagedIndexerCase.all {
            for level in InstructionSetLevel.available {
                let context = try ComputeContext(threadCount: 2, level: level)
                let fixture = try PagedIndexerFixture(test, on: context)
                let rows = fixture.query.queries.queryCount
                let width = fixture.table.columnCount * test.blockSize
                let dense = try GuardedLogits(rows: rows, columns: width)
                try pagedMQALogits(
                    fixture.query.queries, cache: fixture.cache, lengths: fixture.lengths, table: fixture.table,
                    into: dense.view, on: context)
                let lists = try lists(
                    rows: rows, keys: width, blockSize: blockSize, blocksPerRow: width / blockSize + 1, seed: 5)
                let found = try GuardedLogits(rows: rows, columns: lists.columnCount)
                try pagedSparseMQALogits(
                    fixture.query.queries, cache: fixture.cache, lengths: fixture.lengths, table: fixture.table,
                    lists: lists, into: found.view, on: context)
                let expected = referenceSparseLogits(
                    dense.bits.map { Float(bitPattern: $0) }, keyCount: width, lists: lists)
                #expect(found.bits == expected.map(\.bitPattern) && found.isIntact, "\(test.testDescription)")
            }
        }
    }

    @Test("The schedule and the threads change no bit")
    func schedules() throws {
        let shape = IndexerShape(queries: 7, heads: 12, depth: 64, keys: 3000)
        let lists = try lists(rows: 7, keys: 3000, blockSize: 16, blocksPerRow: 180, seed: 6)
        var seen: Set<[UInt32]> = []
        for threads in [1, 3] {
            let context = try ComputeContext(threadCount: threads)
            let query = try IndexerQueryFixture(
                .float8E4M3, count: 7, heads: 12, depth: 64, seed: 1, on: context)
            let keys = try IndexerRows(.float8E4M3, rows: shape.keys, depth: 64, seed: 2, on: context)
            for shares in [nil, 1, 2, 3, 7, 16, 200] as [Int?] {
                let schedule = try shares.map { try IndexerSchedule(lists, shareCount: $0) }
                let found = try GuardedLogits(rows: 7, columns: lists.columnCount)
                try sparseMQALogits(
                    query.queries, keys: keys.matrix, lists: lists, schedule: schedule, into: found.view, on: context)
                #expect(found.isIntact)
                seen.insert(found.bits)
            }
        }
        #expect(seen.count == 1)
    }

    @Test("Top-k of them, mapped back, is top-k of all logits where the lists name every block")
    func tokens() throws {
        let context = try ComputeContext(threadCount: 2)
        let (queries, keys, size) = (4, 203, 8)
        let query = try IndexerQueryFixture(.float8E4M3, count: queries, heads: 8, depth: 64, seed: 1, on: context)
        let rows = try IndexerRows(.float8E4M3, rows: keys, depth: 64, seed: 2, on: context)
        var random = RandomNumbers(seed: 4)
        let blocks = (keys + size - 1) / size
        let list = (0..<blocks).map { Int32($0) } + [-1, -1]
        var shuffled: [Int32] = []
        for _ in 0..<queries { shuffled += list.shuffled(using: &random) }
        let lists = try IndexerBlockLists(shuffled, rowCount: queries, blocksPerRow: blocks + 2, blockSize: size)
        let all = try IndexerLogits(rowCount: queries, columnCount: keys)
        try mqaLogits(
            query.queries, keys: rows.matrix, starts: [0, 0, 0, 0], ends: [203, 40, 7, 0], into: all, on: context)
        let some = try IndexerLogits(rowCount: queries, columnCount: lists.columnCount)
        try sparseMQALogits(
            query.queries, keys: rows.matrix, lists: lists, ends: [203, 40, 7, 0], into: some, on: context)
        let found = try lists.tokens(ofColumns: topK(some, count: 25, on: context))
        #expect(found == (try topK(all, count: 25, on: context)))
        #expect(found.contains(-1))
        expectFailure(.usage, naming: ["row 1", "column \(lists.columnCount)"]) { () throws(FathomError) in
            _ = try lists.tokens(ofColumns: [0, -1, 1, Int32(lists.columnCount), 0, 0, 0, 0])
        }
        expectFailure(.usage, naming: ["5 columns", "4 rows"]) { () throws(FathomError) in
            _ = try lists.tokens(ofColumns: [0, 0, 0, 0, 0])
        }
    }

    @Test("Misuse is an error that names what does not fit, and nothing is written")
    func misuse() throws {
        let context = try ComputeContext(threadCount: 1)
        let query = try IndexerQueryFixture(.bfloat16, count: 2, heads: 3, depth: 16, seed: 1, on: context)
        let keys = try IndexerRows(.bfloat16, rows: 100, depth: 16, seed: 2, on: context)
        let logits = try GuardedLogits(rows: 2, columns: 24)
        func attempt(
            _ entries: [Int32] = [0, 1, 2, 3, 4, 5], rows: Int = 2, size: Int = 8, starts: [Int32]? = nil,
            ends: [Int32]? = nil, shares: IndexerSchedule? = nil
        ) throws(FathomError) {
            try sparseMQALogits(
                query.queries, keys: keys.matrix,
                lists: IndexerBlockLists(entries, rowCount: rows, blocksPerRow: 3, blockSize: size), starts: starts,
                ends: ends, schedule: shares, into: logits.view, on: context)
        }
        expectFailure(.usage, naming: ["list 1", "entry 2", "-2"]) { () throws(FathomError) in
            try attempt([0, 1, 2, 3, 4, -2])
        }
        expectFailure(.usage, naming: ["list 1", "entry 0", "block 13", "0..<13"]) { () throws(FathomError) in
            try attempt([0, 1, 2, 13, 4, 5])
        }
        expectFailure(.usage, naming: ["5 entries", "6 is legal"]) { () throws(FathomError) in
            try attempt([0, 1, 2, 3, 4])
        }
        expectFailure(.usage, naming: ["3 block lists", "2 queries"]) { () throws(FathomError) in
            try attempt([0, 1, 2, 3, 4, 5, 6, 7, 8], rows: 3)
        }
        expectFailure(.usage, naming: ["blocks of 0"]) { () throws(FathomError) in try attempt(size: 0) }
        expectFailure(.usage, naming: ["[2, 24]", "[2, 48]"]) { () throws(FathomError) in try attempt(size: 16) }
        expectFailure(.usage, naming: ["1 starts"]) { () throws(FathomError) in try attempt(starts: [1]) }
        expectFailure(.usage, naming: ["3 ends"]) { () throws(FathomError) in try attempt(ends: [1, 2, 3]) }
        expectFailure(.usage, naming: ["schedule", "other block lists"]) { () throws(FathomError) in
            let long = try IndexerBlockLists([9], rowCount: 1, blocksPerRow: 1, blockSize: 1)
            try attempt(shares: IndexerSchedule(long, shareCount: 1))
        }
        #expect(logits.bits.allSatisfy { $0 == GuardedLogits.poison })
        try attempt()
        #expect(!logits.bits.contains(GuardedLogits.poison))
    }
}
