// SPDX-License-Identifier: MIT
// SAFETY: In this file rows are packed and unpacked inside buffers that live through the call.

internal import CUDA
internal import KernelDispatch
internal import LowPrecision
public import Platform
internal import Tensors

#if canImport(Glibc)
internal import Glibc
#elseif canImport(Musl)
internal import Musl
#endif

/// One sparse decode call on a GPU that is held to the definition, with FlashMLA's limits.
public struct DeviceSparseCase: Sendable {
    public var name: String
    public var requests: Int
    public var tokens: Int
    public var heads: Int
    public var count: Int
    public var pageSize: Int
    /// Of how many entries one is a hole; 1 for all, 0 for none.
    public var holes: Int
    public var hasLengths: Bool
    public var hasSinks: Bool

    init(
        _ name: String, requests: Int, tokens: Int = 1, heads: Int, count: Int, pageSize: Int = 64, holes: Int = 7,
        hasLengths: Bool = false, hasSinks: Bool = false
    ) {
        self.name = name
        self.requests = requests
        self.tokens = tokens
        self.heads = heads
        self.count = count
        self.pageSize = pageSize
        self.holes = holes
        self.hasLengths = hasLengths
        self.hasSinks = hasSinks
    }

    /// All checks: short and long lists, holes, lengths, sinks, any page size, cut and whole requests.
    public static let all = [
        DeviceSparseCase("sparse one page", requests: 2, heads: 64, count: 64, holes: 0),
        DeviceSparseCase("sparse short lists", requests: 3, tokens: 2, heads: 128, count: 37, pageSize: 61),
        DeviceSparseCase("sparse long lists", requests: 2, heads: 128, count: 2048),
        DeviceSparseCase("sparse odd pages", requests: 5, heads: 16, count: 300, pageSize: 2),
        DeviceSparseCase("sparse holes alone", requests: 2, heads: 64, count: 128, holes: 1),
        DeviceSparseCase("sparse lengths", requests: 6, tokens: 2, heads: 64, count: 512, hasLengths: true),
        DeviceSparseCase("sparse sinks", requests: 3, heads: 24, count: 200, hasLengths: true, hasSinks: true),
        DeviceSparseCase("sparse many requests", requests: 150, heads: 64, count: 130, hasSinks: true),
    ]

    /// Rows of the pool.
    private var rowCount: Int { 4096 / pageSize * pageSize }

    /// Runs the call twice on random numbers and compares. Rows that no list names are not-a-numbers.
    public func run(on device: MLADevice, seed: UInt64) throws(FathomError) -> DeviceDecodeCase.Check {
        var state = seed &* 0x9E37_79B9_7F4A_7C15 | 1
        func word() -> UInt64 {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return state >> 16
        }
        func random() -> Float {
            let word = word()
            let sum = (word & 0xFFF) + (word >> 12 & 0xFFF) + (word >> 24 & 0xFFF) + (word >> 36 & 0xFFF)
            return (Float(sum) - 8190) / 2048
        }
        let width = CUDAMLAKernel.keyWidth
        let lists = (0..<requests * tokens * count).map { _ -> Int32 in
            if holes > 0, word() % UInt64(holes) == 0 {
                return [-1, Int32.min, Int32(rowCount), .max, -123_456][Int(word() % 5)]
            }
            return Int32(word() % UInt64(rowCount))
        }
        let lengths = (0..<requests).map { request in
            hasLengths ? [0, 1, count, count / 2, 64, count + 9][request % 6] : count
        }
        let sinks: [Float]? =
            hasSinks ? (0..<heads).map { [0, 3, -.infinity, .infinity, -2][$0 % 5] } : nil
        let pool = try packedPool(lists, lengths, random)
        let queries = (0..<requests * tokens * heads * width).map { _ in Float(BFloat16(random())) }
        let first = try call(queries, pool.bytes, lists, lengths, sinks, on: device)
        let second = try call(queries, pool.bytes, lists, lengths, sinks, on: device)
        var failures = first == second ? [] : ["two runs differ"]
        let expected = definition(queries, pool.rows, lists, lengths, sinks)
        let found = first.out.map { Float(BFloat16(bitPattern: $0)) }
        let difference = calcDiff(expected.out.map { Float($0) }, found)
        if !(difference < 5e-6) { failures.append("calcDiff \(difference); 5e-6 is allowed") }
        failures += DeviceDecodeCase.compare("out", found, expected.out, absolute: 1e-3, relative: 2.01 / 128)
        failures += DeviceDecodeCase.compare(
            "log-sum", first.logSums.map(Float.init(bitPattern:)), expected.logSums, absolute: 1e-6,
            relative: 8.01 / 65536)
        return DeviceDecodeCase.Check(name: name, difference: difference, failures: failures)
    }

    /// Entries of a list that name a row.
    private func chosen(_ lists: [Int32], _ lengths: [Int], _ request: Int, _ token: Int) -> [Int] {
        let start = (request * tokens + token) * count
        return lists[start..<start + max(0, min(lengths[request], count))].map(Int.init).filter {
            (0..<rowCount).contains($0)
        }
    }

