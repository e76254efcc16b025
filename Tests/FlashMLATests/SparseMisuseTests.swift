// SPDX-License-Identifier: MIT

import FlashMLA
import KernelDispatch
import Platform
import Tensors
import TestSupport
import Testing

/// The arguments of a correct call of either kind, to be broken.
struct SparseMisuse {
    var queries: MHATensor
    var requestCount = 2
    var indices: [Int32]
    var topK = 5
    var lengths: [Int32]? = [5, 3]
    var extraIndices: [Int32]
    var pageSize = 3
    var pageCount = 2
    var pageStride: Int?
    var poolWidth = 8
    var rows: MHATensor
    var scale: Float = 1
    var sinks: [Float]? = [0, 1, 2, 3]
    var out: MHATensor
    var logSumCount = 16
    var maximaCount = 16
    let memory: GuardedBuffer<Float>

    init() {
        memory = GuardedBuffer(count: 4096, repeating: 1)
        let start = UnsafeMutableRawPointer(memory.start)
        queries = MHATensor(reading: start, .float32, tokenCount: 4, headCount: 4, width: 8)
        out = MHATensor(writing: start + 4096, .float32, tokenCount: 4, headCount: 4, width: 6)
        rows = MHATensor(reading: start, .float32, tokenCount: 6, headCount: 1, width: 8)
        indices = (0..<20).map { $0 % 6 }
        extraIndices = [0, -1, 5, 1]
    }

    private var results: SparseResults {
        SparseResults(
            out: out, logSums: UnsafeMutableBufferPointer(start: memory.start + 3000, count: logSumCount),
            maxima: UnsafeMutableBufferPointer(start: memory.start + 3500, count: maximaCount))
    }

    func decode(on context: ComputeContext) throws(FathomError) {
        let pool = SparsePool(
            memory.start, isBFloat16: false, rowWidth: poolWidth, pageSize: pageSize, pageCount: pageCount,
            pageStride: pageStride)
        let (lists, extra) = (GuardedBuffer(indices, filler: 0), GuardedBuffer(extraIndices, filler: 0))
        let counts = lengths.map { GuardedBuffer($0, filler: 0) }
        let sinkMemory = sinks.map { GuardedBuffer($0) }
        defer { withExtendedLifetime((lists, extra, counts, sinkMemory)) {} }
        let other = SparsePool(memory.start, isBFloat16: true, rowWidth: 8, pageSize: 6, pageCount: 1)
        try sparseDecode(
            queries: queries, requestCount: requestCount,
            selection: SparseSelection(pool: pool, indices: lists.reading, topK: topK, lengths: counts?.reading),
            extra: SparseSelection(pool: other, indices: extra.reading, topK: 1), scale: scale,
            sinks: sinkMemory?.reading, results: results, on: context)
    }

    func prefill(on context: ComputeContext) throws(FathomError) {
        let lists = GuardedBuffer(indices, filler: 0)
        let counts = lengths.map { GuardedBuffer($0 + [0, 0], filler: 0) }
        let sinkMemory = sinks.map { GuardedBuffer($0) }
        defer { withExtendedLifetime((lists, counts, sinkMemory)) {} }
        try sparsePrefill(
            queries: queries, rows: rows, indices: lists.reading, topK: topK, lengths: counts?.reading, scale: scale,
            sinks: sinkMemory?.reading, results: results, on: context)
    }
}

/// One breach of a rule, and what the error has to name.
struct SparseBreach: Sendable, CustomStringConvertible {
    var description: String
    var words: [String]
    var commit: @Sendable (inout SparseMisuse) -> Void

    static let both: [SparseBreach] = [
        .init(description: "type", words: ["queries", "F16", "F32"]) { $0.queries.scalarType = .float16 },
        .init(description: "too wide", words: ["queries", "2000", "1024"]) { $0.queries.width = 2000 },
        .init(description: "result width", words: ["out", "9 wide", "8"]) { $0.out.width = 9 },
        .init(description: "no results", words: ["out", "0 wide", "1 to"]) { $0.out.width = 0 },
        .init(description: "result tokens", words: ["out", "tokens is 3", "4"]) { $0.out.tokenCount = 3 },
        .init(description: "result heads", words: ["out", "heads is 3", "4"]) { $0.out.headCount = 3 },
        .init(description: "result for reading", words: ["out", "for reading"]) { $0.out.isWritable = false },
        .init(description: "scale", words: ["scale", "nan", "finite"]) { $0.scale = .nan },
        .init(description: "sink count", words: ["3 sinks", "4 heads"]) { $0.sinks = [1, 2, 3] },
        .init(description: "sink NaN", words: ["sink", "head 2", "NaN"]) { $0.sinks = [1, 2, .nan, 3] },
        .init(description: "log-sums", words: ["log-sums", "15", "16"]) { $0.logSumCount = 15 },
        .init(description: "maxima", words: ["maxima", "17", "16"]) { $0.maximaCount = 17 },
        .init(description: "list length", words: ["selection", "-1 entries", "0 to"]) { $0.topK = -1 },
        .init(description: "indices", words: ["selection", "19 indices", "20"]) { $0.indices.removeLast() },
        .init(description: "length count", words: ["selection", "lengths", "needed"]) { $0.lengths = [1] },
        .init(description: "negative length", words: ["selection", "length 1", "-1", "0 to 5"]) {
            $0.lengths = [0, -1]
        },
        .init(description: "length beyond", words: ["selection", "length 0", "6", "0 to 5"]) { $0.lengths = [6, 0] },
    ]

