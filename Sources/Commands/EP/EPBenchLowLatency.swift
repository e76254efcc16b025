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

/// Measurements of the low-latency way.
struct LowLatencySpeed: Report {
    var memcpyGigabytesPerSecond: Double
    var cores: Int
    var results: [LowLatencyBenchmark]

    /// Measures every combination of ranks, tokens and formats.
    static func measure(
        ranks: [Int], tokens: [Int], formats: [String], like shape: LowLatencyBenchmark.Shape, seed: UInt64
    ) throws(FathomError) -> LowLatencySpeed {
        let copies = try CopyBandwidth(threadCount: Machine.coreCount)
        let memcpy = (0..<5).map { _ in copies.sample() }.max() ?? 0
        var results: [LowLatencyBenchmark] = []
        for tokens in tokens {
            for format in formats {
                for ranks in ranks {
                    var shape = shape
                    shape.ranks = ranks
                    shape.tokens = tokens
                    shape.float8 = format != "bf16"
                    shape.logFMT = format == "logfmt"
                    results.append(try LowLatencyBenchmark.measure(shape, seed: seed))
                }
            }
        }
        return LowLatencySpeed(memcpyGigabytesPerSecond: memcpy, cores: Machine.coreCount, results: results)
    }

    var text: String {
        var table = Table([.right, .right, .left, .right, .right, .right, .right, .right])
        table.add("ranks", "tokens", "out and back", "MB", "dispatch µs", "GB/s", "combine µs", "GB/s")
        for result in results {
            let out = result.shape.float8 ? "fp8" : "bf16"
            table.add(
                "\(result.shape.ranks)", "\(result.shape.tokens)", "\(out) \(result.shape.logFMT ? "logfmt" : "bf16")",
                Quantity.decimal(Double(result.dispatchBytes) / 1e6, places: 1),
                Quantity.decimal(result.dispatchSeconds * 1e6, places: 0),
                Quantity.decimal(Double(result.dispatchBytes) / result.dispatchSeconds / 1e9, places: 1),
                Quantity.decimal(result.combineSeconds * 1e6, places: 0),
                Quantity.decimal(Double(result.combineBytes) / result.combineSeconds / 1e9, places: 1))
        }
        return """
            \(cores) cores, memcpy \(Quantity.decimal(memcpyGigabytesPerSecond, places: 1)) GB/s

            \(table.text)
            """
    }
}
