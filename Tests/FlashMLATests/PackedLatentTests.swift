// SPDX-License-Identifier: MIT

import FlashMLA
import KernelDispatch
import LowPrecision
import Platform
import TestSupport
import Testing

@Suite("Packed latent caches")
struct PackedLatentTests {
    /// Numbers of very different magnitudes.
    private func rows(_ format: PackedLatentFormat, _ count: Int, seed: UInt64) -> [Float] {
        var random = RandomNumbers(seed: seed)
        return (0..<count * format.rowWidth).map { _ in
            random.normal() * Float(sign: .plus, exponent: random.number(below: 24) - 12, significand: 1)
        }
    }

    private func pages(
        _ format: PackedLatentFormat, pageSize: Int, pageCount: Int, _ memory: GuardedBuffer<UInt8>,
        stride: Int? = nil
    ) throws -> PackedLatentPages {
        try PackedLatentPages(
            format, pageSize: pageSize, pageCount: pageCount, pageStride: stride,
            memory: UnsafeMutableRawBufferPointer(start: memory.start, count: memory.count))
    }

    @Test("The formats have the original's extents")
    func extents() {
        #expect(PackedLatentFormat.allCases.map(\.tokenByteCount) == [656, 584, 528, 288])
        #expect(PackedLatentFormat.allCases.map(\.rowWidth) == [576, 512, 512, 512])
        #expect(PackedLatentFormat.v32.pageByteCount(pageSize: 61) == 61 * 656)
        #expect(PackedLatentFormat.model1.pageByteCount(pageSize: 64) == 37440)
        #expect(PackedLatentFormat.model1.pageByteCount(pageSize: 2) == 1728)
        #expect(PackedLatentFormat.model1.pageByteCount(pageSize: 72) == 73 * 576)
        #expect(PackedLatentFormat.v41.pageByteCount(pageSize: 3) == 1584)
        #expect(PackedLatentFormat.v41fp4.pageByteCount(pageSize: 3) == 864)
    }

    /// A row that E4M3 holds exactly, with its codes and the exponents of its scales; the rope is c − 30.5.
    private func handMade(_ format: PackedLatentFormat) -> (values: [Float], codes: [UInt8], exponents: [UInt8]) {
        // Multiples of the scale that E4M3 holds; the largest makes the scale.
        let codeOf: [Float: UInt8] = [0: 0, 56: 0x66, 112: 0x6E, 160: 0x72, 224: 0x76, 288: 0x79, 320: 0x7A, 448: 0x7E]
        let steps: [Float] = [448, -56, 112, -160, 224, 288, -320, 0]
        var values: [Float] = []
        var codes: [UInt8] = []
        var exponents: [UInt8] = []
        for group in 0..<format.groupCount {
            let exponent = group % 3 == 0 ? group - 3 : -group
            exponents.append(UInt8(127 + max(exponent, -13)))
            let factor = Float(sign: .plus, exponent: max(exponent, -13), significand: 1)
            for c in 0..<format.groupWidth {
                let step = steps[c % 8]
                values.append(step * factor)
                codes.append((codeOf[abs(step)] ?? 0xEE) | (step < 0 ? 0x80 : 0))
            }
        }
        return (values + (0..<format.ropeWidth).map { Float($0) - 30.5 }, codes, exponents)
    }

