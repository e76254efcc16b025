// SPDX-License-Identifier: MIT

import FlashMLA
import KernelDispatch
import LowPrecision
import Platform
import Tensors
import TestSupport
import Testing

/// One request over a packed cache with bfloat16 queries. Few heads read codes where they lie, more decode them first,
/// and so do pages that blocks of 64 keys straddle: all must agree with the definition and with each other, bit by bit.
private struct PackedPairCase {
    let format: PackedLatentFormat
    let length: Int
    let heads: Int
    let queries: [UInt16]
    /// [length, rowWidth], before packing.
    let rows: [Float]

    init(_ format: PackedLatentFormat, length: Int, heads: Int, seed: UInt64, factor: Float = 2) {
        var random = RandomNumbers(seed: seed)
        self.format = format
        self.length = length
        self.heads = heads
        queries = random.normals(heads * format.rowWidth).map { BFloat16($0 * factor).bitPattern }
        rows = random.normals(length * format.rowWidth)
    }

    struct Result: Equatable {
        var out: [UInt32]
        var logSums: [UInt32]
        /// As attention reads them.
        var rows: [Float]

        static func == (a: Result, b: Result) -> Bool { a.out == b.out && a.logSums == b.logSums }
    }

    /// - Parameters:
    ///   - heads: which heads attend; all if nil.
    ///   - change: may change the bytes of the cache, whose page 0 is unused.
    func run(
        heads some: Range<Int>? = nil, pageSize: Int = 64, on context: ComputeContext,
        change: (PackedLatentPages) -> Void = { _ in }
    ) throws -> Result {
        let some = some ?? 0..<heads
        let pageCount = (length + pageSize - 1) / pageSize + 1
        let memory = GuardedBuffer<UInt8>(
            count: pageCount * format.pageByteCount(pageSize: pageSize), repeating: 0xFF)
        let pages = try PackedLatentPages(
            format, pageSize: pageSize, pageCount: pageCount,
            memory: UnsafeMutableRawBufferPointer(start: memory.start, count: memory.count))
        let slots = (0..<length).map { pageSize + $0 }
        try rows.withUnsafeBufferPointer { try pages.pack($0, slots: slots) }
        change(pages)
        var read = [Float](repeating: 0, count: rows.count)
        try read.withUnsafeMutableBufferPointer { try pages.unpack(slots: slots, to: $0, on: context) }
        let out = GuardedBuffer<Float>(poisoned: some.count * 512)
        let sums = GuardedBuffer<Float>(poisoned: some.count)
        let part = Array(queries[some.lowerBound * format.rowWidth..<some.upperBound * format.rowWidth])
        try part.withUnsafeBufferPointer { part in
            try denseDecode(
                queries: DecodeTensor(
                    reading: try #require(part.baseAddress), .bfloat16, requestCount: 1, headCount: some.count,
                    width: format.rowWidth),
                cache: PagedLatentCache(pages),
                sequences: PagedSequences(
                    blockTable: (1..<Int32(pageCount)).map { $0 }, blocksPerRequest: pageCount - 1,
                    lengths: [Int32(length)]), isCausal: true,
                out: DecodeTensor(
                    writing: out.start, .float32, requestCount: 1, headCount: some.count, width: 512),
                logSums: UnsafeMutableBufferPointer(start: sums.start, count: some.count), on: context)
        }
        #expect(out.isIntact && sums.isIntact)
        return withExtendedLifetime(memory) {
            Result(out: out.bitPatterns, logSums: sums.bitPatterns, rows: read)
        }
    }

