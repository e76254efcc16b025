// SPDX-License-Identifier: MIT

import CUDA
import FlashMLA
import Platform
import Testing

@Suite("The arguments of decoding on a GPU")
struct DeviceDecodeRuleTests {
    private struct Call {
        var queries = DeviceDecodeTensor(4096, requestCount: 2, tokenCount: 1, headCount: 16, width: 576)
        var cache = DevicePagedCache(8192, blockCount: 10)
        var sequences = DevicePagedSequences(blockTable: 64, blocksPerRequest: 5, lengths: 128)
        var out = DeviceDecodeTensor(65536, requestCount: 2, tokenCount: 1, headCount: 16, width: 512)
        var logSums: UInt64 = 256

        func check() throws { try DeviceDecodeRule.check(queries, cache, sequences, out, logSums) }
    }

    private static let faults: [(word: String, change: @Sendable (inout Call) -> Void)] = [
        ("576", { $0.queries.width = 512 }), ("512", { $0.out.width = 576 }), ("[2, 1, 8]", { $0.out.headCount = 8 }),
        ("key heads", { $0.cache.keyHeadCount = 3 }), ("row stride", { $0.cache.rowStride = 577 }),
        ("multiple of 16", { $0.queries.address = 4100 }), ("the block table", { $0.sequences.blockTable = 0 }),
        ("log-sums", { $0.logSums = 2 }), ("requests", { $0.queries.requestCount = 70_000 }),
        ("multiples of 8", { $0.out.headStride = 513 }), ("heads", { $0.queries.headCount = 0 }),
    ]

    @Test("Each broken rule is named, and a legal call passes")
    func rules() throws {
        try Call().check()
        for fault in Self.faults {
            var call = Call()
            fault.change(&call)
            let error = #expect(throws: FathomError.self, "\(fault.word)") { try call.check() }
            #expect(error?.message.contains(fault.word) == true, "\(error?.message ?? "")")
        }
    }

    private static let sparseFaults:
        [(word: String, change: @Sendable (inout Call, inout DevicePackedPool, inout DeviceSelection) -> Void)] = [
            ("576", { call, _, _ in call.queries.width = 512 }),
            ("requests are", { call, _, _ in call.queries.requestStride += 8 }),
            ("pages of 0", { _, pool, _ in pool.pageSize = 0 }),
            ("bytes apart", { _, pool, _ in pool.pageStride = 655 * 64 }),
            ("the pool: address", { _, pool, _ in pool.address = 8 }),
            ("indices", { _, _, selection in selection.indices = 3 }),
            ("lists of -1", { _, _, selection in selection.count = -1 }),
            ("list lengths", { _, _, selection in selection.lengths = 2 }),
            ("log-sums", { call, _, _ in call.logSums = 0 }),
        ]

    @Test("So is each of the rules of index lists")
    func sparseRules() throws {
        for index in -1..<Self.sparseFaults.count {
            var call = Call()
            var pool = DevicePackedPool(8192, pageSize: 64, pageCount: 3)
            var selection = DeviceSelection(indices: 64, count: 100, lengths: 128)
            func check() throws {
                try DeviceDecodeRule.check(call.queries, pool, selection, call.out, call.logSums)
            }
            guard index >= 0 else {
                try check()
                continue
            }
            Self.sparseFaults[index].change(&call, &pool, &selection)
            let error = #expect(throws: FathomError.self) { try check() }
            let word = Self.sparseFaults[index].word
            #expect(error?.message.contains(word) == true, "\(word): \(error?.message ?? "")")
        }
    }

    @Test("The cache's tensor map is legal, with several key heads too")
    func maps() throws {
        let dense = DevicePagedCache(8192, blockCount: 10).mapLayout
        try dense.check(address: 8192)
        #expect(dense.dimensions == [576, 64, 1, 10] && dense.byteStrides == [1152, 1152, 73728])
        let three = DevicePagedCache(8192, .float16, blockCount: 4, keyHeadCount: 3).mapLayout
        try three.check(address: 8192)
        #expect(three.byteStrides == [3456, 1152, 221_184] && three.box == [64, 64, 1, 1])
    }
}
