// SPDX-License-Identifier: MIT

import FlashMLA
import KernelDispatch
import Platform
import Tensors
import TestSupport
import Testing

/// Where queries and cache are bfloat16 and rows are whole vectors, a processor that multiplies pairs uses another
/// definition of the sums than elsewhere: what holds for decoding must hold for it.
@Suite("Dense decode of bfloat16 queries in whole vectors")
struct PairDecodeTests {
    @Test("Random shapes agree with the definition on every instruction set", arguments: 0..<24)
    func randomShapes(seed: Int) throws {
        var random = RandomNumbers(seed: UInt64(4000 + seed))
        func choose<T>(_ values: [T]) -> T { values[random.number(below: values.count)] }
        let keyHeads = choose([1, 1, 2])
        let rowWidth = choose([32, 64, 96, 160, 576])
        var extents = DecodeExtents(lengths: [])
        extents.lengths = (0..<1 + random.number(below: 4)).map { _ in
            choose([0, 1, 2, 63, 64, 65, Int32(random.number(below: 300)), Int32(random.number(below: 1100))])
        }
        extents.tokens = 1 + random.number(below: 4)
        extents.keyHeads = keyHeads
        extents.heads = keyHeads * choose([1, 2, 3, 4, 5, 7, 16, 33])
        extents.pageSize = choose([1, 16, 61, 64, 128])
        extents.rowWidth = rowWidth
        extents.valueWidth = choose([32, 64, 128, 192, 512].filter { $0 <= rowWidth })
        extents.isCausal = random.number(below: 3) > 0
        extents.slack = choose([0, 0, 8, 3])
        let test = DecodeCase(extents, seed: UInt64(seed))
        let expected = test.reference()
        for level in InstructionSetLevel.available {
            let context = try ComputeContext(threadCount: 1 + seed % 3, level: level)
            expectDecode(
                try test.run(on: context), expected, spread: test.spread(on: context), "\(level), \(extents)")
        }
    }

    private static let extents = DecodeExtents(
        lengths: [2300, 7, 600, 0, 1025], tokens: 3, heads: 10, keyHeads: 2, rowWidth: 96, valueWidth: 64)

    @Test("Threads, schedules, pages and company change no bit", arguments: InstructionSetLevel.available)
    func bits(level: InstructionSetLevel) throws {
        let test = DecodeCase(Self.extents, seed: 20)
        let one = try test.run(on: try ComputeContext(threadCount: 1, level: level))
        for threads in [2, 3, 5] {
            let context = try ComputeContext(threadCount: threads, level: level)
            #expect(try test.run(on: context) == one, "\(threads) threads")
            for wanted in [1, 7, 64] {
                let schedule = try test.schedule(threads: wanted)
                #expect(try test.run(on: context, schedule: schedule) == one, "schedule for \(wanted)")
            }
        }
        let context = try ComputeContext(threadCount: 2, level: level)
        var extents = Self.extents
        for (page, placement) in [(1, 1), (3, 2), (64, 4), (100, 5), (5000, 6)] {
            extents.pageSize = page
            extents.slack = page % 5
            let moved = DecodeCase(extents, seed: 20, placement: UInt64(placement))
            #expect(try moved.run(on: context) == one, "page \(page)")
        }
        let count = one.out.count / Self.extents.lengths.count
        for request in Self.extents.lengths.indices {
            let alone = try test.out(ofRequest: request, on: context)
            #expect(alone == Array(one.out[request * count..<(request + 1) * count]))
        }
    }

    @Test("Infinite and missing numbers show where the definition has them")
    func nonFinite() throws {
        let extents = DecodeExtents(lengths: [70, 70], heads: 3, rowWidth: 64, valueWidth: 32)
        for level in InstructionSetLevel.available {
            let context = try ComputeContext(threadCount: 2, level: level)
            let test = DecodeCase(extents, seed: 21)
            let clean = try test.run(on: context)
            // Request 0, head 1: a query with a NaN.
            let bits = UnsafeMutablePointer<UInt16>(OpaquePointer(test.queries.baseAddress))
            bits[64 + 5] = 0x7FC0
            let found = try test.run(on: context)
            for row in 0..<6 {
                let (mine, theirs) = (found.values[row * 32..<(row + 1) * 32], clean.values[row * 32..<(row + 1) * 32])
                #expect(row == 1 ? mine.allSatisfy { $0.isNaN } : mine == theirs, "row \(row), \(level)")
            }
        }
    }
}
