// SPDX-License-Identifier: MIT

import CUDA
import FlashMLA
import TestSupport
import Testing

@Suite("Places and cuts in the GPU attention kernels", .enabled(if: HostProgram.isThere))
struct CUDAMLALayoutTests {
    private func run(_ body: String) throws -> [String: [[Int]]] {
        try HostProgram(
            headers: [("layout.cuh", DeviceHeaders.layout.text), ("mla_layout.cuh", CUDAMLAKernel.layoutText)],
            include: "mla_layout.cuh", body
        ).rows
    }

    @Test("Boxes, rows and barriers lie beside one another, boxes where the swizzle wants them")
    func places() throws {
        let rows = try run(
            """
            row("bytes", kSharedBytes);
            for (u32 b = 0; b < kBoxes; ++b) row("box", kOffsetQueries + b * kBoxBytes, kBoxBytes);
            for (u32 p = 0; p < 2; ++p) for (u32 b = 0; b < kBoxes; ++b) row("box", keyBox(p, b), kBoxBytes);
            row("small", kOffsetMaxima, 512); row("small", kOffsetSums, 512); row("small", kOffsetHoles, 512);
            for (u32 p = 0; p < 2; ++p) for (u32 b = 0; b < kBoxes; ++b) row("small", fullBarrier(p, b), 8);
            for (u32 p = 0; p < 2; ++p) for (u32 q = 0; q < 2; ++q) row("small", emptyBarrier(p, q), 8);
            for (u32 p = 0; p < 2; ++p) for (u32 b = 0; b < kBoxes; ++b)
                row("part", p, b, partOfBox(p, b), releasesOfPart(p, partOfBox(p, b)));
            """)
        #expect(rows["bytes"] == [[CUDAMLAKernel.sharedBytes]])
        let boxes = try #require(rows["box"])
        #expect(boxes.count == 27 && boxes.allSatisfy { $0[0] % 1024 == 0 })
        // Nothing overlaps, nothing ends behind the block's memory.
        let all = (boxes + (rows["small"] ?? [])).sorted { $0[0] < $1[0] }
        for (this, next) in zip(all, all.dropFirst()) { #expect(this[0] + this[1] <= next[0]) }
        #expect(all.allSatisfy { $0[0] + $0[1] <= CUDAMLAKernel.sharedBytes && $0[0] % 8 == 0 })
        // The box of the weights belongs to the part that two warpgroups release.
        for row in try #require(rows["part"]) where row[1] == 8 { #expect(row[2] == 1 - row[0] && row[3] == 8) }
    }

    @Test("The kernel's arguments lie as the host writes them")
    func arguments() throws {
        let fields = [
            "queries", "queryRequestStride", "queryTokenStride", "queryHeadStride", "pageTable", "pageTableStride",
            "lengths", "parts", "pieceEnds", "out", "outRequestStride", "outTokenStride", "outHeadStride", "logSums",
            "pieceOut", "pieceLogSums", "requests", "tokens", "heads", "keyHeads", "scale", "isCausal", "pool",
            "poolPageStride", "lists", "listLengths", "sinks", "listCount", "listTokens", "poolPageSize", "poolRows",
        ]
        let rows = try run(
            "row(\"size\", sizeof(Arguments), alignof(Arguments), sizeof(Part));"
                + fields.map { "row(\"offsets\", offsetof(Arguments, \($0)));" }.joined())
        var arguments = CUDAMLAArguments()
        #expect(rows["size"] == [[arguments.bytes.count, 8, 32]])
        #expect(rows["offsets"]?.map { $0[0] } == CUDAMLAArguments.offsets)
        arguments.scale = 1.5
        arguments.isCausal = true
        #expect(arguments.bytes[144..<152] == [0, 0, 0xC0, 0x3F, 1, 0, 0, 0])
    }

    @Test("Every code of a packed row has a place of its own in its box")
    func packedRows() throws {
        let rows = try run(
            """
            row("bytes", kPackedScales, kPackedRotated, kPackedRowBytes);
            for (u32 part = 0; part < 32; ++part) row("p", part, boxOfCodes(part), chunkOfCodes(part));
            for (i32 l : {-3, 0, 5, 9}) row("l", l, listLength(l, 7));
            """)
        #expect(rows["bytes"] == [[512, 528, 656]])
        // Part p holds columns 16 p on: box column / 64, two 16-byte columns of eight numbers.
        for v in try #require(rows["p"]) { #expect(v[1] == v[0] * 16 / 64 && v[2] == v[0] * 16 % 64 / 8) }
        #expect(rows["l"]?.map { $0[1] } == [0, 0, 5, 7])
    }

    @Test("Keys that a token sees")
    func visible() throws {
        let rows = try run(
            "for (i32 l : {0, 1, 5, 64}) for (i32 t = 0; t < 3; ++t) row(\"v\", l, t, visibleKeys(l, t, 3, true), "
                + "visibleKeys(l, t, 3, false));")
        for v in try #require(rows["v"]) {
            #expect(v[2] == max(0, v[0] - 3 + v[1] + 1) && v[3] == v[0])
        }
    }

