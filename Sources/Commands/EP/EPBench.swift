// SPDX-License-Identifier: MIT

import ArgumentParser
import DeepEP
import Platform

/// How fast tokens go to their experts and back.
struct EPBench: ParsableCommand, TracedCommand {
    static let configuration = CommandConfiguration(
        commandName: "bench",
        abstract: "Measure dispatch and combine, beside the machine's memcpy bandwidth.",
        discussion: """
            The ranks are threads of this process that share memory. GB/s counts the rows that ranks receive, once; \
            memcpy is measured before and after with as many threads as there are cores. What is sent has just been \
            written, as in a model. A floor is the time of a copy of the bytes that have to move, within the caches \
            if they fit, and of waking every rank once. --json adds the fastest rounds, and how long the others \
            waited for each rank.

            EXAMPLES
              fathom ep bench
              fathom ep bench --ranks 8 --tokens 4096 --formats fp8 --nodes 2 --json
              fathom ep bench --mode low-latency --formats fp8,logfmt
            """)

    @Option(help: ArgumentHelp("normal or low-latency.", valueName: "way"))
    var mode = ExchangeMode.normal.rawValue

    @Option(help: ArgumentHelp("Ranks, separated by commas.", valueName: "list"))
    var ranks = "2,4,8"

    @Option(help: ArgumentHelp("Nodes that ranks are spread over; above 1, two hops.", valueName: "n"))
    var nodes = 1

    @Option(
        help: ArgumentHelp(
            "Tokens of each rank, separated by commas; 4096,128, and 128 with low latency.", valueName: "list"))
    var tokens: String?

    @Option(help: ArgumentHelp("Numbers of a token.", valueName: "n"))
    var hidden = 7168

    @Option(help: ArgumentHelp("Experts that each token chooses.", valueName: "n"))
    var topK = 8

    @Option(help: ArgumentHelp("Experts in all.", valueName: "n"))
    var experts = 256

    @Option(
        help: ArgumentHelp(
            "Formats on the way out: bf16, fp8, separated by commas; with low latency logfmt too, FP8 out and "
                + "LogFMT-10 back.", valueName: "list"))
    var formats = "bf16,fp8"

    @Option(help: ArgumentHelp("Measured rounds.", valueName: "n"))
    var rounds = 5

    @Option(help: ArgumentHelp("Seed of the choices.", valueName: "n"))
    var seed: UInt64 = 1

    @Flag(help: "One small shape, to see that it works.")
    var smoke = false

    @OptionGroup var output: OutputOptions

    @OptionGroup var tracing: TraceOptions

    private var isLowLatency: Bool { mode == ExchangeMode.lowLatency.rawValue }
    private var tokenList: String { tokens ?? (isLowLatency ? "128" : "4096,128") }

    func validate() throws {
        guard ExchangeMode(rawValue: mode) != nil else {
            throw ValidationError("--mode is '\(mode)'; \(ExchangeMode.legal) are legal")
        }
        for (name, list) in [("--ranks", ranks), ("--tokens", tokenList)] where MLA.numbers(list, from: 1) == nil {
            throw ValidationError("\(name) is '\(list)'; numbers from 1 on, separated by commas, are legal")
        }
        for format in formats.split(separator: ",", omittingEmptySubsequences: false)
        where format != "bf16" && format != "fp8" && (format != "logfmt" || !isLowLatency) {
            throw ValidationError(
                "--formats is '\(formats)'; bf16 and fp8 are legal, and logfmt with --mode low-latency")
        }
        if isLowLatency, nodes != 1 { throw ValidationError("--nodes is \(nodes); low latency has no two hops") }
        if rounds < 1 { throw ValidationError("--rounds is \(rounds); 1 or more are legal") }
    }

    func run() throws {
        if isLowLatency {
            try runLowLatency()
        } else {
            try runNormal()
        }
    }

    private func runLowLatency() throws {
        var shape = LowLatencyBenchmark.Shape()
        shape.hidden = smoke ? min(hidden, 256) : hidden
        shape.topK = topK
        shape.experts = experts
        shape.rounds = smoke ? 1 : max(rounds, 5)
        let ranks = (MLA.numbers(ranks, from: 1) ?? []).prefix(smoke ? 1 : .max)
        let tokens = (MLA.numbers(tokenList, from: 1) ?? []).prefix(smoke ? 1 : .max)
        let speed = try LowLatencySpeed.measure(
            ranks: Array(ranks), tokens: tokens.map { smoke ? min($0, 16) : $0 },
            formats: formats.split(separator: ",").map(String.init), like: shape, seed: seed)
        try Output.render(speed, asJSON: output.json)
    }

