// SPDX-License-Identifier: MIT

import FlashMLA
import KernelDispatch
import LowPrecision
import Platform
import Tensors
import TestSupport
import Testing

/// A fused call over a packed pool, and the same steps one after the other.
private struct FusedCase {
    static let (tokens, heads, width, topK, rowCount) = (5, 3, 512, 90, 128)
    let queries: [Float]
    let norm: [Float]?
    let positions: [Int32]
    let cosines: [Float]
    let sines: [Float]
    let sinks: [Float] = [0.5, -.infinity, 2]
    let indices: [Int32]
    let memory: GuardedBuffer<UInt8>
    let pages: PackedLatentPages

    init(hasNorm: Bool, seed: UInt64) throws {
        var random = RandomNumbers(seed: seed)
        queries = random.normals(Self.tokens * Self.heads * Self.width).map { Float(BFloat16($0)) }
        norm = hasNorm ? random.normals(Self.width).map { 1 + 0.1 * $0 } : nil
        positions = [7, 0, 3, 3, 8]
        // Exact rotations: points (a, b) / c of Pythagorean triples.
        let triples: [(Float, Float, Float)] = [(1, 0, 1), (3, 4, 5), (5, 12, 13), (-8, 15, 17), (7, -24, 25)]
        cosines = (0..<9 * 32).map { triples[$0 % 5].0 / triples[$0 % 5].2 }
        sines = (0..<9 * 32).map { triples[$0 % 5].1 / triples[$0 % 5].2 }
        indices = (0..<Self.tokens * Self.topK).map { _ in
            random.number(below: 9) == 0 ? -1 : Int32(random.number(below: Self.rowCount))
        }
        let memory = GuardedBuffer<UInt8>(count: PackedLatentFormat.v41.pageByteCount(pageSize: 64) * 2, repeating: 0)
        pages = try PackedLatentPages(
            .v41, pageSize: 64, pageCount: 2,
            memory: UnsafeMutableRawBufferPointer(start: memory.start, count: memory.count))
        self.memory = memory
        try random.normals(Self.rowCount * Self.width).withUnsafeBufferPointer {
            try pages.pack($0, slots: Array(0..<Self.rowCount))
        }
    }

    struct Result: Equatable {
        var codes: [UInt8]
        var scales: [UInt32]
        var logSums: [UInt32]
    }

    private func selection(_ lists: UnsafeBufferPointer<Int32>) -> SparseSelection {
        SparseSelection(pool: SparsePool(pages), indices: lists, topK: Self.topK)
    }

    func fused(on context: ComputeContext, positions: [Int32]? = nil) throws -> Result {
        let count = Self.tokens * Self.heads
        let codes = GuardedBuffer<UInt8>(count: count * Self.width, repeating: 0x5A)
        let scales = GuardedBuffer<UInt32>(count: Self.heads * 4 * 7, repeating: 0x5A5A_5A5A)
        let sums = GuardedBuffer<Float>(poisoned: count)
        let (q, n) = (GuardedBuffer(queries, filler: 0), GuardedBuffer(norm ?? [], filler: 0))
        let (c, s) = (GuardedBuffer(cosines, filler: 0), GuardedBuffer(sines, filler: 0))
        let (p, k) = (GuardedBuffer(positions ?? self.positions, filler: 0), GuardedBuffer(sinks, filler: 0))
        let lists = GuardedBuffer(indices, filler: 0)
        try withExtendedLifetime((q, n, c, s, p, k, lists, memory)) {
            try fusedSparseAttention(
                queries: MHATensor(
                    reading: q.start, .float32, tokenCount: Self.tokens, headCount: Self.heads, width: Self.width),
                norm: norm.map { _ in
                    QueryNorm(weights: UnsafeBufferPointer(start: n.start, count: n.count), epsilon: 1e-6)
                },
                rotation: QueryRotation(
                    cosines: UnsafeBufferPointer(start: c.start, count: c.count),
                    sines: UnsafeBufferPointer(start: s.start, count: s.count), columnCount: 64,
                    positions: UnsafeBufferPointer(start: p.start, count: p.count)),
                requestCount: Self.tokens,
                selection: selection(UnsafeBufferPointer(start: lists.start, count: lists.count)),
                scale: 0.05, sinks: UnsafeBufferPointer(start: k.start, count: k.count),
                results: QuantizedResults(
                    codes: UnsafeMutableBufferPointer(start: codes.start, count: codes.count),
                    scales: UnsafeMutableBufferPointer(start: scales.start, count: scales.count), scaleStride: 7,
                    logSums: UnsafeMutableBufferPointer(start: sums.start, count: sums.count)),
                on: context)
        }
        #expect(codes.isIntact && scales.isIntact && sums.isIntact)
        for index in 0..<scales.count where index % 7 >= Self.tokens {
            #expect(scales.start[index] == 0x5A5A_5A5A, "written beyond the tokens")
        }
        return Result(codes: codes.values, scales: scales.values, logSums: sums.bitPatterns)
    }

    /// The turned pair.
    private func turn(_ row: inout ArraySlice<Float>, token: Int, sign: Float) {
        for pair in 0..<32 {
            let column = row.startIndex + Self.width - 64 + 2 * pair
            let (a, b) = (row[column], row[column + 1])
            let cosine = cosines[Int(positions[token]) * 32 + pair]
            let sine = sign * sines[Int(positions[token]) * 32 + pair]
            row[column] = a * cosine - b * sine
            row[column + 1] = a * sine + b * cosine
        }
    }

