// SPDX-License-Identifier: MIT

internal import CUDA
internal import LowPrecision
public import Platform
internal import Tensors

/// One decode call on a GPU that is held to the definition, with FlashMLA's limits.
public struct DeviceDecodeCase: Sendable {
    public var name: String
    public var lengths: [Int]
    public var tokens: Int
    public var heads: Int
    public var keyHeads: Int
    public var isCausal: Bool
    public var format: DevicePagedCache.Format

    /// What a check gave.
    public struct Check: Sendable {
        public var name: String
        /// `calcDiff` of the results to the definition in Double.
        public var difference: Double
        public var failures: [String]
    }

    init(
        _ name: String, _ lengths: [Int], tokens: Int = 1, heads: Int, keyHeads: Int = 1, isCausal: Bool = true,
        format: DevicePagedCache.Format = .bfloat16
    ) {
        self.name = name
        self.lengths = lengths
        self.tokens = tokens
        self.heads = heads
        self.keyHeads = keyHeads
        self.isCausal = isCausal
        self.format = format
    }

    /// All checks: one and many pages, ends inside and at the end of a page, requests of no keys, cut and whole ones.
    public static let all = [
        DeviceDecodeCase("decode one page", [64], heads: 64),
        DeviceDecodeCase("decode one key", [1, 2], heads: 16),
        DeviceDecodeCase("decode two pages", [128, 65, 127], heads: 128),
        DeviceDecodeCase("decode no keys", [0, 70, 0], heads: 128),
        DeviceDecodeCase("decode odd pages", [192, 300, 1000, 63], heads: 128),
        DeviceDecodeCase("decode a long one beside short ones", [20_000, 3, 64, 500], heads: 16),
        DeviceDecodeCase("decode two tokens", [500, 64, 1, 2], tokens: 2, heads: 128),
        DeviceDecodeCase("decode three tokens, not causal", [500, 64, 1], tokens: 3, heads: 48, isCausal: false),
        DeviceDecodeCase("decode key heads", [400, 90], tokens: 2, heads: 24, keyHeads: 3),
        DeviceDecodeCase("decode fp16", [700, 64, 5], tokens: 2, heads: 64, format: .float16),
        DeviceDecodeCase("decode one head", [4000, 100], heads: 1),
        DeviceDecodeCase("decode many requests", (0..<200).map { $0 * 7 }, heads: 16),
    ]

    private var blocks: [Int] { lengths.map { ($0 + 63) / 64 } }

    private func bits(_ value: Float) -> UInt16 {
        format == .bfloat16 ? BFloat16(value).bitPattern : Float16(value).bitPattern
    }
    private func value(_ bits: UInt16) -> Float {
        format == .bfloat16 ? Float(BFloat16(bitPattern: bits)) : Float(Float16(bitPattern: bits))
    }

