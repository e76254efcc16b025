// SPDX-License-Identifier: MIT

import DeepEP
import Platform

/// Which way tokens go.
enum ExchangeMode: String, CaseIterable {
    case normal
    case lowLatency = "low-latency"

    /// What `--mode` may be.
    static var legal: String { allCases.map(\.rawValue).joined(separator: " and ") }
}

/// A measurement beside what it could be at best.
struct LowLatencyRate: Codable {
    var result: LowLatencyBenchmark
    var dispatchFloorSeconds: Double
    var combineFloorSeconds: Double

    init(_ result: LowLatencyBenchmark, _ copies: CopyBandwidth) {
        self.result = result
        (dispatchFloorSeconds, combineFloorSeconds) = result.floor.seconds(copies)
    }
}

/// Measurements of the low-latency way.
struct LowLatencySpeed: Report {
    var memcpyGigabytesPerSecond: Double
    var cores: Int
    var results: [LowLatencyRate]

    /// Measures every combination of ranks, tokens and formats.
    static func measure(
        ranks: [Int], tokens: [Int], formats: [String], like shape: LowLatencyBenchmark.Shape, seed: UInt64
    ) throws(FathomError) -> LowLatencySpeed {
        let copies = try CopyBandwidth(threadCount: Machine.coreCount)
        let memcpy = (0..<5).map { _ in copies.sample() }.max() ?? 0
        var results: [LowLatencyRate] = []
        for tokens in tokens {
            for format in formats {
                for ranks in ranks {
                    var shape = shape
                    shape.ranks = ranks
                    shape.tokens = tokens
                    shape.float8 = format != "bf16"
                    shape.logFMT = format == "logfmt"
                    results.append(LowLatencyRate(try LowLatencyBenchmark.measure(shape, seed: seed), copies))
                }
            }
        }
        return LowLatencySpeed(memcpyGigabytesPerSecond: memcpy, cores: Machine.coreCount, results: results)
    }

    var text: String {
        var table = Table([.right, .right, .left, .right, .right, .right, .right, .right, .right])
        table.add(
            "ranks", "tokens", "out and back", "MB", "dispatch µs", "floor", "gather µs", "combine µs", "floor")
        for rate in results {
            let result = rate.result
            let out = result.shape.float8 ? "fp8" : "bf16"
            table.add(
                "\(result.shape.ranks)", "\(result.shape.tokens)", "\(out) \(result.shape.logFMT ? "logfmt" : "bf16")",
                Quantity.decimal(Double(result.dispatchBytes) / 1e6, places: 1),
                Quantity.decimal(result.dispatchSeconds * 1e6, places: 0),
                Quantity.decimal(rate.dispatchFloorSeconds * 1e6, places: 0),
                Quantity.decimal(result.gatherSeconds * 1e6, places: 0),
                Quantity.decimal(result.combineSeconds * 1e6, places: 0),
                Quantity.decimal(rate.combineFloorSeconds * 1e6, places: 0))
        }
        return """
            \(cores) cores, memcpy \(Quantity.decimal(memcpyGigabytesPerSecond, places: 1)) GB/s

            \(table.text)
            """
    }
}