    @Test(
        "Packing writes the original's bytes at the original's places",
        arguments: PackedLatentFormat.allCases.filter { $0 != .v41fp4 })
    func bytes(format: PackedLatentFormat) throws {
        let page = format.pageByteCount(pageSize: 3)
        let memory = GuardedBuffer<UInt8>(count: 2 * page, repeating: 0xA7)
        let pages = try pages(format, pageSize: 3, pageCount: 2, memory)
        let (values, codes, exponents) = handMade(format)
        try values.withUnsafeBufferPointer { try pages.pack($0, slots: [4]) }
        var expected = [UInt8](repeating: 0xA7, count: 2 * page)
        func put(_ bytes: [UInt8], _ at: Int) { expected.replaceSubrange(at..<at + bytes.count, with: bytes) }
        let rope = (0..<format.ropeWidth).flatMap { c -> [UInt8] in
            let bits = (Float(c) - 30.5).bitPattern
            return [UInt8(bits >> 16 & 0xFF), UInt8(bits >> 24)]
        }
        switch format {
        case .v32:
            put(codes, page + 656)
            // The upper bytes of a little-endian power of two: exponent's low bit, then its rest.
            put(exponents.flatMap { [0, 0, $0 << 7, $0 >> 1] }, page + 656 + 512)
            put(rope, page + 656 + 528)
        case .model1:
            put(codes, page + 576)
            put(rope, page + 576 + 448)
            put(exponents + [0], page + 3 * 576 + 8)
        case .v41:
            put(codes, page + 528)
            put(exponents, page + 528 + 512)
        case .v41fp4: Issue.record("has a test of its own")
        }
        #expect(memory.values == expected)
        #expect(memory.isIntact)
        // The values were chosen to be exact.
        for level in InstructionSetLevel.available {
            let context = try ComputeContext(threadCount: 1, level: level)
            let out = GuardedBuffer(poisoned: format.rowWidth)
            try pages.unpack(
                slots: [4], to: UnsafeMutableBufferPointer(start: out.start, count: out.count), on: context)
            #expect(out.values == values && out.isIntact)
        }
        withExtendedLifetime(memory) {}
    }

    @Test("FP4 rows: 256 bytes of codes, the even column in the lower half, then 32 E4M3 scales")
    func float4Bytes() throws {
        // Group g is made of all levels times a scale that E4M3 holds, 2^(g − 16) from g = 7 on, and 2⁻⁹ before.
        let levels: [Float] = [6, -0.5, 1, -1.5, 2, -3, 4, 0, -6, 0.5, -1, 1.5, -2, 3, -4, 0]
        let codes: [UInt8] = [7, 9, 2, 11, 4, 13, 6, 0, 15, 1, 10, 3, 12, 5, 14, 0]
        let exponents = (0..<32).map { min(max($0 - 16, -9), 8) }
        let values = exponents.flatMap { exponent in
            levels.map { $0 * Float(sign: .plus, exponent: exponent, significand: 1) }
        }
        let scaleCodes = exponents.map { $0 < -6 ? UInt8(1 << ($0 + 9)) : UInt8(($0 + 7) << 3) }
        let memory = GuardedBuffer<UInt8>(count: 2 * 3 * 288, repeating: 0xA7)
        let pages = try pages(.v41fp4, pageSize: 3, pageCount: 2, memory)
        try values.withUnsafeBufferPointer { try pages.pack($0, slots: [4]) }
        var expected = [UInt8](repeating: 0xA7, count: 2 * 3 * 288)
        let bytes = stride(from: 0, to: 16, by: 2).map { codes[$0] | codes[$0 + 1] << 4 }
        expected.replaceSubrange(4 * 288..<5 * 288, with: (0..<32).flatMap { _ in bytes } + scaleCodes)
        #expect(memory.values == expected)
        #expect(memory.isIntact)
        for level in InstructionSetLevel.available {
            let context = try ComputeContext(threadCount: 1, level: level)
            let out = GuardedBuffer(poisoned: 512)
            try pages.unpack(
                slots: [4], to: UnsafeMutableBufferPointer(start: out.start, count: out.count), on: context)
            #expect(out.values == values && out.isIntact)
        }
        withExtendedLifetime(memory) {}
    }

