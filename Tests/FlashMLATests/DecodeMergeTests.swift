// SPDX-License-Identifier: MIT

import FlashMLA
import KernelDispatch
import LowPrecision
import Platform
import Tensors
import TestSupport
import Testing

@Suite("Merging attention over ranges of keys")
struct DecodeMergeTests {
    /// Extents of every test: 3 requests, 2 tokens, 4 heads of 16 numbers.
    private static let rows = 3 * 2 * 4

    private static func view(_ buffer: GuardedBuffer<Float>) -> DecodeTensor {
        DecodeTensor(
            writing: buffer.start, .float32, requestCount: 3, tokenCount: 2, headCount: 4, width: 16)
    }

    private static func sums(_ buffer: GuardedBuffer<Float>) -> UnsafeMutableBufferPointer<Float> {
        UnsafeMutableBufferPointer(start: buffer.start, count: buffer.count)
    }

    /// Three ranges of keys of a request's, some of them empty, decoded apart and merged.
    @Test("Ranges decoded apart and merged agree with the whole", arguments: InstructionSetLevel.available)
    func ranges(level: InstructionSetLevel) throws {
        let context = try ComputeContext(threadCount: 2, level: level)
        let test = DecodeCase(
            DecodeExtents(lengths: [320, 130, 0], tokens: 2, type: .float32, isCausal: false), seed: 30)
        let whole = try test.run(on: context)
        var parts: [PartialAttention] = []
        var buffers: [GuardedBuffer<Float>] = []
        for keys in [0..<64, 64..<128, 128..<320] {
            let out = GuardedBuffer(poisoned: Self.rows * 16)
            let sums = GuardedBuffer(poisoned: Self.rows)
            buffers += [out, sums]
            try denseDecode(
                queries: test.queries, cache: test.cache, sequences: test.sequences(keys: keys), isCausal: false,
                out: Self.view(out), logSums: Self.sums(sums), on: context)
            parts.append(
                PartialAttention(out: Self.view(out), logSums: UnsafeBufferPointer(Self.sums(sums))))
        }
        let out = GuardedBuffer(poisoned: Self.rows * 16)
        let sums = GuardedBuffer(poisoned: Self.rows)
        try mergeAttention(parts, out: Self.view(out), logSums: Self.sums(sums), on: context)
        #expect(out.isIntact && sums.isIntact)
        expectDecode(
            DecodeResult(out: out.bitPatterns, logSums: sums.bitPatterns), test.reference(), "\(level)")
        #expect(firstDifference(out.values, whole.values, tolerance: 1e-5) == nil)
        #expect(firstDifference(sums.values, whole.sums, tolerance: 1e-5) == nil)
        // In the place of a part, and on other threads: the same bits.
        for threads in [1, 3] {
            let other = try ComputeContext(threadCount: threads, level: level)
            let again = GuardedBuffer(poisoned: Self.rows * 16)
            try mergeAttention(parts, out: Self.view(again), logSums: Self.sums(sums), on: other)
            #expect(again.bitPatterns == out.bitPatterns)
        }
        try mergeAttention(parts, out: parts[1].out, logSums: Self.sums(sums), on: context)
        #expect(buffers[2].bitPatterns == out.bitPatterns)
        withExtendedLifetime((buffers, test)) {}
    }

    @Test("A part without keys counts for nothing, whatever it holds; without any, zero and +infinity")
    func emptyParts() throws {
        let context = try ComputeContext(threadCount: 1)
        let full = GuardedBuffer((0..<Self.rows * 16).map { Float($0) })
        let fullSums = GuardedBuffer((0..<Self.rows).map { Float($0) - 5 })
        let empty = GuardedBuffer(poisoned: Self.rows * 16)
        let emptySums = GuardedBuffer(count: Self.rows, repeating: Float.infinity)
        for index in 0..<Self.rows where index % 3 == 0 { emptySums.start[index] = -.infinity }
        // The first head of the first request has no keys at all.
        fullSums.start[0] = .infinity
        let out = GuardedBuffer(poisoned: Self.rows * 16)
        let sums = GuardedBuffer(poisoned: Self.rows)
        let parts = [
            PartialAttention(out: Self.view(empty), logSums: UnsafeBufferPointer(Self.sums(emptySums))),
            PartialAttention(out: Self.view(full), logSums: UnsafeBufferPointer(Self.sums(fullSums))),
        ]
        try mergeAttention(parts, out: Self.view(out), logSums: Self.sums(sums), on: context)
        #expect(sums.values == fullSums.values)
        #expect(out.values[..<16].allSatisfy { $0 == 0 })
        #expect(Array(out.values[16...]) == Array(full.values[16...]))
        withExtendedLifetime((full, fullSums, empty, emptySums)) {}
    }

