// SPDX-License-Identifier: MIT

import ArgumentParser
import DeepGEMM
import KernelDispatch
import Platform
import Workers

/// How fast matrices are multiplied.
struct GemmBench: ParsableCommand, TracedCommand {
    static let configuration = CommandConfiguration(
        commandName: "bench",
        abstract: "Measure products D = A·Bᵀ, beside the machine's limits.",
        discussion: """
            Dense products of every shape, rows and format; B comes from memory and not from a cache. Then \
            grouped ones with skewed groups, beside the dense product of as many rows. fp8 is A scaled per \
            1×128 times B per 128×128, fp4 the same A times B scaled per 1×32. The read bandwidth beside a dense \
            product is sampled between its runs.

            EXAMPLES
              fathom gemm bench
              fathom gemm bench --m 1,16,4096 --shapes 4096x7168,7168x2048 --formats fp8 --json
            """)

    @Option(help: ArgumentHelp("Rows of A, separated by commas.", valueName: "list"))
    var m = "1,2,16,256,1024"

    @Option(help: ArgumentHelp("N and K of B, as NxK, separated by commas.", valueName: "list"))
    var shapes = "2112x7168,24576x1536,32768x512,7168x16384,4096x7168,7168x2048"

    @Option(help: ArgumentHelp("Formats: fp32, bf16, fp16, fp8, fp4, separated by commas.", valueName: "list"))
    var formats = "fp32,bf16,fp8,fp4"

    @Option(help: ArgumentHelp("How A and B lie; nt has K contiguous in both.", valueName: "nt|nn|tn|tt"))
    var order = GemmOrder.nt

    @Option(help: ArgumentHelp("Matrices of the grouped products; 0 leaves them out.", valueName: "n"))
    var groups = 8

    @Option(help: ArgumentHelp("Rows of a group on average, separated by commas.", valueName: "list"))
    var groupRows = "64,128"

    @Option(help: ArgumentHelp("N and K of each group.", valueName: "NxK"))
    var groupShape = "4096x2048"

    @Option(help: ArgumentHelp("Threads that compute; every core where left out.", valueName: "n"))
    var threads: Int?

    @Flag(help: "One small product of each kind, to see that it works.")
    var smoke = false

    @OptionGroup var output: OutputOptions

    @OptionGroup var tracing: TraceOptions

    func validate() throws {
        for (name, list) in [("--m", m), ("--group-rows", groupRows)] where Self.numbers(list, limit: 1 << 24) == nil {
            throw ValidationError("\(name) is '\(list)'; numbers from 1 on, separated by commas, are legal")
        }
        for (name, list) in [("--shapes", shapes), ("--group-shape", groupShape)] where Self.pairs(list) == nil {
            throw ValidationError("\(name) is '\(list)'; NxK, such as 4096x7168, is legal")
        }
        if Self.formats(formats) == nil {
            throw ValidationError("--formats is '\(formats)'; there are \(GemmFormat.names)")
        }
        if groups < 0 || groups > 4096 || threads ?? 1 < 1 {
            throw ValidationError("--groups is 0…4096 and --threads 1 or more")
        }
    }

    func run() throws {
        let context = try ComputeContext(threadCount: threads ?? Machine.coreCount)
        var limits = try MachineLimits.measure(on: context)
        let bandwidth = try ReadBandwidth(on: context)
        var results: [Measurement] = []
        for format in Self.formats(formats) ?? [] {
            for (n, k) in (Self.pairs(shapes) ?? []).prefix(smoke ? 1 : .max) {
                for rows in (Self.numbers(m, limit: 1 << 24) ?? []).prefix(smoke ? 2 : .max) {
                    let result = try measure(
                        .dense, format, m: rows, n: n, k: k, groups: 1, bandwidth: bandwidth, context)
                    results.append((result, nil))
                }
            }
        }
        for format in Self.formats(formats) ?? [] where groups > 0 {
            results += try grouped(format, context)
        }
        // What else runs on a shared machine may have left before the end: the better of two looks at the limits.
        limits = limits.better(try MachineLimits.measure(on: context))
        try Output.render(
            GemmSpeed(
                isa: context.level.rawValue, threads: context.team.threadCount, machine: limits,
                results: results.map { GemmRate($0.result, limits, dense: $0.dense) }),
            asJSON: output.json)
    }

    /// A product, and for a grouped one the dense product of as many rows.
    private typealias Measurement = (result: GemmBenchmark, dense: GemmBenchmark?)

    /// Grouped products, and the dense one of as many rows before each.
    private func grouped(
        _ format: MatrixOperand.Format, _ context: ComputeContext
    ) throws(FathomError) -> [Measurement] {
        var results: [Measurement] = []
        let (n, k) = (Self.pairs(groupShape) ?? [])[0]
        for rows in (Self.numbers(groupRows, limit: 1 << 20) ?? []).prefix(smoke ? 1 : .max) {
            let total = (smoke ? 4 : rows) * groups
            let dense = try measure(.dense, format, m: total, n: n, k: k, groups: 1, context)
            results.append((dense, nil))
            for layout in [GemmBenchmark.Layout.contiguous, .masked] {
                results.append((try measure(layout, format, m: total, n: n, k: k, groups: groups, context), dense))
            }
        }
        return results
    }