    @Test("Every FP4 code under every E4M3 scale decodes to its product, at every level")
    func float4Domain() throws {
        let memory = GuardedBuffer<UInt8>(count: 8 * 288, repeating: 0)
        let pages = try pages(.v41fp4, pageSize: 8, pageCount: 1, memory)
        for slot in 0..<8 {
            for byte in 0..<256 { memory.start[slot * 288 + byte] = UInt8(byte % 8 * 2 | (byte % 8 * 2 + 1) << 4) }
            for group in 0..<32 { memory.start[slot * 288 + 256 + group] = UInt8(slot * 32 + group) }
        }
        for level in InstructionSetLevel.available {
            let context = try ComputeContext(threadCount: 1, level: level)
            let out = GuardedBuffer(poisoned: 8 * 512)
            try pages.unpack(
                slots: Array(0..<8), to: UnsafeMutableBufferPointer(start: out.start, count: out.count), on: context)
            #expect(out.isIntact)
            for (index, value) in out.values.enumerated() {
                let scale = Float(Float8E4M3(bitPattern: UInt8(index / 16)))
                let expected = Float(Float4E2M1(bitPattern: UInt8(index % 16))) * scale
                #expect(value == expected || value.isNaN && scale.isNaN, "scale \(index / 16), code \(index % 16)")
            }
        }
        withExtendedLifetime(memory) {}
    }

