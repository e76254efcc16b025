// SPDX-License-Identifier: MIT

public import KernelDispatch
internal import Kernels
public import Platform
internal import Tensors

/// Times both halves of hyper-connections on bfloat16 streams.
public struct HyperConnectionBenchmark: Sendable, Codable {
    public var tokenCount: Int
    public var streamCount: Int
    public var width: Int
    /// Median time of `hyperConnectionInput` with a norm and FP8 output.
    public var inputSeconds: Double
    /// Median time of the projection alone.
    public var productSeconds: Double
    /// Median time of `hyperConnectionOutput`.
    public var outputSeconds: Double
    /// Bytes that the first half must read and write: streams, projection, codes.
    public var inputBytes: Int
    /// Bytes that the second half must read and write: streams, the layer's output, the next streams.
    public var outputBytes: Int

    /// - Parameter minimumSeconds: how long to repeat; at least three runs.
    /// - Throws: `usage` naming an extent that is not legal.
    public static func measure(
        tokenCount: Int, streamCount: Int = 4, width: Int = 7168, minimumSeconds: Double, on context: ComputeContext
    ) throws(FathomError) -> HyperConnectionBenchmark {
        for (name, extent) in [("tokens", tokenCount), ("streams", streamCount), ("columns", width)]
        where extent < 1 {
            throw FathomError(
                .usage, "the hyper-connections' benchmark with \(extent) \(name); at least 1 is legal")
        }
        let all = try elementCount([streamCount, width], of: "streams")
        let streams = try GateBenchmark.halves(tokenCount, all, seed: 1, context)
        let output = try GateBenchmark.halves(tokenCount, width, seed: 2, context)
        let rows = HyperConnections.coefficientCount(min(streamCount, HyperConnections.streamLimit))
        let connections = try HyperConnections(
            streamCount: streamCount, projection: GateBenchmark.halves(rows, all, seed: 3, context),
            bias: [Float](repeating: 0, count: rows), gains: HyperConnections.Gains(pre: 0.1, post: 0.1, res: 0.1))
        let norm = HyperNorm(weight: [Float](repeating: 1, count: width))
        let next = try AlignedBuffer<UInt16>(
            count: elementCount([tokenCount, all], of: "streams"), purpose: "the next streams")
        var times: [[Double]] = [[], [], []]
        let clock = ContinuousClock()
        // In turns, so that all see the same machine.
        while times[0].count < 3 || times.joined().reduce(0, +) < minimumSeconds {
            let start = clock.now
            blackHole(try prenormProduct(streams, connections.projection, on: context))
            let product = clock.now
            let input = try hyperConnectionInput(
                streams, connections: connections, norm: norm, format: .float8(), on: context)
            let middle = clock.now
            try hyperConnectionOutput(
                streams, layerOutput: output, coefficients: input.coefficients,
                // SAFETY: the buffer has a row for every token.
                into: MatrixResult(UnsafeMutableRawPointer(next.baseAddress), .bfloat16, stride: all), on: context)
            times[0].append((product - start) / .seconds(1))
            times[1].append((middle - product) / .seconds(1))
            times[2].append((clock.now - middle) / .seconds(1))
        }
        let medians = times.map { $0.sorted()[$0.count / 2] }
        return HyperConnectionBenchmark(
            tokenCount: tokenCount, streamCount: streamCount, width: width, inputSeconds: medians[1],
            productSeconds: medians[0], outputSeconds: medians[2],
            inputBytes: (tokenCount + rows) * all * 2 + tokenCount * width,
            outputBytes: tokenCount * (2 * all + width) * 2)
    }
}