    /// Runs the call twice on random numbers and compares. Rows of the cache that nobody sees are not-a-numbers.
    public func run(on device: MLADevice, seed: UInt64) throws(FathomError) -> Check {
        var state = seed &* 0x9E37_79B9_7F4A_7C15 | 1
        func random() -> Float {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            let word = state >> 16
            let sum = (word & 0xFFF) + (word >> 12 & 0xFFF) + (word >> 24 & 0xFFF) + (word >> 36 & 0xFFF)
            return value(bits((Float(sum) - 8190) / 2048))
        }
        let width = CUDAMLAKernel.keyWidth
        let perRequest = max(1, blocks.max() ?? 0)
        let blockCount = blocks.reduce(0, +) + 1
        // From the last block backwards; entries that nobody needs point far away.
        var table = [Int32](repeating: 2_147_480_000, count: lengths.count * perRequest)
        var next = blockCount - 1
        var cache = [Float](repeating: .nan, count: blockCount * 64 * keyHeads * width)
        for (request, length) in lengths.enumerated() {
            for block in 0..<blocks[request] {
                table[request * perRequest + block] = Int32(next)
                let rows = min(64, length - block * 64) * keyHeads * width
                for index in 0..<rows { cache[next * 64 * keyHeads * width + index] = random() }
                next -= 1
            }
        }
        let rowCount = lengths.count * tokens * heads
        let queries = (0..<rowCount * width).map { _ in random() }
        let first = try call(queries, cache, table, perRequest, blockCount, on: device)
        let second = try call(queries, cache, table, perRequest, blockCount, on: device)
        var failures = first == second ? [] : ["two runs differ"]
        let definition = ReferenceDecode(
            tokens: tokens, heads: heads, keyHeads: keyHeads, pageSize: 64, rowWidth: width,
            valueWidth: CUDAMLAKernel.valueWidth, isCausal: isCausal, scale: 1 / Double(width).squareRoot())
        var expected: [Float] = []
        var sums: [Double] = []
        for (request, length) in lengths.enumerated() {
            let size = tokens * heads * width
            let result = definition(
                queries: Array(queries[request * size..<(request + 1) * size]), cache: cache,
                blocks: Array(table[request * perRequest..<(request + 1) * perRequest]), length: length)
            expected += result.out.map { Float($0) }
            sums += result.logSums
        }
        let found = first.out.map(value)
        let difference = calcDiff(expected, found)
        if !(difference < 5e-6) { failures.append("calcDiff \(difference); 5e-6 is allowed") }
        failures += Self.compare("out", found, expected.map(Double.init), absolute: 8e-4, relative: 2.01 / 128)
        failures += Self.compare(
            "log-sum", first.logSums.map(Float.init(bitPattern:)), sums, absolute: 1e-6, relative: 8.01 / 65536)
        return Check(name: name, difference: difference, failures: failures)
    }

    private struct Outcome: Equatable {
        var out: [UInt16]
        var logSums: [UInt32]
    }

    private func call(
        _ queries: [Float], _ cache: [Float], _ table: [Int32], _ perRequest: Int, _ blockCount: Int,
        on device: MLADevice
    ) throws(FathomError) -> Outcome {
        let context = device.library.context
        let rowCount = lengths.count * tokens * heads
        let queryMemory = try DeviceMemory(queries.map(bits), context: context)
        let cacheMemory = try DeviceMemory(cache.map(bits), context: context)
        let tableMemory = try DeviceMemory(table, context: context)
        let lengthMemory = try DeviceMemory(lengths.map(Int32.init), context: context)
        let outMemory = try DeviceMemory(byteCount: rowCount * CUDAMLAKernel.valueWidth * 2, context: context)
        let sumMemory = try DeviceMemory(byteCount: rowCount * 4, context: context)
        try outMemory.fill(words: 0x7FC0_7FC0, on: device.stream)
        try sumMemory.fill(words: 0x7FC0_7FC0, on: device.stream)
        try denseDecode(
            queries: DeviceDecodeTensor(
                queryMemory.address, requestCount: lengths.count, tokenCount: tokens, headCount: heads,
                width: CUDAMLAKernel.keyWidth),
            cache: DevicePagedCache(cacheMemory.address, format, blockCount: blockCount, keyHeadCount: keyHeads),
            sequences: DevicePagedSequences(
                blockTable: tableMemory.address, blocksPerRequest: perRequest, lengths: lengthMemory.address),
            isCausal: isCausal,
            out: DeviceDecodeTensor(
                outMemory.address, requestCount: lengths.count, tokenCount: tokens, headCount: heads,
                width: CUDAMLAKernel.valueWidth), logSums: sumMemory.address, on: device)
        try device.stream.synchronize()
        return Outcome(
            out: try outMemory.values(count: rowCount * CUDAMLAKernel.valueWidth),
            logSums: try sumMemory.values(count: rowCount))
    }

    /// An element passes by its absolute or its relative bound; infinities and not-a-numbers are at the same places.
    static func compare(
        _ what: String, _ found: [Float], _ expected: [Double], absolute: Double, relative: Double
    ) -> [String] {
        for (index, pair) in zip(found, expected).enumerated() {
            let (mine, right) = (Double(pair.0), pair.1)
            let isSame = mine == right || mine.isNaN && right.isNaN
            let error = abs(mine - right)
            if isSame || error <= absolute || error <= relative * abs(right) { continue }
            return ["\(what) \(index) is \(mine) and not \(right)"]
        }
        return []
    }
}