    private func measure(
        _ layout: GemmBenchmark.Layout, _ format: MatrixOperand.Format, m: Int, n: Int, k: Int, groups: Int,
        bandwidth: ReadBandwidth? = nil, _ context: ComputeContext
    ) throws(FathomError) -> GemmBenchmark {
        try GemmBenchmark.measure(
            layout, m: m, n: smoke ? min(n, 64) : n, k: smoke ? min(k, 256) : k, groups: groups,
            formatA: format == .float4E2M1 ? .float8E4M3 : format, formatB: format, orderA: order.a, orderB: order.b,
            minimumSeconds: smoke ? 0 : 0.2, bandwidth: bandwidth, on: context)
    }

    // MARK: Lists

    /// Numbers from 1 to `limit`, separated by commas; nil where one is not.
    static func numbers(_ text: String, limit: Int) -> [Int]? {
        let numbers = text.split(separator: ",", omittingEmptySubsequences: false).map { Int($0) ?? 0 }
        return numbers.allSatisfy { $0 >= 1 && $0 <= limit } ? numbers : nil
    }

    private static func pairs(_ text: String) -> [(Int, Int)]? {
        var pairs: [(Int, Int)] = []
        for part in text.split(separator: ",", omittingEmptySubsequences: false) {
            let sides = part.split(separator: "x").map { Int($0) ?? 0 }
            guard sides.count == 2, sides.allSatisfy({ $0 >= 1 && $0 <= 1 << 24 }) else { return nil }
            pairs.append((sides[0], sides[1]))
        }
        return pairs
    }

    private static func formats(_ text: String) -> [MatrixOperand.Format]? {
        let formats = text.split(separator: ",", omittingEmptySubsequences: false)
            .map { MatrixOperand.Format(rawValue: String($0)) }
        return formats.contains(nil) ? nil : formats.compactMap(\.self)
    }
}

/// The storage orders of both operands, as the originals' function names spell them.
enum GemmOrder: String, ExpressibleByArgument, CaseIterable {
    case nt, nn, tn, tt

    var a: MatrixOperand.Order { self == .nt || self == .nn ? .kMajor : .mnMajor }
    var b: MatrixOperand.Order { self == .nt || self == .tt ? .kMajor : .mnMajor }
}

/// One measurement beside the limits.
private struct GemmRate: Codable {
    var result: GemmBenchmark
    /// Of the multiply-add peak, or of that of pairs where these were multiplied.
    var fractionOfPeak: Double
    /// Of the read bandwidth in turn with the runs, or of the best look at it where there was none.
    var fractionOfRead: Double
    /// Of the dense product of as many rows; grouped ones only.
    var fractionOfDense: Double?

    init(_ result: GemmBenchmark, _ limits: MachineLimits, dense: GemmBenchmark? = nil) {
        self.result = result
        let pairs = result.multipliesPairs ? limits.pairGigaflops : nil
        fractionOfPeak = result.gigaflops / (pairs ?? limits.multiplyAddGigaflops)
        fractionOfRead =
            result.gigabytesPerSecond / (result.readGigabytesPerSecond ?? limits.readGigabytesPerSecond)
        fractionOfDense = dense.map { result.gigaflops / $0.gigaflops }
    }
}

/// What was measured.
private struct GemmSpeed: Report {
    var isa: String
    var threads: Int
    var machine: MachineLimits
    var results: [GemmRate]

    var text: String {
        var table = Table([
            .left, .left, .right, .right, .right, .right, .right, .right, .right, .left, .right, .right, .right,
        ])
        table.add(
            "layout", "format", "m", "n", "k", "groups", "ms", "GFLOP/s", "of peak", "", "GB/s", "of read", "of dense")
        for rate in results {
            let result = rate.result
            table.add(
                result.layout.rawValue, result.formatB.rawValue, "\(result.m)", "\(result.n)", "\(result.k)",
                "\(result.groups)", Quantity.decimal(result.seconds * 1e3, places: 2),
                Quantity.decimal(result.gigaflops, places: 1), percent(rate.fractionOfPeak),
                result.multipliesPairs ? "pairs" : "fma",
                Quantity.decimal(result.gigabytesPerSecond, places: 1), percent(rate.fractionOfRead),
                rate.fractionOfDense.map(percent) ?? "")
        }
        return """
            \(threads) threads, \(isa)
            \(machine.summary)

            \(table.text)
            """
    }

    private func percent(_ fraction: Double) -> String {
        "\(Quantity.decimal(fraction * 100, places: 0)) %"
    }
}
