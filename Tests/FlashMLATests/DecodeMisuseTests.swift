// SPDX-License-Identifier: MIT

import FlashMLA
import KernelDispatch
import Platform
import Tensors
import TestSupport
import Testing

/// One breach of a rule, and what the error has to name.
struct DecodeBreach: Sendable, CustomStringConvertible {
    var description: String
    var words: [String]
    var commit: @Sendable (inout DecodeMisuse) -> Void

    static let all: [DecodeBreach] = queries + cache + sequences + results + schedules

    private static let queries: [DecodeBreach] = [
        .init(description: "query type", words: ["queries", "F16", "F32", "BF16"]) { $0.queries.scalarType = .float16 },
        .init(description: "query width", words: ["queries are 7 wide", "8", "equal"]) { $0.queries.width = 7 },
        .init(description: "no width", words: ["queries", "0 wide", "1 to"]) { $0.queries.width = 0 },
        .init(description: "too wide", words: ["queries", "5000 wide", "1 to 4064"]) { $0.queries.width = 5000 },
        .init(description: "no tokens", words: ["queries", "query tokens of a request: 0", "1 to"]) {
            $0.queries.tokenCount = 0
        },
        .init(description: "negative requests", words: ["queries", "-1 requests", "0 to"]) {
            $0.queries.requestCount = -1
        },
        .init(description: "query heads", words: ["4 query heads", "3 key heads", "divide"]) {
            $0.cache.keyHeadCount = 3
        },
        .init(description: "query stride", words: ["queries", "-8", "strides"]) { $0.queries.tokenStride = -8 },
        .init(description: "query alignment", words: ["queries", "multiple of 4"]) { $0.queries.baseAddress += 2 },
        .init(description: "scale", words: ["scale", "nan", "finite"]) { $0.scale = .nan },
    ]

    private static let cache: [DecodeBreach] = [
        .init(description: "cache type", words: ["cache", "F8_E4M3", "BF16", "F16"]) {
            $0.cache.scalarType = .float8E4M3
        },
        .init(description: "page", words: ["tokens in a page: 0", "1 to"]) { $0.cache.pageSize = 0 },
        .init(description: "key heads", words: ["key heads: 0", "1 to"]) { $0.cache.keyHeadCount = 0 },
        .init(description: "negative blocks", words: ["-2 blocks", "0 to"]) { $0.cache.blockCount = -2 },
        .init(description: "block stride", words: ["the cache", "strides", "-1"]) { $0.cache.blockStride = -1 },
        .init(description: "huge stride", words: ["the cache", "strides", "\(Int.max)"]) {
            $0.cache.rowStride = .max
        },
        .init(description: "cache alignment", words: ["the cache", "multiple of 4"]) { $0.cache.baseAddress += 1 },
    ]

    private static let sequences: [DecodeBreach] = [
        .init(description: "lengths", words: ["1 lengths", "2 requests"]) { $0.sequences.lengths = [3] },
        .init(description: "negative length", words: ["request 1", "-5", "0 or more"]) {
            $0.sequences.lengths[1] = -5
        },
        .init(description: "beyond the table", words: ["request 0", "13", "3 blocks of 4", "at most 12"]) {
            $0.sequences.lengths[0] = 13
        },
        .init(description: "table size", words: ["block table", "5 entries", "6"]) {
            $0.sequences.blockTable.removeLast()
        },
        .init(description: "table width", words: ["block table", "-3 blocks", "0 blocks or more"]) {
            $0.sequences.blocksPerRequest = -3
        },
        .init(description: "block beyond the cache", words: ["entry 1 of request 1", "6", "0 to 5"]) {
            $0.sequences.blockTable[4] = 6
        },
        .init(description: "negative block", words: ["entry 0 of request 0", "-1", "0 to 5"]) {
            $0.sequences.blockTable[0] = -1
        },
    ]