    private func runNormal() throws {
        let copies = try CopyBandwidth(threadCount: Machine.coreCount)
        var memcpy = (0..<5).map { _ in copies.sample() }.max() ?? 0
        var results: [ExchangeBenchmark] = []
        for tokens in (MLA.numbers(tokenList, from: 1) ?? []).prefix(smoke ? 1 : .max) {
            for format in formats.split(separator: ",") {
                for ranks in (MLA.numbers(ranks, from: 1) ?? []).prefix(smoke ? 1 : .max) {
                    var shape = ExchangeBenchmark.Shape()
                    shape.ranks = ranks
                    shape.nodes = nodes
                    shape.tokens = smoke ? min(tokens, 16) : tokens
                    shape.hidden = smoke ? min(hidden, 256) : hidden
                    shape.topK = topK
                    shape.experts = experts
                    shape.float8 = format == "fp8"
                    shape.rounds = smoke ? 1 : rounds
                    results.append(try ExchangeBenchmark.measure(shape, seed: seed))
                }
            }
        }
        // Other work on a shared machine may have left before the end: the better of two looks.
        memcpy = max(memcpy, (0..<5).map { _ in copies.sample() }.max() ?? 0)
        try Output.render(
            ExchangeSpeed(
                memcpyGigabytesPerSecond: memcpy, cores: Machine.coreCount,
                results: results.map { ExchangeRate($0, memcpy: memcpy, copies) }),
            asJSON: output.json)
    }
}

/// One measurement beside the limit.
private struct ExchangeRate: Codable {
    var result: ExchangeBenchmark
    var dispatchGigabytesPerSecond: Double
    var combineGigabytesPerSecond: Double
    var dispatchOfMemcpy: Double
    var combineOfMemcpy: Double
    var dispatchFloorSeconds: Double
    var combineFloorSeconds: Double

    init(_ result: ExchangeBenchmark, memcpy: Double, _ copies: CopyBandwidth) {
        self.result = result
        dispatchGigabytesPerSecond = result.dispatchGigabytesPerSecond
        combineGigabytesPerSecond = result.combineGigabytesPerSecond
        dispatchOfMemcpy = dispatchGigabytesPerSecond / memcpy
        combineOfMemcpy = combineGigabytesPerSecond / memcpy
        (dispatchFloorSeconds, combineFloorSeconds) = result.floor.seconds(copies)
    }
}

/// What was measured.
private struct ExchangeSpeed: Report {
    var memcpyGigabytesPerSecond: Double
    var cores: Int
    var results: [ExchangeRate]

    var text: String {
        var table = Table([.right, .right, .right, .left] + Array(repeating: .right, count: 9))
        table.add(
            "ranks", "nodes", "tokens", "format", "MB", "dispatch µs", "floor", "GB/s", "of memcpy", "combine µs",
            "floor", "GB/s", "of memcpy")
        for rate in results {
            let result = rate.result
            table.add(
                "\(result.shape.ranks)", "\(result.shape.nodes)", "\(result.shape.tokens)",
                result.shape.float8 ? "fp8" : "bf16", Quantity.decimal(Double(result.dispatchBytes) / 1e6, places: 1),
                Quantity.decimal(result.dispatchSeconds * 1e6, places: 0),
                Quantity.decimal(rate.dispatchFloorSeconds * 1e6, places: 0),
                Quantity.decimal(rate.dispatchGigabytesPerSecond, places: 1), percent(rate.dispatchOfMemcpy),
                Quantity.decimal(result.combineSeconds * 1e6, places: 0),
                Quantity.decimal(rate.combineFloorSeconds * 1e6, places: 0),
                Quantity.decimal(rate.combineGigabytesPerSecond, places: 1), percent(rate.combineOfMemcpy))
        }
        return """
            \(cores) cores, memcpy \(Quantity.decimal(memcpyGigabytesPerSecond, places: 1)) GB/s

            \(table.text)
            """
    }

    private func percent(_ fraction: Double) -> String { "\(Quantity.decimal(fraction * 100, places: 0)) %" }
}
