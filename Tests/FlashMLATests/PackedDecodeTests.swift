// SPDX-License-Identifier: MIT

import FlashMLA
import KernelDispatch
import LowPrecision
import Platform
import Tensors
import TestSupport
import Testing

/// Dense decoding of packed caches is held bit for bit to the same call on the unpacked rows, which `DecodeTests` holds
/// to the definition.
@Suite("Dense decode of packed caches")
struct PackedDecodeTests {
    struct Extents: Sendable, CustomTestStringConvertible {
        var format: PackedLatentFormat
        var lengths: [Int32]
        var tokens = 1
        var heads: Int
        var pageSize: Int
        var testDescription: String { "\(format), \(lengths), \(tokens)x\(heads), page \(pageSize)" }
    }

    static let cases =
        PackedLatentFormat.allCases.flatMap { format in
            [
                Extents(format: format, lengths: [700, 0, 1, 65], tokens: 2, heads: 3, pageSize: 64),
                Extents(format: format, lengths: [130], heads: 1, pageSize: 7),
                Extents(format: format, lengths: [5, 1100], heads: 16, pageSize: 100),
            ]
        }

    /// The results on both caches, and whether nothing was written outside of them.
    private func run(
        _ e: Extents, on context: ComputeContext, isCausal: Bool
    ) throws -> (packed: [UInt32], plain: [UInt32]) {
        var random = RandomNumbers(seed: 77)
        let blocks = e.lengths.map { (Int($0) + e.pageSize - 1) / e.pageSize }
        let perRequest = blocks.max() ?? 0
        let blockCount = blocks.reduce(0, +) + 1
        // From the last block backwards; what no length needs is out of range.
        var table = [Int32](repeating: .max, count: perRequest * e.lengths.count)
        var next = Int32(blockCount - 1)
        for (request, count) in blocks.enumerated() {
            for entry in 0..<count {
                table[request * perRequest + entry] = next
                next -= 1
            }
        }
        let sequences = PagedSequences(blockTable: table, blocksPerRequest: perRequest, lengths: e.lengths)
        let width = e.format.rowWidth
        // Codes 0xFF: a row that is read without being in use makes a NaN.
        let memory = GuardedBuffer<UInt8>(
            count: blockCount * e.format.pageByteCount(pageSize: e.pageSize), repeating: 0xFF)
        let pages = try PackedLatentPages(
            e.format, pageSize: e.pageSize, pageCount: blockCount,
            memory: UnsafeMutableRawBufferPointer(start: memory.start, count: memory.count))
        let plain = GuardedBuffer<Float>(poisoned: pages.rowCount * width)
        for (request, length) in e.lengths.enumerated() where length > 0 {
            let slots = (0..<Int(length)).map {
                Int(table[request * perRequest + $0 / e.pageSize]) * e.pageSize + $0 % e.pageSize
            }
            let rows = random.normals(slots.count * width)
            try rows.withUnsafeBufferPointer { try pages.pack($0, slots: slots) }
            for slot in slots {
                try pages.unpack(
                    slots: [slot],
                    to: UnsafeMutableBufferPointer(start: plain.start + slot * width, count: width), on: context)
            }
        }
        let rowCount = e.lengths.count * e.tokens * e.heads
        let queries = random.normals(rowCount * width)
        func decode(_ cache: PagedLatentCache) throws -> [UInt32] {
            let out = GuardedBuffer<Float>(poisoned: rowCount * 512)
            let sums = GuardedBuffer<Float>(poisoned: rowCount)
            try queries.withUnsafeBufferPointer { queries in
                try denseDecode(
                    queries: DecodeTensor(
                        reading: try #require(queries.baseAddress), .float32, requestCount: e.lengths.count,
                        tokenCount: e.tokens, headCount: e.heads, width: width),
                    cache: cache, sequences: sequences, isCausal: isCausal,
                    out: DecodeTensor(
                        writing: out.start, .float32, requestCount: e.lengths.count, tokenCount: e.tokens,
                        headCount: e.heads, width: 512),
                    logSums: UnsafeMutableBufferPointer(start: sums.start, count: rowCount), on: context)
            }
            #expect(out.isIntact && sums.isIntact)
            return out.bitPatterns + sums.bitPatterns
        }
        return try withExtendedLifetime((memory, plain)) {
            (
                try decode(PagedLatentCache(pages)),
                try decode(
                    PagedLatentCache(
                        reading: plain.start, .float32, blockCount: blockCount, pageSize: e.pageSize, rowWidth: width))
            )
        }
    }

    @Test("Give the bits of the unpacked rows, on every instruction set and any threads", arguments: cases)
    func sameBits(extents: Extents) throws {
        for level in InstructionSetLevel.available {
            for threads in [1, 3] {
                let context = try ComputeContext(threadCount: threads, level: level)
                for isCausal in [true, false] {
                    let found = try run(extents, on: context, isCausal: isCausal)
                    #expect(found.packed == found.plain, "\(level), \(threads) threads, causal \(isCausal)")
                    #expect(!found.packed.contains { Float(bitPattern: $0).isNaN })
                }
            }
        }
    }

    @Test("Queries of another width are refused")
    func width() throws {
        let memory = GuardedBuffer<UInt8>(count: 64 * 656, repeating: 0)
        let pages = try PackedLatentPages(
            .v32, pageSize: 64, pageCount: 1,
            memory: UnsafeMutableRawBufferPointer(start: memory.start, count: memory.count))
        let rows = GuardedBuffer<Float>(poisoned: 1024)
        let error = #expect(throws: FathomError.self) {
            try denseDecode(
                queries: DecodeTensor(reading: rows.start, .float32, requestCount: 1, headCount: 1, width: 512),
                cache: PagedLatentCache(pages),
                sequences: PagedSequences(blockTable: [0], blocksPerRequest: 1, lengths: [1]), isCausal: true,
                out: DecodeTensor(writing: rows.start + 512, .float32, requestCount: 1, headCount: 1, width: 512),
                logSums: nil, on: try ComputeContext(threadCount: 1))
        }
        #expect(error?.message.contains("576") == true)
    }
}
