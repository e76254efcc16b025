// SPDX-License-Identifier: MIT

import DeepGEMM
import KernelDispatch
import LowPrecision
import Platform
import Tensors
import TestSupport
import Testing

/// One batch over a paged cache.
struct PagedIndexerCase: Sendable, CustomTestStringConvertible {
    var format: IndexerMatrix.Format
    var blockSize: Int
    var heads: Int
    var depth: Int
    var queriesPerRequest: Int
    var lengths: [Int32]
    var testDescription: String {
        "\(format), blocks of \(blockSize), h \(heads), d \(depth), next_n \(queriesPerRequest), \(lengths)"
    }

    static let all = [
        PagedIndexerCase(
            format: .float8E4M3, blockSize: 64, heads: 64, depth: 128, queriesPerRequest: 1,
            lengths: [700, 0, 1, 64, 65, 300]),
        PagedIndexerCase(
            format: .float8E4M3, blockSize: 1, heads: 5, depth: 31, queriesPerRequest: 2, lengths: [40, 3, 1, 0]),
        PagedIndexerCase(
            format: .float4E2M1, blockSize: 32, heads: 16, depth: 128, queriesPerRequest: 3,
            lengths: [2, 600, 33]),
        PagedIndexerCase(
            format: .float4E2M1, blockSize: 7, heads: 9, depth: 37, queriesPerRequest: 1, lengths: [90, 13]),
        PagedIndexerCase(
            format: .bfloat16, blockSize: 48, heads: 33, depth: 64, queriesPerRequest: 4, lengths: [515, 4, 2]),
        PagedIndexerCase(
            format: .float32, blockSize: 256, heads: 8, depth: 20, queriesPerRequest: 11, lengths: [257, 30, 5]),
    ]
}

/// A cache whose blocks were handed out at random, in memory that is poisoned where nothing was stored.
struct PagedIndexerFixture {
    let query: IndexerQueryFixture
    let cache: PagedIndexerCache
    let memory: GuardedBuffer<UInt8>
    /// [requests, columns] with garbage beyond each request's blocks.
    let table: IndexerBlockTable
    let lengths: IndexerContextLengths
    /// Each request's keys as drawn, [length, depth].
    let keys: [[Float]]

    init(_ test: PagedIndexerCase, on context: ComputeContext) throws {
        query = try IndexerQueryFixture(
            test.format, count: test.lengths.count * test.queriesPerRequest, heads: test.heads, depth: test.depth,
            seed: 1, on: context)
        lengths = try IndexerContextLengths(
            perRequest: test.lengths, queriesPerRequest: test.queriesPerRequest)
        let counts = test.lengths.map { (Int($0) + test.blockSize - 1) / test.blockSize }
        let blockCount = counts.reduce(0, +) + 5
        let columns = (counts.max() ?? 0) + 2
        var random = RandomNumbers(seed: 2)
        var free = Array(0..<blockCount).shuffled(using: &random)
        let bytes = try PagedIndexerCache.blockByteCount(
            test.format, blockCount: blockCount, blockSize: test.blockSize, depth: test.depth)
        // 0xFF is NaN in E4M3, in UE8M0, and four or two of them are in float32 and bfloat16.
        memory = GuardedBuffer(count: blockCount * bytes, repeating: 0xFF)
        cache = try PagedIndexerCache(
            memory.start, format: test.format, blockCount: blockCount, blockSize: test.blockSize,
            depth: test.depth)
        var entries: [Int32] = []
        var keys: [[Float]] = []
        for (length, count) in zip(test.lengths, counts) {
            let blocks = (0..<count).map { _ in free.removeLast() }
            entries += blocks.map { Int32($0) } + [Int32](repeating: 2_147_480_000, count: columns - count)
            let numbers = random.normals(Int(length) * test.depth)
            let slots = (0..<Int(length)).map {
                blocks[$0 / test.blockSize] * test.blockSize + $0 % test.blockSize
            }
            let rows = GuardedBuffer<Float>(numbers)
            try cache.store(
                FloatRows(rows.start, element: .float32, rowCount: Int(length), columnCount: test.depth),
                slots: slots, on: context)
            keys.append(numbers)
        }
        table = try IndexerBlockTable(entries, columnCount: columns)
        self.keys = keys
    }
}