    @Test("FP4 rows come back within half a step of E2M1 and of the scale", arguments: [1, 61])
    func float4RoundTrip(pageSize: Int) throws {
        let memory = GuardedBuffer<UInt8>(count: 64 * pageSize * 288, repeating: 0xFF)
        let pages = try pages(.v41fp4, pageSize: pageSize, pageCount: 64, memory)
        var random = RandomNumbers(seed: 8)
        let slots = Array((0..<pages.rowCount).shuffled(using: &random).prefix(50))
        let rows = rows(.v41fp4, slots.count, seed: 9)
        try rows.withUnsafeBufferPointer { try pages.pack($0, slots: slots) }
        let context = try ComputeContext(threadCount: 1)
        let out = GuardedBuffer(poisoned: rows.count)
        try pages.unpack(slots: slots, to: UnsafeMutableBufferPointer(start: out.start, count: out.count), on: context)
        #expect(out.isIntact && memory.isIntact)
        for group in 0..<rows.count / 16 {
            let numbers = rows[group * 16..<(group + 1) * 16]
            let peak = numbers.map { abs($0) }.max() ?? 0
            let scale = Float(Float8E4M3(min(max(peak / 6, 0x1p-9), 448)))
            for index in numbers.indices {
                let (x, y) = (rows[index], out.start[index])
                #expect(y == Float(Float4E2M1(x / scale)) * scale)
                // Half the widest gap of the levels, and what the scale lost of the peak.
                if peak <= 2688 { #expect(abs(x - y) <= scale + peak / 16, "\(x) came back as \(y)") }
            }
        }
        withExtendedLifetime(memory) {}
    }

    @Test(
        "Rows come back within half a step of E4M3, and as the definition says",
        arguments: PackedLatentFormat.allCases.filter { $0 != .v41fp4 }, [1, 2, 61, 64])
    func roundTrip(format: PackedLatentFormat, pageSize: Int) throws {
        let pageCount = 130 / pageSize + 1
        let stride = format.pageByteCount(pageSize: pageSize) + (pageSize == 61 ? 13 : 0)
        let memory = GuardedBuffer<UInt8>(
            count: (pageCount - 1) * stride + format.pageByteCount(pageSize: pageSize), repeating: 0xFF)
        let pages = try pages(format, pageSize: pageSize, pageCount: pageCount, memory, stride: stride)
        var random = RandomNumbers(seed: 5)
        let slots = Array((0..<pages.rowCount).shuffled(using: &random).prefix(50))
        let rows = rows(format, slots.count, seed: 6)
        try rows.withUnsafeBufferPointer { try pages.pack($0, slots: slots) }
        for level in InstructionSetLevel.available {
            let context = try ComputeContext(threadCount: 1, level: level)
            let out = GuardedBuffer(poisoned: rows.count)
            try pages.unpack(
                slots: slots, to: UnsafeMutableBufferPointer(start: out.start, count: out.count), on: context)
            #expect(out.isIntact && memory.isIntact)
            for row in slots.indices {
                for c in 0..<format.rowWidth {
                    let (x, y) = (rows[row * format.rowWidth + c], out.start[row * format.rowWidth + c])
                    guard c < format.latentWidth else {
                        #expect(y == Float(BFloat16(x)))
                        continue
                    }
                    let group = c / format.groupWidth * format.groupWidth
                    let peak = (group..<group + format.groupWidth).map { abs(rows[row * format.rowWidth + $0]) }.max()
                    let y448 = max((peak ?? 0) / 448, 1e-4)
                    let exponent = y448.significand == 1 ? y448.exponent : y448.exponent + 1
                    let scale = Float(sign: .plus, exponent: Int(exponent), significand: 1)
                    #expect(y == Float(Float8E4M3(x / scale)) * scale)
                    #expect(abs(x - y) <= max(abs(x) / 16, scale / 1024))
                }
            }
        }
        withExtendedLifetime(memory) {}
    }

    @Test("bfloat16 rows pack to the bytes of their float32 twins", arguments: PackedLatentFormat.allCases)
    func bfloat16(format: PackedLatentFormat) throws {
        let rows = rows(format, 3, seed: 7).map { BFloat16($0) }
        var found: [[UInt8]] = []
        for isFloat32 in [false, true] {
            let memory = GuardedBuffer<UInt8>(count: format.pageByteCount(pageSize: 5), repeating: 0x33)
            let pages = try pages(format, pageSize: 5, pageCount: 1, memory)
            if isFloat32 {
                try rows.map { Float($0) }.withUnsafeBufferPointer { try pages.pack($0, slots: [4, 0, 2]) }
            } else {
                try rows.withUnsafeBufferPointer { try pages.pack($0, slots: [4, 0, 2]) }
            }
            found.append(memory.values)
        }
        #expect(found[0] == found[1])
    }

    @Test("Every code under any stored scale decodes as the definition says; NaN stays NaN")
    func everyCode() throws {
        let memory = GuardedBuffer<UInt8>(count: 656, repeating: 0)
        let pages = try pages(.v32, pageSize: 1, pageCount: 1, memory)
        let codes = (0..<512).map { UInt8(truncatingIfNeeded: $0) }
        let rope = (0..<64).map { BFloat16(bitPattern: UInt16($0 * 1000)) }
        let bytes = UnsafeMutableRawPointer(memory.start)
        for (index, code) in codes.enumerated() { memory.start[index] = code }
        for (index, number) in rope.enumerated() {
            bytes.storeBytes(of: number.bitPattern, toByteOffset: 528 + 2 * index, as: UInt16.self)
        }
        let sets: [[Float]] = [
            [0.3, 1.7, 1, 0x1p-126], [0x1.fffffep+100, 0x1p119, .nan, .infinity], [0, -3.3, 1e-30, 0x1p-149],
        ]
        for level in InstructionSetLevel.available {
            let context = try ComputeContext(threadCount: 1, level: level)
            for scales in sets {
                for (index, scale) in scales.enumerated() {
                    bytes.storeBytes(of: scale.bitPattern, toByteOffset: 512 + 4 * index, as: UInt32.self)
                }
                let out = GuardedBuffer(poisoned: 576)
                try pages.unpack(
                    slots: [0], to: UnsafeMutableBufferPointer(start: out.start, count: 576), on: context)
                let expected = referencePackedRow(
                    codes: codes.map { Float8E4M3(bitPattern: $0) }, scales: scales, rope: rope)
                for c in 0..<576 {
                    let (x, y) = (out.start[c], expected[c])
                    #expect(x.isNaN ? y.isNaN : x == y, "\(level), column \(c): \(x), not \(y)")
                }
            }
        }
        withExtendedLifetime(memory) {}
    }

    @Test("Exponent codes 0 and 255 are 2^-127 and NaN")
    func exponents() throws {
        let memory = GuardedBuffer<UInt8>(count: 528, repeating: 0x38)
        let pages = try pages(.v41, pageSize: 1, pageCount: 1, memory)
        memory.start[512] = 0
        memory.start[513] = 255
        memory.start[514] = 254
        for level in InstructionSetLevel.available {
            let context = try ComputeContext(threadCount: 1, level: level)
            let out = GuardedBuffer(poisoned: 512)
            try pages.unpack(
                slots: [0], to: UnsafeMutableBufferPointer(start: out.start, count: 512), on: context)
            #expect(out.values[..<32].allSatisfy { $0 == 0x1p-127 })
            #expect(out.values[32..<64].allSatisfy { $0.isNaN })
            #expect(out.values[64..<96].allSatisfy { $0 == 0x1p127 })
        }
        withExtendedLifetime(memory) {}
    }

    @Test("Broken rules are errors that name them, and nothing is written")
    func misuse() throws {
        let memory = GuardedBuffer<UInt8>(count: 2 * 656, repeating: 0xA7)
        let all = UnsafeMutableRawBufferPointer(start: memory.start, count: memory.count)
        func make(_ size: Int, _ count: Int, _ stride: Int? = nil) throws(FathomError) {
            _ = try PackedLatentPages(.v32, pageSize: size, pageCount: count, pageStride: stride, memory: all)
        }
        expectFailure(.usage, naming: ["pages of 0 tokens", "1 to"]) { () throws(FathomError) in try make(0, 1) }
        expectFailure(.usage, naming: ["-1 pages", "0 to"]) { () throws(FathomError) in try make(1, -1) }
        expectFailure(.usage, naming: ["655", "656"]) { () throws(FathomError) in try make(1, 2, 655) }
        expectFailure(.usage, naming: ["1312", "1968"]) { () throws(FathomError) in try make(1, 3) }
        expectFailure(.usage, naming: ["1312", "need"]) { () throws(FathomError) in try make(1 << 31, 1 << 31) }
        expectFailure(.usage, naming: ["1312", "need"]) { () throws(FathomError) in try make(1, 3, .max) }
        let pages = try pages(.v32, pageSize: 2, pageCount: 1, memory)
        func pack(_ rows: [Float], _ slots: [Int]) throws(FathomError) {
            let buffer = GuardedBuffer(rows)
            try pages.pack(UnsafeBufferPointer(start: buffer.start, count: buffer.count), slots: slots)
        }
        let row = [Float](repeating: 1, count: 576)
        expectFailure(.usage, naming: ["slot 1", "2", "0 to 1"]) { () throws(FathomError) in
            try pack(row + row, [0, 2])
        }
        expectFailure(.usage, naming: ["slot 0", "-1"]) { () throws(FathomError) in try pack(row, [-1]) }
        expectFailure(.usage, naming: ["575", "576"]) { () throws(FathomError) in try pack(row.dropLast(), [0]) }
        for (column, value) in [(3, Float.nan), (511, .infinity), (575, Float.greatestFiniteMagnitude)] {
            var broken = row + row
            broken[576 + column] = value
            expectFailure(.badData, naming: ["row 1", "column \(column)", "finite"]) { () throws(FathomError) in
                try pack(broken, [0, 1])
            }
        }
        #expect(memory.values.allSatisfy { $0 == 0xA7 })
        let context = try ComputeContext(threadCount: 1)
        let out = GuardedBuffer(poisoned: 576)
        let target = UnsafeMutableBufferPointer(start: out.start, count: 576)
        expectFailure(.usage, naming: ["slot 0", "2"]) { () throws(FathomError) in
            try pages.unpack(slots: [2], to: target, on: context)
        }
        expectFailure(.usage, naming: ["576", "1152"]) { () throws(FathomError) in
            try pages.unpack(slots: [0, 1], to: target, on: context)
        }
        #expect(out.bitPatterns.allSatisfy { $0 == GuardedBuffer<Float>.poison.bitPattern })
        withExtendedLifetime(memory) {}
    }
}
