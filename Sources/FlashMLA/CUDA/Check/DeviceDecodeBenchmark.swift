// SPDX-License-Identifier: MIT

internal import CUDA
public import Platform

/// One decode call timed on a GPU: events around each run, the cache flushed before it, the median.
public struct DeviceDecodeBenchmark: Sendable {
    public var requests: Int
    public var tokens: Int
    public var heads: Int
    /// Keys of a request, or of each query token's list.
    public var length: Int
    /// Whether the keys are packed FP8 rows that lists name.
    public var isSparse: Bool
    /// All three kernels.
    public var seconds: Double

    /// 2 · (576 + 512) operations for each head, token and key that it sees.
    public var teraflops: Double {
        let visible = isSparse ? tokens * length : (0..<tokens).reduce(0) { $0 + max(0, length - tokens + $1 + 1) }
        return Double(requests * visible * heads) * 2 * Double(CUDAMLAKernel.keyWidth + CUDAMLAKernel.valueWidth)
            / seconds / 1e12
    }

    /// Keys, queries and results, once each; a row for each list that names it.
    public var gigabytesPerSecond: Double {
        let rows = requests * tokens * heads
        let keyBytes =
            isSparse
            ? requests * tokens * length * PackedLatentFormat.v32.tokenByteCount
            : requests * length * CUDAMLAKernel.keyWidth * 2
        return Double(keyBytes + rows * (CUDAMLAKernel.keyWidth + CUDAMLAKernel.valueWidth) * 2) / seconds / 1e9
    }

    /// Bytes that are overwritten before each run: several times the L2 cache.
    private static var flushBytes: Int { 256 << 20 }

    /// Dense decoding over a bfloat16 cache.
    ///
    /// - Parameter repetitions: timed runs; the median counts.
    public static func measure(
        requests: Int, tokens: Int, heads: Int, length: Int, repetitions: Int = 20, on device: MLADevice
    ) throws(FathomError) -> DeviceDecodeBenchmark {
        let context = device.library.context
        let blocks = (length + 63) / 64
        let cache = try random(requests * blocks * 64 * CUDAMLAKernel.keyWidth, context)
        // Neighbouring blocks of a request are far from each other, as in a cache that has been in use.
        let table = (0..<requests).flatMap { request in (0..<blocks).map { Int32($0 * requests + request) } }
        let tableMemory = try DeviceMemory(table, context: context)
        let lengths = try DeviceMemory([Int32](repeating: Int32(length), count: requests), context: context)
        let rows = try QueryMemory(requests, tokens, heads, context)
        let seconds = try time(repetitions, on: device) { () throws(FathomError) in
            try denseDecode(
                queries: rows.queries, cache: DevicePagedCache(cache.address, blockCount: requests * blocks),
                sequences: DevicePagedSequences(
                    blockTable: tableMemory.address, blocksPerRequest: blocks, lengths: lengths.address),
                isCausal: true, out: rows.out, logSums: rows.logSums.address, on: device)
        }
        return DeviceDecodeBenchmark(
            requests: requests, tokens: tokens, heads: heads, length: length, isSparse: false, seconds: seconds)
    }

    /// Sparse decoding: lists of `count` rows drawn from a pool of 32768 rows for each request.
    ///
    /// - Parameter repetitions: timed runs; the median counts.
    public static func measureSparse(
        requests: Int, tokens: Int, heads: Int, count: Int, repetitions: Int = 20, on device: MLADevice
    ) throws(FathomError) -> DeviceDecodeBenchmark {
        let context = device.library.context
        let pageCount = requests * 512
        let pool = try DeviceMemory(
            byteCount: pageCount * 64 * PackedLatentFormat.v32.tokenByteCount, context: context)
        // Codes, scales and rotated numbers that are all finite and small.
        try pool.fill(0x30, on: device.stream)
        var state: UInt64 = 1
        let lists = (0..<requests * tokens * count).map { place in
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return Int32(place / (tokens * count) * 32768 + Int(state >> 40) % 32768)
        }
        let listMemory = try DeviceMemory(lists, context: context)
        let rows = try QueryMemory(requests, tokens, heads, context)
        let seconds = try time(repetitions, on: device) { () throws(FathomError) in
            try sparseDecode(
                queries: rows.queries, pool: DevicePackedPool(pool.address, pageSize: 64, pageCount: pageCount),
                selection: DeviceSelection(indices: listMemory.address, count: count), out: rows.out,
                logSums: rows.logSums.address, on: device)
        }
        return DeviceDecodeBenchmark(
            requests: requests, tokens: tokens, heads: heads, length: count, isSparse: true, seconds: seconds)
    }

    /// The median time of `body`'s work on the device.
    private static func time(
        _ repetitions: Int, on device: MLADevice, _ body: () throws(FathomError) -> Void
    ) throws(FathomError) -> Double {
        let context = device.library.context
        let flush = try DeviceMemory(byteCount: flushBytes, context: context)
        let start = try DeviceEvent(context: context)
        let end = try DeviceEvent(context: context)
        var times: [Double] = []
        for repetition in 0..<repetitions + 2 {
            try flush.fill(UInt8(repetition & 0xFF), on: device.stream)
            try start.record(on: device.stream)
            try body()
            try end.record(on: device.stream)
            try end.synchronize()
            // The first runs compile, load and warm up.
            if repetition >= 2 { times.append(try end.milliseconds(since: start) / 1000) }
        }
        return times.sorted()[times.count / 2]
    }

    /// Queries, and room for what comes out.
    private struct QueryMemory: ~Copyable {
        let queryMemory, outMemory, logSums: DeviceMemory
        let shape: (requests: Int, tokens: Int, heads: Int)

        init(_ requests: Int, _ tokens: Int, _ heads: Int, _ context: DeviceContext) throws(FathomError) {
            let rows = requests * tokens * heads
            let queryMemory = try random(rows * CUDAMLAKernel.keyWidth, context)
            let outMemory = try DeviceMemory(byteCount: rows * CUDAMLAKernel.valueWidth * 2, context: context)
            let logSums = try DeviceMemory(byteCount: rows * 4, context: context)
            shape = (requests, tokens, heads)
            self.queryMemory = queryMemory
            self.outMemory = outMemory
            self.logSums = logSums
        }

        var queries: DeviceDecodeTensor { tensor(queryMemory.address, width: CUDAMLAKernel.keyWidth) }
        var out: DeviceDecodeTensor { tensor(outMemory.address, width: CUDAMLAKernel.valueWidth) }

        private func tensor(_ address: UInt64, width: Int) -> DeviceDecodeTensor {
            DeviceDecodeTensor(
                address, requestCount: shape.requests, tokenCount: shape.tokens, headCount: shape.heads, width: width)
        }
    }

    /// Random BF16 numbers between 1/4 and 4 with both signs; the same 16 MiB again and again.
    private static func random(_ count: Int, _ context: DeviceContext) throws(FathomError) -> DeviceMemory {
        var state: UInt64 = 1
        let numbers = (0..<min(count, 8 << 20)).map { _ in
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return UInt16(truncatingIfNeeded: state >> 40) & 0x81FF | 0x3E80
        }
        let memory = try DeviceMemory(byteCount: count * 2, context: context)
        for first in stride(from: 0, to: count, by: numbers.count) {
            try memory.copy(from: Array(numbers.prefix(count - first)), atByte: first * 2)
        }
        return memory
    }
}