@Suite("Paged indexer logits")
struct IndexerPagedTests {
    private func run(
        _ fixture: PagedIndexerFixture, width: Int, schedule: IndexerSchedule? = nil, cleans: Bool = true,
        on context: ComputeContext
    ) throws -> GuardedLogits {
        let logits = try GuardedLogits(rows: fixture.query.queries.queryCount, columns: width)
        try pagedMQALogits(
            fixture.query.queries, cache: fixture.cache, lengths: fixture.lengths, table: fixture.table,
            schedule: schedule, into: logits.view, cleans: cleans, on: context)
        return logits
    }

    @Test(
        "Each request's logits are those of the plain form over its keys, bit for bit, and −∞ beyond",
        arguments: PagedIndexerCase.all)
    func plain(test: PagedIndexerCase) throws {
        for level in InstructionSetLevel.available {
            let context = try ComputeContext(threadCount: 3, level: level)
            let fixture = try PagedIndexerFixture(test, on: context)
            let width = Int(test.lengths.max() ?? 0) + 9
            let found = try run(fixture, width: width, on: context)
            #expect(found.isIntact && fixture.memory.isIntact)
            let bits = found.bits
            let minus = (-Float.infinity).bitPattern
            for (request, numbers) in fixture.keys.enumerated() {
                let length = Int(test.lengths[request])
                let rows = GuardedBuffer<Float>(numbers)
                let floats = try FloatRows(
                    rows.start, element: .float32, rowCount: length, columnCount: test.depth)
                let halves = GuardedBuffer<UInt16>(numbers.map { BFloat16($0).bitPattern }, filler: 0)
                let keys =
                    switch test.format {
                    case .float32: try IndexerMatrix(floats)
                    case .bfloat16:
                        try IndexerMatrix(
                            FloatRows(
                                halves.start, element: .bfloat16, rowCount: length, columnCount: test.depth))
                    case .float8E4M3:
                        try IndexerMatrix(quantizeFloat8(floats, granularity: .perToken(test.depth), on: context))
                    case .float4E2M1: try IndexerMatrix(quantizeFloat4(floats, on: context))
                    }
                // All queries of the batch against this request's keys: only its own are compared.
                let ends = (0..<fixture.query.queries.queryCount).map { row in
                    Int32(length - test.queriesPerRequest + row % test.queriesPerRequest + 1)
                }
                let expected = try GuardedLogits(rows: ends.count, columns: length)
                try mqaLogits(
                    fixture.query.queries, keys: keys, starts: ends.map { _ in 0 }, ends: ends,
                    into: expected.view, on: context)
                let all = expected.bits
                for row in request * test.queriesPerRequest..<(request + 1) * test.queriesPerRequest {
                    let line = Array(bits[row * width..<(row + 1) * width])
                    #expect(Array(line[..<length]) == Array(all[row * length..<(row + 1) * length]))
                    #expect(line[length...].allSatisfy { $0 == minus })
                }
            }
        }
    }

    @Test("The schedule and the threads change no bit; without cleaning the rest is not touched")
    func schedules() throws {
        let test = PagedIndexerCase(
            format: .float8E4M3, blockSize: 64, heads: 12, depth: 64, queriesPerRequest: 2,
            lengths: [1500, 0, 3, 257, 256, 900])
        var seen: Set<[UInt32]> = []
        for threads in [1, 3] {
            let context = try ComputeContext(threadCount: threads)
            let fixture = try PagedIndexerFixture(test, on: context)
            for shares in [1, 2, 3, 7, 16, 200] {
                let schedule = try IndexerSchedule(fixture.lengths, shareCount: shares)
                let found = try run(fixture, width: 1500, schedule: schedule, on: context)
                #expect(found.isIntact)
                seen.insert(found.bits)
            }
            for _ in 0..<20 { seen.insert(try run(fixture, width: 1500, on: context).bits) }
            let raw = try run(fixture, width: 1500, cleans: false, on: context)
            let minus = (-Float.infinity).bitPattern
            #expect(raw.bits == seen.first?.map { $0 == minus ? GuardedLogits.poison : $0 } && raw.isIntact)
        }
        #expect(seen.count == 1)
    }