    /// The steps one after the other: results before they are quantised, and log-sums.
    func steps(on context: ComputeContext) throws -> (out: [Float], logSums: [UInt32]) {
        let count = Self.tokens * Self.heads
        var prepared = queries
        for row in 0..<count {
            let range = row * Self.width..<(row + 1) * Self.width
            if let norm {
                var squares = 0.0
                for index in range { squares += Double(prepared[index]) * Double(prepared[index]) }
                let root = (squares / Double(Self.width) + 1e-6).squareRoot()
                for (place, index) in range.enumerated() {
                    let value: Double = Double(prepared[index]) / root
                    prepared[index] = Float(value * Double(norm[place]))
                }
            }
            turn(&prepared[range], token: row / Self.heads, sign: 1)
        }
        let q = GuardedBuffer(prepared.map { BFloat16($0).bitPattern }, filler: 0)
        let out = GuardedBuffer<Float>(poisoned: count * Self.width)
        let sums = GuardedBuffer<Float>(poisoned: count)
        let (lists, k) = (GuardedBuffer(indices, filler: 0), GuardedBuffer(sinks, filler: 0))
        try withExtendedLifetime((q, lists, k, memory)) {
            try sparseDecode(
                queries: MHATensor(
                    reading: q.start, .bfloat16, tokenCount: Self.tokens, headCount: Self.heads, width: Self.width),
                requestCount: Self.tokens,
                selection: selection(UnsafeBufferPointer(start: lists.start, count: lists.count)), scale: 0.05,
                sinks: UnsafeBufferPointer(start: k.start, count: k.count),
                results: SparseResults(
                    out: MHATensor(
                        writing: out.start, .float32, tokenCount: Self.tokens, headCount: Self.heads,
                        width: Self.width),
                    logSums: UnsafeMutableBufferPointer(start: sums.start, count: sums.count)),
                on: context)
        }
        var found = out.values
        for row in 0..<count {
            turn(&found[row * Self.width..<(row + 1) * Self.width], token: row / Self.heads, sign: -1)
        }
        return (found, sums.bitPatterns)
    }

    /// Quantised by definition.
    func quantized(_ out: [Float]) -> (codes: [UInt8], scales: [UInt32]) {
        var codes: [UInt8] = []
        var scales = [UInt32](repeating: 0x5A5A_5A5A, count: Self.heads * 4 * 7)
        for row in 0..<Self.tokens * Self.heads {
            for word in 0..<4 {
                var bits: UInt32 = 0
                for run in 0..<4 {
                    let first = row * Self.width + 128 * word + 32 * run
                    let peak = out[first..<first + 32].reduce(0) { max($0, abs($1)) }
                    let scale = UE8M0(roundingUp: max(peak, 1e-4) / 448)
                    bits |= UInt32(scale.bitPattern) << UInt32(8 * run)
                    codes += out[first..<first + 32].map { Float8E4M3($0 / Float(scale)).bitPattern }
                }
                scales[(row % Self.heads * 4 + word) * 7 + row / Self.heads] = bits
            }
        }
        return (codes, scales)
    }

    /// Codes times scales.
    func values(_ result: Result) -> [Float] {
        var found: [Float] = []
        for index in result.codes.indices {
            let (row, column) = index.quotientAndRemainder(dividingBy: Self.width)
            let place = row % Self.heads * 4 + column / 128
            let word: UInt32 = result.scales[place * 7 + row / Self.heads] >> UInt32(column % 128 / 32 * 8)
            let scale = Float(UE8M0(bitPattern: UInt8(truncatingIfNeeded: word)))
            found.append(Float(Float8E4M3(bitPattern: result.codes[index])) * scale)
        }
        return found
    }
}

@Suite("Sparse attention fused with norm, rotation and quantisation")
struct FusedAttentionTests {
    @Test("Gives the bits of its steps on every instruction set, on any threads")
    func steps() throws {
        let test = try FusedCase(hasNorm: false, seed: 3)
        for level in InstructionSetLevel.available {
            let expected = try test.steps(on: try ComputeContext(threadCount: 1, level: level))
            let (codes, scales) = test.quantized(expected.out)
            for threads in [1, 4] {
                let found = try test.fused(on: try ComputeContext(threadCount: threads, level: level))
                #expect(found.logSums == expected.logSums, "\(level), \(threads) threads")
                #expect(found.scales == scales, "\(level), \(threads) threads")
                #expect(found.codes == codes, "\(level), \(threads) threads")
            }
        }
    }

    @Test("With a norm it agrees with its steps within what FP8 can hold")
    func norm() throws {
        let test = try FusedCase(hasNorm: true, seed: 4)
        for level in InstructionSetLevel.available {
            let context = try ComputeContext(threadCount: 3, level: level)
            let found = try test.fused(on: context)
            #expect(calcDiff(test.values(found), try test.steps(on: context).out) < 1e-3, "\(level)")
        }
    }

    @Test("A position beyond the tables is refused by token")
    func misuse() throws {
        let test = try FusedCase(hasNorm: false, seed: 5)
        let error = #expect(throws: FathomError.self) {
            _ = try test.fused(on: try ComputeContext(threadCount: 1), positions: [0, 1, 9, 0, 0])
        }
        #expect(error?.message.contains("token 2 is 9") == true)
    }
}
