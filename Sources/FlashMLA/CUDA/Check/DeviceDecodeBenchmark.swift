// SPDX-License-Identifier: MIT

internal import CUDA
public import Platform

/// One decode call timed on a GPU: events around each run, the cache flushed before it, the median.
public struct DeviceDecodeBenchmark: Sendable {
    public var requests: Int
    public var tokens: Int
    public var heads: Int
    public var length: Int
    /// All three kernels.
    public var seconds: Double

    /// 2 · (576 + 512) operations for each head, token and key that it sees.
    public var teraflops: Double {
        let visible = (0..<tokens).reduce(0) { $0 + max(0, length - tokens + $1 + 1) }
        return Double(requests * visible * heads) * 2 * Double(CUDAMLAKernel.keyWidth + CUDAMLAKernel.valueWidth)
            / seconds / 1e12
    }

    /// Keys, queries and results, once each.
    public var gigabytesPerSecond: Double {
        let rows = requests * tokens * heads
        let bytes =
            requests * length * CUDAMLAKernel.keyWidth * 2
            + rows * (CUDAMLAKernel.keyWidth + CUDAMLAKernel.valueWidth) * 2
        return Double(bytes) / seconds / 1e9
    }

    /// Bytes that are overwritten before each run: several times the L2 cache.
    private static var flushBytes: Int { 256 << 20 }

    /// - Parameter repetitions: timed runs; the median counts.
    public static func measure(
        requests: Int, tokens: Int, heads: Int, length: Int, repetitions: Int = 20, on device: MLADevice
    ) throws(FathomError) -> DeviceDecodeBenchmark {
        let context = device.library.context
        let blocks = (length + 63) / 64
        let cache = try random(requests * blocks * 64 * CUDAMLAKernel.keyWidth, context)
        let rows = requests * tokens * heads
        let queries = try random(rows * CUDAMLAKernel.keyWidth, context)
        let out = try DeviceMemory(byteCount: rows * CUDAMLAKernel.valueWidth * 2, context: context)
        let sums = try DeviceMemory(byteCount: rows * 4, context: context)
        // Neighbouring blocks of a request are far from each other, as in a cache that has been in use.
        let table = (0..<requests).flatMap { request in (0..<blocks).map { Int32($0 * requests + request) } }
        let tableMemory = try DeviceMemory(table, context: context)
        let lengths = try DeviceMemory([Int32](repeating: Int32(length), count: requests), context: context)
        let flush = try DeviceMemory(byteCount: flushBytes, context: context)
        let start = try DeviceEvent(context: context)
        let end = try DeviceEvent(context: context)
        var times: [Double] = []
        for repetition in 0..<repetitions + 2 {
            try flush.fill(UInt8(repetition & 0xFF), on: device.stream)
            try start.record(on: device.stream)
            try denseDecode(
                queries: DeviceDecodeTensor(
                    queries.address, requestCount: requests, tokenCount: tokens, headCount: heads,
                    width: CUDAMLAKernel.keyWidth),
                cache: DevicePagedCache(cache.address, blockCount: requests * blocks),
                sequences: DevicePagedSequences(
                    blockTable: tableMemory.address, blocksPerRequest: blocks, lengths: lengths.address),
                isCausal: true,
                out: DeviceDecodeTensor(
                    out.address, requestCount: requests, tokenCount: tokens, headCount: heads,
                    width: CUDAMLAKernel.valueWidth), logSums: sums.address, on: device)
            try end.record(on: device.stream)
            try end.synchronize()
            // The first runs compile, load and warm up.
            if repetition >= 2 { times.append(try end.milliseconds(since: start) / 1000) }
        }
        return DeviceDecodeBenchmark(
            requests: requests, tokens: tokens, heads: heads, length: length,
            seconds: times.sorted()[times.count / 2])
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