    @Test("A length per query")
    func perQuery() throws {
        let test = PagedIndexerCase(
            format: .bfloat16, blockSize: 16, heads: 4, depth: 32, queriesPerRequest: 2, lengths: [100, 60])
        let context = try ComputeContext(threadCount: 2)
        let fixture = try PagedIndexerFixture(test, on: context)
        let full = try run(fixture, width: 100, on: context).bits.map { Float(bitPattern: $0) }
        let lengths = try IndexerContextLengths(perQuery: [17, 99, 0, 60], queriesPerRequest: 2)
        #expect(lengths.requestCount == 2 && lengths.visible == [17, 99, 0, 60])
        let logits = try GuardedLogits(rows: 4, columns: 100)
        try pagedMQALogits(
            fixture.query.queries, cache: fixture.cache, lengths: lengths, table: fixture.table,
            into: logits.view, on: context)
        let found = logits.bits.map { Float(bitPattern: $0) }
        for row in 0..<4 {
            for column in 0..<100 {
                let expected = column < lengths.visible[row] ? full[row * 100 + column] : -.infinity
                #expect(found[row * 100 + column] == expected)
            }
        }
    }

    @Test("The fused block has all values first and then all scales")
    func layout() throws {
        let context = try ComputeContext(threadCount: 1)
        let (depth, size) = (40, 3)
        var random = RandomNumbers(seed: 9)
        let numbers = random.normals(2 * depth)
        let rows = GuardedBuffer<Float>(numbers)
        let keys = try FloatRows(rows.start, element: .float32, rowCount: 2, columnCount: depth)
        for format in [IndexerMatrix.Format.float8E4M3, .float4E2M1] {
            let rowBytes = format.byteCount(depth: depth)
            let memory = GuardedBuffer<UInt8>(count: 2 * size * (rowBytes + 4), repeating: 0xAB)
            let cache = try PagedIndexerCache(
                memory.start, format: format, blockCount: 2, blockSize: size, depth: depth)
            try cache.store(keys, slots: [5, 1], on: context)
            let bytes = memory.values
            let matrix =
                format == .float8E4M3
                ? try quantizeFloat8(keys, granularity: .perToken(depth), on: context)
                : try quantizeFloat4(keys, on: context)
            for (key, slot) in [5, 1].enumerated() {
                let start = slot / size * size * (rowBytes + 4)
                let values = start + slot % size * rowBytes
                let scale = start + size * rowBytes + slot % size * 4
                let codes = (0..<rowBytes).map { matrix.codes.baseAddress[key * rowBytes + $0] }
                #expect(Array(bytes[values..<values + rowBytes]) == codes)
                let word = (0..<4).reduce(UInt32(0)) { $0 | UInt32(bytes[scale + $1]) << UInt32(8 * $1) }
                if format == .float8E4M3 {
                    #expect(word == matrix.scales[key, 0].bitPattern)
                } else {
                    let codes = (0..<2).map { UE8M0(exactly: matrix.scales[key, $0])?.bitPattern ?? 255 }
                    #expect(word == UInt32(codes[0]) | UInt32(codes[1]) << 8)
                }
            }
            // Four of the six slots were not stored to.
            #expect(bytes.filter { $0 == 0xAB }.count >= 4 * (rowBytes + 4))
        }
    }

    @Test("Shares of a schedule differ by one segment at most and cover everything once")
    func scheduleShares() throws {
        for (lengths, shares) in [
            ([Int32](repeating: 1000, count: 7), 4), ([0, 0, 5000, 1], 6), ([1], 3), ([], 2), ([300, 256, 257], 100),
        ] as [([Int32], Int)] {
            let schedule = try IndexerSchedule(
                IndexerContextLengths(perRequest: lengths), shareCount: shares)
            #expect(schedule.shareCount == shares)
            #expect(schedule.segmentCounts == lengths.map { max(1, (Int($0) + 255) / 256) })
            let before = schedule.segmentCounts.indices.map { schedule.segmentCounts[..<$0].reduce(0, +) }
            let total = schedule.segmentCounts.reduce(0, +)
            let flat = schedule.starts.map { $0.request < before.count ? before[$0.request] + $0.segment : total }
            #expect(flat.first == 0 && flat.last == total)
            let sizes = zip(flat, flat.dropFirst()).map { $1 - $0 }
            #expect((sizes.max() ?? 0) - (sizes.min() ?? 0) <= 1 && sizes.allSatisfy { $0 >= 0 })
        }
    }

