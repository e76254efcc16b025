// SPDX-License-Identifier: MIT

import FlashMLA
import KernelDispatch
import Platform
import Tensors
import TestSupport
import Testing

@Suite("Dense decode")
struct DecodeTests {
    @Test("Random shapes agree with the definition on every instruction set", arguments: 0..<40)
    func randomShapes(seed: Int) throws {
        var random = RandomNumbers(seed: UInt64(900 + seed))
        func choose<T>(_ values: [T]) -> T { values[random.number(below: values.count)] }
        let keyHeads = choose([1, 1, 2, 3])
        let rowWidth = choose([1, 7, 16, 37, 80, 129])
        var extents = DecodeExtents(lengths: [])
        extents.lengths = (0..<1 + random.number(below: 4)).map { _ in
            choose([0, 1, 2, 63, 64, 65, Int32(random.number(below: 300)), Int32(random.number(below: 1400))])
        }
        extents.tokens = 1 + random.number(below: 5)
        extents.keyHeads = keyHeads
        extents.heads = keyHeads * choose([1, 2, 3, 5, 16])
        extents.pageSize = choose([1, 3, 16, 64, 100])
        extents.rowWidth = rowWidth
        extents.valueWidth = 1 + random.number(below: rowWidth)
        extents.cacheType = choose([.bfloat16, .float16, .float32])
        extents.type = choose([.bfloat16, .float32])
        extents.isCausal = choose([true, false])
        extents.slack = choose([0, 0, 3])
        let test = DecodeCase(extents, seed: UInt64(seed))
        let expected = test.reference()
        for level in InstructionSetLevel.available {
            let context = try ComputeContext(threadCount: 1 + seed % 3, level: level)
            expectDecode(try test.run(on: context), expected, "\(level), \(extents)")
        }
    }

    @Test("DeepSeek's own widths agree with the definition", arguments: [ScalarType.bfloat16, .float16, .float32])
    func release(type: ScalarType) throws {
        let extents = DecodeExtents(
            lengths: [700, 1, 0, 64], tokens: 2, heads: 16, rowWidth: 576, valueWidth: 512, cacheType: type)
        let test = DecodeCase(extents, seed: 7)
        let expected = test.reference()
        for level in InstructionSetLevel.available {
            let context = try ComputeContext(threadCount: 2, level: level)
            expectDecode(
                try test.run(on: context), expected, spread: test.spread(on: context), "\(level), \(extents)")
        }
    }

    @Test("128 heads and a long request beside short ones agree with the definition")
    func manyHeads() throws {
        let extents = DecodeExtents(
            lengths: [5000, 3, 40, 0, 700], tokens: 1, heads: 128, rowWidth: 20, valueWidth: 12, type: .float32)
        let test = DecodeCase(extents, seed: 8)
        let expected = test.reference()
        for level in InstructionSetLevel.available {
            let context = try ComputeContext(threadCount: 3, level: level)
            expectDecode(try test.run(on: context), expected, "\(level), \(extents)")
        }
    }

    @Test("A query without keys has the result zero and the log-sum +infinity, exactly there", arguments: [1, 2])
    func emptyRows(threads: Int) throws {
        let extents = DecodeExtents(lengths: [0, 1, 2, 4, 9], tokens: 4, heads: 3, type: .float32)
        let found = try DecodeCase(extents, seed: 9).run(on: try ComputeContext(threadCount: threads))
        for (request, length) in extents.lengths.enumerated() {
            for token in 0..<4 {
                let isEmpty = Int(length) - 4 + token < 0
                for head in 0..<3 {
                    let sum = found.sums[(request * 3 + head) * 4 + token]
                    #expect((sum == .infinity) == isEmpty && !sum.isNaN)
                    let start = ((request * 4 + token) * 3 + head) * extents.valueWidth
                    #expect(
                        found.out[start..<start + extents.valueWidth].allSatisfy { $0 == 0 } == isEmpty)
                }
            }
        }
    }

    @Test("Without log-sums the results are the same, and a default scale is one over the root of the width")
    func withoutLogSums() throws {
        let test = DecodeCase(DecodeExtents(lengths: [70, 3], type: .float32), seed: 10)
        let context = try ComputeContext(threadCount: 2)
        let out = GuardedBuffer<Float>(poisoned: 2 * 4 * 16)
        try withExtendedLifetime((out, test)) {
            try denseDecode(
                queries: test.queries, cache: test.cache, sequences: test.sequences, isCausal: true,
                scale: 1 / Float(24).squareRoot(),
                out: DecodeTensor(writing: out.start, .float32, requestCount: 2, headCount: 4, width: 16),
                logSums: nil, on: context)
        }
        #expect(out.bitPatterns == (try test.run(on: context)).out)
    }

    @Test("No requests are no work")
    func noRequests() throws {
        let test = DecodeCase(DecodeExtents(lengths: []), seed: 11)
        #expect(try test.run(on: try ComputeContext(threadCount: 2)) == DecodeResult(out: [], logSums: []))
    }
}