    @Test("The device cuts requests as the host does", arguments: 0..<25)
    func cuts(seed: UInt64) throws {
        var random = RandomNumbers(seed: seed)
        let lengths = (0..<random.number(below: 20)).map { _ in
            [0, 1, 64, 65, random.number(below: 40_000)][random.number(below: 5)]
        }
        let count = 1 + random.number(below: 140)
        let list = lengths.map(String.init).joined(separator: ", ")
        let rows = try run(
            """
            static i32 lengths[] = {\(list.isEmpty ? "0" : list)};
            static Part parts[\(count)]; static i32 ends[\(lengths.count + 1)];
            cutRequests(lengths, \(lengths.count), \(count), parts, ends);
            for (auto& p : parts) row("p", p.firstRequest, p.lastRequest, p.firstPage, p.endPage, p.firstPiece);
            for (i32 e : ends) row("e", e);
            """)
        let host = CUDAMLAParts(lengths: lengths, count: count)
        #expect(rows["e"]?.map { $0[0] } == host.pieceEnds)
        #expect(
            rows["p"] == host.parts.map { [$0.firstRequest, $0.lastRequest, $0.firstPage, $0.endPage, $0.firstPiece] })
    }
}

@Suite("How requests are cut among multiprocessors")
struct CUDAMLAPartsTests {
    @Test(
        "Every page is in one stretch, pieces are numbered in order, and no part does much more than its share",
        arguments: 0..<60)
    func covers(seed: UInt64) {
        var random = RandomNumbers(seed: 1000 + seed)
        let lengths = (0..<1 + random.number(below: 40)).map { _ in
            [0, 1, 63, 64, 65, random.number(below: 3000), random.number(below: 60_000)][random.number(below: 7)]
        }
        let count = 1 + random.number(below: 132)
        let cut = CUDAMLAParts(lengths: lengths, count: count)
        #expect(cut.parts.count == count)
        var next = [Int](repeating: 0, count: lengths.count)
        var pieces = [Int](repeating: 0, count: lengths.count)
        var costs: [Int] = []
        for part in cut.parts {
            let stretches = cut.stretches(of: part, lengths: lengths)
            for stretch in stretches {
                #expect(stretch.pages.lowerBound == next[stretch.request])
                #expect(stretch.piece == cut.pieceEnds[stretch.request] + pieces[stretch.request])
                next[stretch.request] = stretch.pages.upperBound
                pieces[stretch.request] += 1
            }
            costs.append(stretches.reduce(0) { $0 + max($1.pages.count, 1) + 5 })
        }
        for (request, length) in lengths.enumerated() {
            #expect(next[request] == (length + 63) / 64)
            #expect(pieces[request] == cut.pieceEnds[request + 1] - cut.pieceEnds[request])
        }
        #expect(cut.pieceCount <= lengths.count + count)
        let total = lengths.reduce(0) { $0 + CUDAMLAParts.pages($1) + 5 }
        // The last part takes what is left, which the payload's rounding bounds.
        #expect((costs.max() ?? 0) <= (total + count - 1) / count + 2 * 5 + 1)
    }

    @Test("Parts of a machine")
    func count() {
        #expect(CUDAMLAParts.count(multiprocessors: 132, rowCount: 128, keyHeadCount: 1) == 66)
        #expect(CUDAMLAParts.count(multiprocessors: 132, rowCount: 16, keyHeadCount: 1) == 132)
        #expect(CUDAMLAParts.count(multiprocessors: 132, rowCount: 64, keyHeadCount: 200) == 1)
    }
}