    @Test("Misuse is refused, naming what is legal, before anything is written")
    func misuse() throws {
        let test = PagedIndexerCase(
            format: .float8E4M3, blockSize: 16, heads: 4, depth: 32, queriesPerRequest: 1, lengths: [40, 20])
        let context = try ComputeContext(threadCount: 1)
        let fixture = try PagedIndexerFixture(test, on: context)
        let logits = try GuardedLogits(rows: 2, columns: 40)
        func attempt(
            lengths: IndexerContextLengths? = nil, table: IndexerBlockTable? = nil,
            schedule: IndexerSchedule? = nil, into view: IndexerLogits? = nil
        ) throws(FathomError) {
            try pagedMQALogits(
                fixture.query.queries, cache: fixture.cache, lengths: lengths ?? fixture.lengths,
                table: table ?? fixture.table, schedule: schedule, into: view ?? logits.view, on: context)
        }
        var entries = fixture.table.entries
        for bad in [Int32.min, -1, Int32(fixture.cache.blockCount), .max] {
            entries[fixture.table.columnCount + 1] = bad
            let table = try IndexerBlockTable(entries, columnCount: fixture.table.columnCount)
            expectFailure(.usage, naming: ["request 1", "entry 1", "\(bad)", "0..<\(fixture.cache.blockCount)"]) {
                () throws(FathomError) in try attempt(table: table)
            }
        }
        expectFailure(.usage, naming: ["request 0", "41", "40 columns"]) { () throws(FathomError) in
            try attempt(lengths: IndexerContextLengths(perRequest: [41, 20]))
        }
        expectFailure(.usage, naming: ["request 0", "3 blocks", "has 1"]) { () throws(FathomError) in
            try attempt(table: IndexerBlockTable([0, 1], columnCount: 1))
        }
        expectFailure(.usage, naming: ["1 rows", "2 requests"]) { () throws(FathomError) in
            try attempt(table: IndexerBlockTable([0, 1, 2], columnCount: 3))
        }
        expectFailure(.usage, naming: ["3 entries", "2 a row"]) { () throws(FathomError) in
            _ = try IndexerBlockTable([0, 1, 2], columnCount: 2)
        }
        expectFailure(.usage, naming: ["schedule"]) { () throws(FathomError) in
            try attempt(
                schedule: IndexerSchedule(IndexerContextLengths(perRequest: [400, 20]), shareCount: 3))
        }
        expectFailure(.usage, naming: ["2 queries", "3 requests"]) { () throws(FathomError) in
            try attempt(lengths: IndexerContextLengths(perRequest: [1, 2, 3]))
        }
        expectFailure(.usage, naming: ["-3", "index 1"]) { () throws(FathomError) in
            _ = try IndexerContextLengths(perRequest: [5, -3])
        }
        expectFailure(.usage, naming: ["3 context lengths", "2 queries"]) { () throws(FathomError) in
            _ = try IndexerContextLengths(perQuery: [5, 3, 1], queriesPerRequest: 2)
        }
        expectFailure(.usage, naming: ["0 shares"]) { () throws(FathomError) in
            _ = try IndexerSchedule(fixture.lengths, shareCount: 0)
        }
        expectFailure(.usage, naming: ["depth 129", "128"]) { () throws(FathomError) in
            _ = try PagedIndexerCache(format: .float4E2M1, blockCount: 1, depth: 129)
        }
        expectFailure(.usage, naming: ["0 tokens"]) { () throws(FathomError) in
            _ = try PagedIndexerCache(format: .float8E4M3, blockCount: 1, blockSize: 0, depth: 8)
        }
        let key = try AlignedBuffer<Float>(count: 32, purpose: "test")
        let rows = try FloatRows(key, rowCount: 1, columnCount: 32)
        for slot in [-1, fixture.cache.blockCount * 16] {
            expectFailure(.usage, naming: ["slot \(slot)", "0..<"]) { () throws(FathomError) in
                try fixture.cache.store(rows, slots: [slot], on: context)
            }
        }
        #expect(logits.bits.allSatisfy { $0 == GuardedLogits.poison })
    }
}