    @Test("Very different log-sums neither overflow nor vanish, and bfloat16 is read and written")
    func extremes() throws {
        let context = try ComputeContext(threadCount: 1)
        func part(_ value: Float, _ sum: Float) -> (GuardedBuffer<UInt16>, GuardedBuffer<Float>) {
            (GuardedBuffer(count: 2, repeating: BFloat16(value).bitPattern), GuardedBuffer([sum]))
        }
        func view(_ buffer: GuardedBuffer<UInt16>) -> DecodeTensor {
            DecodeTensor(writing: buffer.start, .bfloat16, requestCount: 1, headCount: 1, width: 2)
        }
        for (a, b, expected, sum) in [
            (Float(1000), Float(-1000), Float(3), Float(1000)), (-2000, -2000, 4, -2000 + 0.6931472),
            (500, 500, 4, 500.69315),
        ] {
            let first = part(3, a)
            let second = part(5, b)
            let out = part(0, 0)
            try mergeAttention(
                [first, second].map {
                    PartialAttention(out: view($0.0), logSums: UnsafeBufferPointer(Self.sums($0.1)))
                }, out: view(out.0), logSums: Self.sums(out.1), on: context)
            #expect(out.0.values.map { Float(BFloat16(bitPattern: $0)) } == [expected, expected])
            #expect(out.1.values == [sum])
            withExtendedLifetime((first, second)) {}
        }
    }

    @Test("Misuse is an error that names the rule")
    func misuse() throws {
        let context = try ComputeContext(threadCount: 1)
        let memory = GuardedBuffer(count: Self.rows * 16, repeating: Float(1))
        let sums = GuardedBuffer(count: Self.rows, repeating: Float(1))
        func merge(
            parts: Int = 1, _ change: (inout PartialAttention) -> Void = { _ in }, sumCount: Int = Self.rows
        ) throws(FathomError) {
            var part = PartialAttention(
                out: Self.view(memory), logSums: UnsafeBufferPointer(Self.sums(sums)))
            change(&part)
            try mergeAttention(
                Array(repeating: part, count: parts), out: Self.view(memory),
                logSums: UnsafeMutableBufferPointer(start: sums.start, count: sumCount), on: context)
        }
        try merge()
        expectFailure(.usage, naming: ["parts to merge: 0", "1 to"]) { () throws(FathomError) in
            try merge(parts: 0)
        }
        expectFailure(.usage, naming: ["part 0 is 8 wide", "16"]) { () throws(FathomError) in
            try merge { $0.out.width = 8 }
        }
        expectFailure(.usage, naming: ["part 0: tokens is 1", "2"]) { () throws(FathomError) in
            try merge { $0.out.tokenCount = 1 }
        }
        expectFailure(.usage, naming: ["log-sums have 3", "24"]) { () throws(FathomError) in
            try merge { $0.logSums = UnsafeBufferPointer(rebasing: $0.logSums[..<3]) }
        }
        expectFailure(.usage, naming: ["log-sums have 23", "24"]) { () throws(FathomError) in
            try merge(sumCount: 23)
        }
        withExtendedLifetime((memory, sums)) {}
    }
}

extension DecodeCase {
    /// The same requests with a range of whole pages of their keys only.
    func sequences(keys: Range<Int>) -> PagedSequences {
        let width = sequences.blocksPerRequest
        let pages = keys.lowerBound / extents.pageSize..<width
        var table: [Int32] = []
        var lengths: [Int32] = []
        for (request, length) in extents.lengths.enumerated() {
            table += sequences.blockTable[request * width + pages.lowerBound..<request * width + pages.upperBound]
            lengths.append(Int32(max(0, min(Int(length), keys.upperBound) - keys.lowerBound)))
        }
        return PagedSequences(blockTable: table, blocksPerRequest: pages.count, lengths: lengths)
    }
}