    func expectClose(_ result: Result, on context: ComputeContext, _ comment: String) {
        let (rowWidth, queries) = (format.rowWidth, queries.map { Float(BFloat16(bitPattern: $0)) })
        func reference(_ queries: [Float], _ rows: [Float], _ width: Int) -> (out: [Double], logSums: [Double]) {
            ReferenceDecode(
                tokens: 1, heads: heads, pageSize: length, rowWidth: width, valueWidth: 512, isCausal: true,
                scale: 1 / Double(rowWidth).squareRoot())(queries: queries, cache: rows, blocks: [0], length: length)
        }
        // As `DecodeCase.spread`.
        var (wideQueries, wideRows): ([Float], [Float]) = ([], [])
        for head in 0..<heads {
            wideQueries += [Float](repeating: 0, count: 512)
            wideQueries += queries[head * rowWidth..<(head + 1) * rowWidth]
        }
        for position in 0..<length {
            let row = result.rows[position * rowWidth..<(position + 1) * rowWidth]
            wideRows += row.prefix(512).map { abs($0) }
            wideRows += row
        }
        let spread = reference(wideQueries, wideRows, 512 + rowWidth)
        expectDecode(
            DecodeResult(out: result.out, logSums: result.logSums), reference(queries, result.rows, rowWidth),
            spread: context.pairAttention == nil ? nil : spread.out, comment)
    }
}

@Suite("Packed caches and bfloat16 queries")
struct PackedPairTests {
    @Test(
        "Few heads, many heads, any page and any threads: the definition's numbers, and the same bits",
        arguments: PackedLatentFormat.allCases, [1, 63, 130, 700])
    func sameBits(format: PackedLatentFormat, length: Int) throws {
        let test = PackedPairCase(format, length: length, heads: 9, seed: UInt64(length))
        for level in InstructionSetLevel.available {
            let context = try ComputeContext(threadCount: 3, level: level)
            let all = try test.run(on: context)
            test.expectClose(all, on: context, "\(format), \(length) keys, \(level)")
            for pageSize in [7, 100, 5000] {
                #expect(try test.run(pageSize: pageSize, on: context) == all, "page \(pageSize), \(level)")
            }
            for heads in [0..<1, 3..<5, 2..<5, 5..<9, 1..<7] {
                for pageSize in [64, 7] {
                    let found = try test.run(heads: heads, pageSize: pageSize, on: context)
                    #expect(
                        found.out == Array(all.out[heads.lowerBound * 512..<heads.upperBound * 512])
                            && found.logSums == Array(all.logSums[heads]),
                        "heads \(heads), page \(pageSize), \(level)")
                }
            }
        }
    }

    @Test("Queries beyond the range in which scales commute are computed alike", arguments: [Float(0x1p-90), 0x1p90])
    func immoderateQueries(factor: Float) throws {
        let test = PackedPairCase(.v32, length: 70, heads: 6, seed: 5, factor: factor)
        for level in InstructionSetLevel.available {
            let context = try ComputeContext(threadCount: 2, level: level)
            let all = try test.run(on: context)
            let few = try test.run(heads: 1..<3, on: context)
            #expect(few.out == Array(all.out[512..<3 * 512]) && few.logSums == Array(all.logSums[1..<3]), "\(level)")
        }
    }

    @Test("Scales that are no powers of two are honoured")
    func anyScale() throws {
        let test = PackedPairCase(.v32, length: 130, heads: 2, seed: 6)
        for level in InstructionSetLevel.available {
            let context = try ComputeContext(threadCount: 2, level: level)
            let found = try test.run(on: context) { pages in
                for position in stride(from: 3, to: 130, by: 20) {
                    // The second scale of some rows.
                    let scale = pages.baseAddress + pages.pageStride + position * 656 + 512 + 4
                    scale.storeBytes(of: Float(0.011).bitPattern, as: UInt32.self)
                }
            }
            test.expectClose(found, on: context, "\(level)")
        }
    }

    @Test("A NaN code makes NaN, with few heads and with many", arguments: [PackedLatentFormat.v32, .model1, .v41])
    func notANumber(format: PackedLatentFormat) throws {
        for heads in [1, 3, 9] {
            let test = PackedPairCase(format, length: 70, heads: heads, seed: 7)
            for level in InstructionSetLevel.available {
                let context = try ComputeContext(threadCount: 1, level: level)
                let found = try test.run(on: context) { pages in
                    (pages.baseAddress + pages.pageStride + 17).storeBytes(of: 0xFF, as: UInt8.self)
                }
                #expect(found.out.allSatisfy { Float(bitPattern: $0).isNaN }, "\(heads) heads, \(level)")
                #expect(found.logSums.allSatisfy { Float(bitPattern: $0).isNaN }, "\(heads) heads, \(level)")
            }
        }
    }
}