@Suite("A decode call's bits depend on queries and visible rows alone")
struct DecodeIdentityTests {
    private static let extents = DecodeExtents(
        lengths: [2300, 7, 600, 0, 1025], tokens: 2, heads: 6, keyHeads: 2, rowWidth: 37, valueWidth: 29)

    @Test("On any number of threads, with any schedule, and again", arguments: InstructionSetLevel.available)
    func threads(level: InstructionSetLevel) throws {
        for type in [ScalarType.bfloat16, .float32] {
            var extents = Self.extents
            extents.type = type
            let test = DecodeCase(extents, seed: 20)
            let one = try test.run(on: try ComputeContext(threadCount: 1, level: level))
            for threads in [1, 2, 3, 5] {
                let context = try ComputeContext(threadCount: threads, level: level)
                #expect(try test.run(on: context) == one, "\(threads) threads")
                for wanted in [1, 2, 7, 64] {
                    let schedule = try test.schedule(threads: wanted)
                    #expect(
                        try test.run(on: context, schedule: schedule) == one,
                        "\(threads) threads, schedule for \(wanted)")
                }
                for _ in 0..<5 { #expect(try test.run(on: context) == one, "\(threads) threads, again") }
            }
        }
    }

    @Test("Whatever the page size and wherever the blocks lie", arguments: InstructionSetLevel.available)
    func pages(level: InstructionSetLevel) throws {
        let context = try ComputeContext(threadCount: 2, level: level)
        for cacheType in [ScalarType.bfloat16, .float32] {
            var extents = Self.extents
            extents.cacheType = cacheType
            let first = try DecodeCase(extents, seed: 21).run(on: context)
            for (page, placement) in [(1, 1), (3, 2), (16, 3), (64, 4), (100, 5), (5000, 6)] {
                extents.pageSize = page
                extents.slack = page % 5
                let test = DecodeCase(extents, seed: 21, placement: UInt64(placement))
                #expect(try test.run(on: context) == first, "page \(page)")
            }
        }
    }

    @Test("A request alone has the bits that it has in company", arguments: InstructionSetLevel.available)
    func company(level: InstructionSetLevel) throws {
        let test = DecodeCase(Self.extents, seed: 22)
        let all = try test.run(on: try ComputeContext(threadCount: 3, level: level))
        let context = try ComputeContext(threadCount: 2, level: level)
        let count = all.out.count / Self.extents.lengths.count
        for request in Self.extents.lengths.indices {
            #expect(
                try test.out(ofRequest: request, on: context)
                    == Array(all.out[request * count..<(request + 1) * count]))
        }
    }
}

extension DecodeCase {
    /// One request of the case, decoded alone.
    func out(ofRequest request: Int, on context: ComputeContext) throws -> [UInt32] {
        var view = queries
        view.baseAddress += request * view.requestStride * view.scalarType.byteCount
        view.requestCount = 1
        let width = sequences.blocksPerRequest
        let alone = PagedSequences(
            blockTable: Array(sequences.blockTable[request * width..<(request + 1) * width]),
            blocksPerRequest: width, lengths: [extents.lengths[request]])
        let out = GuardedBuffer<UInt16>(
            count: extents.tokens * extents.heads * extents.valueWidth, repeating: 0xFFFF)
        try withExtendedLifetime((out, self)) {
            try denseDecode(
                queries: view, cache: cache, sequences: alone, isCausal: extents.isCausal,
                out: DecodeTensor(
                    writing: out.start, .bfloat16, requestCount: 1, tokenCount: extents.tokens,
                    headCount: extents.heads, width: extents.valueWidth),
                logSums: nil, on: context)
        }
        return out.values.map { UInt32($0) << 16 }
    }
}