    /// The pool's bytes, and its rows as attention reads them.
    private func packedPool(
        _ lists: [Int32], _ lengths: [Int], _ random: () -> Float
    ) throws(FathomError) -> (bytes: [UInt8], rows: [Float]) {
        let format = PackedLatentFormat.v32
        let width = format.rowWidth
        let bytes = try AlignedBuffer<UInt8>(count: rowCount * format.tokenByteCount, purpose: "a packed pool")
        for index in 0..<bytes.count { bytes.baseAddress[index] = 0xFF }
        let pages = try PackedLatentPages(
            format, pageSize: pageSize, pageCount: rowCount / pageSize,
            memory: UnsafeMutableRawBufferPointer(start: bytes.baseAddress, count: bytes.count))
        var used = Set<Int>()
        for request in 0..<requests {
            for token in 0..<tokens { used.formUnion(chosen(lists, lengths, request, token)) }
        }
        let slots = used.sorted()
        let numbers = try AlignedBuffer<Float>(count: max(1, slots.count * width), purpose: "rows")
        for index in 0..<slots.count * width { numbers.baseAddress[index] = random() }
        try pages.pack(UnsafeBufferPointer(start: numbers.baseAddress, count: slots.count * width), slots: slots)
        let unpacked = try AlignedBuffer<Float>(count: max(1, rowCount * width), purpose: "rows")
        let compute = try ComputeContext(threadCount: 1)
        for slot in slots {
            try pages.unpack(
                slots: [slot],
                to: UnsafeMutableBufferPointer(start: unpacked.baseAddress + slot * width, count: width), on: compute)
        }
        return (
            (0..<bytes.count).map { bytes.baseAddress[$0] },
            (0..<rowCount * width).map { unpacked.baseAddress[$0] }
        )
    }

    /// The definition in Double: out [requests, tokens, heads, 512] and log-sums [requests, heads, tokens].
    private func definition(
        _ queries: [Float], _ rows: [Float], _ lists: [Int32], _ lengths: [Int], _ sinks: [Float]?
    ) -> (out: [Double], logSums: [Double]) {
        let width = CUDAMLAKernel.keyWidth
        let single = ReferenceDecode(
            tokens: 1, heads: heads, pageSize: 1, rowWidth: width, valueWidth: CUDAMLAKernel.valueWidth,
            isCausal: false, scale: 1 / Double(width).squareRoot())
        var out: [Double] = []
        var logSums = [Double](repeating: 0, count: requests * heads * tokens)
        for request in 0..<requests {
            for token in 0..<tokens {
                let blocks = chosen(lists, lengths, request, token).map { Int32($0) }
                let start = (request * tokens + token) * heads * width
                let result = single(
                    queries: Array(queries[start..<start + heads * width]), cache: rows, blocks: blocks,
                    length: blocks.count)
                for head in 0..<heads {
                    let sum = result.logSums[head]
                    logSums[(request * heads + head) * tokens + token] = sum
                    let sink = sinks.map { Double($0[head]) } ?? -.infinity
                    let factor = blocks.isEmpty ? 0 : 1 / (1 + exp(sink - sum))
                    out += result.out[head * 512..<(head + 1) * 512].map { $0 * factor }
                }
            }
        }
        return (out, logSums)
    }

    private struct Outcome: Equatable {
        var out: [UInt16]
        var logSums: [UInt32]
    }

    private func call(
        _ queries: [Float], _ pool: [UInt8], _ lists: [Int32], _ lengths: [Int], _ sinks: [Float]?,
        on device: MLADevice
    ) throws(FathomError) -> Outcome {
        let context = device.library.context
        let rows = requests * tokens * heads
        let queryMemory = try DeviceMemory(queries.map { BFloat16($0).bitPattern }, context: context)
        let poolMemory = try DeviceMemory(pool, context: context)
        let listMemory = try DeviceMemory(lists.isEmpty ? [0] : lists, context: context)
        let lengthMemory = try DeviceMemory(lengths.map(Int32.init), context: context)
        let sinkMemory = try DeviceMemory(sinks ?? [0], context: context)
        let outMemory = try DeviceMemory(byteCount: rows * CUDAMLAKernel.valueWidth * 2, context: context)
        let sumMemory = try DeviceMemory(byteCount: rows * 4, context: context)
        try outMemory.fill(words: 0x7FC0_7FC0, on: device.stream)
        try sumMemory.fill(words: 0x7FC0_7FC0, on: device.stream)
        try sparseDecode(
            queries: DeviceDecodeTensor(
                queryMemory.address, requestCount: requests, tokenCount: tokens, headCount: heads,
                width: CUDAMLAKernel.keyWidth),
            pool: DevicePackedPool(poolMemory.address, pageSize: pageSize, pageCount: rowCount / pageSize),
            selection: DeviceSelection(
                indices: listMemory.address, count: count, lengths: hasLengths ? lengthMemory.address : nil),
            sinks: sinks == nil ? nil : sinkMemory.address,
            out: DeviceDecodeTensor(
                outMemory.address, requestCount: requests, tokenCount: tokens, headCount: heads,
                width: CUDAMLAKernel.valueWidth), logSums: sumMemory.address, on: device)
        try device.stream.synchronize()
        return Outcome(
            out: try outMemory.values(count: rows * CUDAMLAKernel.valueWidth),
            logSums: try sumMemory.values(count: rows))
    }
}