    private static let results: [DecodeBreach] = [
        .init(description: "value width", words: ["out is 9 wide", "8 wide", "1 to 8"]) { $0.out.width = 9 },
        .init(description: "result type", words: ["out", "I32", "F32", "BF16"]) { $0.out.scalarType = .int32 },
        .init(description: "result requests", words: ["out: requests is 1", "2", "equal"]) {
            $0.out.requestCount = 1
        },
        .init(description: "result tokens", words: ["out: tokens is 2", "3", "equal"]) { $0.out.tokenCount = 2 },
        .init(description: "result heads", words: ["out: heads is 2", "4", "equal"]) { $0.out.headCount = 2 },
        .init(description: "result for reading", words: ["out", "for reading", "writing"]) {
            $0.out.isWritable = false
        },
        .init(description: "results overlap", words: ["out", "overlap", "[72, 23, 6]"]) {
            $0.out.tokenStride = 23
        },
        .init(description: "result alignment", words: ["out", "multiple of 4"]) { $0.out.baseAddress += 2 },
        .init(description: "log-sums", words: ["log-sums", "23", "24"]) { $0.logSumCount = 23 },
    ]

    private static let schedules: [DecodeBreach] = [
        .init(description: "scheduled tokens", words: ["schedule", "2 query tokens", "3"]) { $0.schedule(tokens: 2) },
        .init(description: "scheduled heads", words: ["schedule", "8 query heads", "4"]) { $0.schedule(heads: 8) },
        .init(description: "scheduled key heads", words: ["schedule", "1 key heads", "2"]) {
            $0.schedule(keyHeads: 1)
        },
        .init(description: "scheduled causality", words: ["schedule", "isCausal = false", "true"]) {
            $0.schedule(isCausal: false)
        },
        .init(description: "scheduled requests", words: ["schedule", "1 requests", "2"]) {
            $0.schedule(lengths: [10])
        },
        .init(description: "scheduled lengths", words: ["schedule", "length 9 of request 1", "8"]) {
            $0.schedule(lengths: [10, 9])
        },
    ]
}

/// The arguments of a correct call, to be broken.
struct DecodeMisuse {
    var queries: DecodeTensor
    var cache: PagedLatentCache
    var sequences = PagedSequences(
        blockTable: [0, 2, 4, 5, 3, 2_147_480_000], blocksPerRequest: 3, lengths: [10, 8])
    var out: DecodeTensor
    var scale: Float? = 1
    var schedule: MLASchedule?
    var logSumCount = 24
    let memory: GuardedBuffer<Float>

    init() {
        memory = GuardedBuffer(count: 4096, repeating: 1)
        let start = UnsafeMutableRawPointer(memory.start)
        queries = DecodeTensor(reading: start, .float32, requestCount: 2, tokenCount: 3, headCount: 4, width: 8)
        cache = PagedLatentCache(
            reading: start, .float32, blockCount: 6, pageSize: 4, keyHeadCount: 2, rowWidth: 8)
        out = DecodeTensor(
            writing: start + 4096, .float32, requestCount: 2, tokenCount: 3, headCount: 4, width: 6)
    }

    mutating func schedule(
        lengths: [Int32] = [10, 8], tokens: Int = 3, heads: Int = 4, keyHeads: Int = 2, isCausal: Bool = true
    ) {
        schedule = try? MLASchedule(
            lengths: lengths, queryCount: tokens, headCount: heads, keyHeadCount: keyHeads, isCausal: isCausal,
            threadCount: 2)
    }

    func run(on context: ComputeContext) throws(FathomError) {
        try denseDecode(
            queries: queries, cache: cache, sequences: sequences, isCausal: true, scale: scale, schedule: schedule,
            out: out, logSums: UnsafeMutableBufferPointer(start: memory.start + 3000, count: logSumCount),
            on: context)
    }
}

@Suite("Misuse of dense decode")
struct DecodeMisuseTests {
    @Test("Each broken rule is an error that names it, and nothing is written", arguments: DecodeBreach.all)
    func breach(_ breach: DecodeBreach) throws {
        let context = try ComputeContext(threadCount: 1)
        var call = DecodeMisuse()
        call.schedule()
        try call.run(on: context)
        call = DecodeMisuse()
        breach.commit(&call)
        expectFailure(.usage, naming: breach.words) { () throws(FathomError) in
            try call.run(on: context)
        }
        #expect(call.memory.values.allSatisfy { $0 == 1 })
    }
}