    static let decode: [SparseBreach] = [
        .init(description: "requests", words: ["4 tokens", "3 requests"]) { $0.requestCount = 3 },
        .init(description: "no requests", words: ["4 tokens", "0 requests"]) { $0.requestCount = 0 },
        .init(description: "negative requests", words: ["4 tokens", "-2 requests"]) { $0.requestCount = -2 },
        .init(description: "row width", words: ["selection", "7 wide", "8"]) { $0.poolWidth = 7 },
        .init(description: "page size", words: ["selection", "pages of 0", "1 to"]) { $0.pageSize = 0 },
        .init(description: "page count", words: ["selection", "-1 pages", "0 to"]) { $0.pageCount = -1 },
        .init(description: "page stride", words: ["selection", "95 bytes", "96"]) { $0.pageStride = 95 },
        .init(description: "huge stride", words: ["selection", "\(Int.max) bytes"]) { $0.pageStride = .max },
        .init(description: "entry below", words: ["entry 1", "request 0", "token 1", "-2", "6 rows"]) {
            $0.indices[6] = -2
        },
        .init(description: "entry beyond", words: ["entry 2", "request 1", "token 0", "is 6", "6 rows"]) {
            $0.indices[12] = 6
        },
        .init(
            description: "extra entry", words: ["extra selection", "entry 0", "request 1", "token 1", "\(Int32.max)"]
        ) {
            $0.extraIndices[3] = .max
        },
        .init(description: "extra indices", words: ["extra selection", "3 indices", "4"]) {
            $0.extraIndices.removeLast()
        },
    ]

    static let prefill: [SparseBreach] = [
        .init(description: "row heads", words: ["rows", "2 heads", "1"]) { $0.rows.headCount = 2 },
        .init(description: "row width", words: ["rows are 7 wide", "8"]) { $0.rows.width = 7 },
        .init(description: "row type", words: ["rows", "I8", "BF16"]) { $0.rows.scalarType = .int8 },
        .init(description: "row stride", words: ["rows", "-8"]) { $0.rows.tokenStride = -8 },
    ]
}

@Suite("Misuse of sparse attention")
struct SparseMisuseTests {
    @Test(
        "Each broken rule of decoding is an error that names it, and nothing is written",
        arguments: SparseBreach.both + SparseBreach.decode)
    func decode(breach: SparseBreach) throws {
        let context = try ComputeContext(threadCount: 1)
        var call = SparseMisuse()
        try call.decode(on: context)
        call = SparseMisuse()
        breach.commit(&call)
        expectFailure(.usage, naming: breach.words) { () throws(FathomError) in try call.decode(on: context) }
        #expect(call.memory.values.allSatisfy { $0 == 1 })
    }

    @Test(
        "Each broken rule of prefill is an error that names it, and nothing is written",
        arguments: SparseBreach.both + SparseBreach.prefill)
    func prefill(breach: SparseBreach) throws {
        let context = try ComputeContext(threadCount: 1)
        var call = SparseMisuse()
        try call.prefill(on: context)
        call = SparseMisuse()
        breach.commit(&call)
        expectFailure(.usage, naming: breach.words) { () throws(FathomError) in try call.prefill(on: context) }
        #expect(call.memory.values.allSatisfy { $0 == 1 })
    }

    @Test("No tokens, and no requests, are legal")
    func nothing() throws {
        let context = try ComputeContext(threadCount: 2)
        var call = SparseMisuse()
        call.queries.tokenCount = 0
        call.out.tokenCount = 0
        call.requestCount = 0
        call.indices = []
        call.extraIndices = []
        call.lengths = []
        (call.logSumCount, call.maximaCount) = (0, 0)
        try call.decode(on: context)
        #expect(call.memory.values.allSatisfy { $0 == 1 })
    }
}
