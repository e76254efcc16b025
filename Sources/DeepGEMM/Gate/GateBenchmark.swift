// SPDX-License-Identifier: MIT

public import KernelDispatch
internal import Kernels
public import Platform
internal import Tensors

/// Times a gate beside the product in it.
public struct GateBenchmark: Sendable, Codable {
    public var tokenCount: Int
    public var expertCount: Int
    public var width: Int
    public var expertsPerToken: Int
    /// `ExpertRouting.Scoring`.
    public var scoring: String
    /// Median time of the gate.
    public var seconds: Double
    /// Median time of its product alone.
    public var productSeconds: Double
    /// Bytes of the weight, which are read at least once.
    public var weightBytes: Int
    /// Whether bfloat16 pairs were multiplied, for which the machine has a peak of its own.
    public var multipliesPairs: Bool

    /// - Parameters:
    ///   - groups: expert groups and how many are kept; nil for a choice among all.
    ///   - minimumSeconds: how long to repeat each; at least three runs.
    /// - Throws: `usage` for an unknown scoring or extents that do not fit.
    public static func measure(
        tokenCount: Int, expertCount: Int = 256, width: Int = 7168, expertsPerToken: Int = 8,
        scoring: String = "sigmoid", groups: ExpertRouting.Groups? = nil, minimumSeconds: Double,
        on context: ComputeContext
    ) throws(FathomError) -> GateBenchmark {
        guard let rule = ExpertRouting.Scoring(rawValue: scoring) else {
            let legal = ExpertRouting.Scoring.allCases.map(\.rawValue).joined(separator: ", ")
            throw FathomError(.usage, "no scoring '\(scoring)'; there are \(legal)")
        }
        for (name, extent) in [("tokens", tokenCount), ("experts", expertCount), ("columns", width)] where extent < 1 {
            throw FathomError(.usage, "the gate's benchmark with \(extent) \(name); at least 1 is legal")
        }
        let routing = ExpertRouting(
            scoring: rule, expertsPerToken: expertsPerToken, scalingFactor: 2.5, groups: groups)
        let x = try halves(tokenCount, width, seed: 1, context)
        let weight = try halves(expertCount, width, seed: 2, context)
        var random = IndexerBenchmark.Sequence(seed: 3)
        let bias = GateBias((0..<expertCount).map { _ in random.next() * 0.1 })
        let count = try elementCount([min(gateSlab, tokenCount), expertCount], of: "logits")
        var logits = [Float](repeating: 0, count: count)
        var product: [Double] = []
        var whole: [Double] = []
        let clock = ContinuousClock()
        // In turns, so that both see the same machine.
        while product.count < 3 || whole.reduce(0, +) < minimumSeconds {
            let start = clock.now
            for first in stride(from: 0, to: tokenCount, by: gateSlab) {
                try gateLogits(x, first..<min(first + gateSlab, tokenCount), weight, into: &logits, on: context)
            }
            let middle = clock.now
            blackHole(try megaGate(x, weight: weight, routing: routing, bias: bias, on: context))
            product.append((middle - start) / .seconds(1))
            whole.append((clock.now - middle) / .seconds(1))
        }
        return GateBenchmark(
            tokenCount: tokenCount, expertCount: expertCount, width: width, expertsPerToken: expertsPerToken,
            scoring: scoring, seconds: whole.sorted()[whole.count / 2],
            productSeconds: product.sorted()[product.count / 2], weightBytes: expertCount * width * 2,
            multipliesPairs: context.pairKernels != nil)
    }

    /// Random bfloat16 rows.
    static func halves(
        _ rows: Int, _ columns: Int, seed: UInt64, _ context: ComputeContext
    ) throws(FathomError) -> FloatRows {
        let numbers = try AlignedBuffer<Float>(
            count: elementCount([rows, columns], of: "benchmark input"), purpose: "benchmark input")
        let halves = try AlignedBuffer<UInt16>(count: numbers.count, purpose: "benchmark input")
        var random = IndexerBenchmark.Sequence(seed: seed)
        // SAFETY: both buffers have this count.
        for index in 0..<numbers.count { numbers.baseAddress[index] = random.next() }
        context.kernels.roundBFloat16(UnsafePointer(numbers.baseAddress), halves.baseAddress, numbers.count)
        return try FloatRows(halves, rowCount: rows, columnCount: columns)
    }
}
