// SPDX-License-Identifier: MIT

import ArgumentParser
import DeepGEMM
import KernelDispatch
import Platform
import Workers

/// How fast the operations around the products are.
struct GemmLayers: ParsableCommand, TracedCommand {
    static let configuration = CommandConfiguration(
        commandName: "layers",
        abstract: "Measure indexer, gate and hyper-connections, beside the machine's limits.",
        discussion: """
            The indexer's logits of all keys and of listed blocks of 16, the gate of 256 experts beside its \
            product alone, and both halves of hyper-connections on four streams beside their projection alone, for \
            hidden size 7168. GB/s counts what must be read and written once.

            EXAMPLES
              fathom gemm layers
              fathom gemm layers --tokens 1,512 --context 65536 --json
            """)

    @Option(help: ArgumentHelp("Tokens, separated by commas.", valueName: "list"))
    var tokens = "1,16,128,1024"

    @Option(help: ArgumentHelp("Keys of the indexer's context.", valueName: "n"))
    var context = 16_384

    @Option(help: ArgumentHelp("Threads that compute; every core where left out.", valueName: "n"))
    var threads: Int?

    @Flag(help: "Small shapes, to see that it works.")
    var smoke = false

    @OptionGroup var output: OutputOptions

    @OptionGroup var tracing: TraceOptions

    func validate() throws {
        if GemmBench.numbers(tokens, limit: 1 << 20) == nil {
            throw ValidationError("--tokens is '\(tokens)'; numbers 1…1048576, separated by commas, are legal")
        }
        if context < 4096 || context > 1 << 24 {
            throw ValidationError("--context is \(context); 4096…16777216 is legal")
        }
        if let threads, threads < 1 { throw ValidationError("--threads is \(threads); 1 or more is legal") }
    }

    func run() throws {
        let compute = try ComputeContext(threadCount: threads ?? Machine.coreCount)
        var limits = try MachineLimits.measure(on: compute)
        var rates: [LayerRate] = []
        for count in (GemmBench.numbers(tokens, limit: 1 << 20) ?? []).prefix(smoke ? 2 : .max) {
            rates += try indexer(min(count, 64), compute) + [try gate(count, compute)]
            rates += try connections(count, compute)
        }
        // What else runs on a shared machine may have left before the end: the better of two looks at the limits.
        limits = limits.better(try MachineLimits.measure(on: compute))
        for index in rates.indices { rates[index].compare(with: limits) }
        try Output.render(
            LayerSpeed(
                isa: compute.level.rawValue, threads: compute.team.threadCount, machine: limits, results: rates),
            asJSON: output.json)
    }

    private var seconds: Double { smoke ? 0 : 0.3 }

    /// All keys, then listed ones in a paged cache.
    private func indexer(_ queries: Int, _ compute: ComputeContext) throws(FathomError) -> [LayerRate] {
        let keys = smoke ? 512 : context
        let all = try IndexerBenchmark.measure(
            queryCount: queries, keyCount: keys, minimumSeconds: seconds, on: compute)
        let listed = try IndexerBenchmark.measureSparse(
            queryCount: queries, contextLength: keys, blocksPerQuery: smoke ? 8 : 256, blockSize: 64,
            minimumSeconds: seconds, on: compute)
        return [("logits of all keys", all), ("logits of listed blocks", listed)].map { name, result in
            LayerRate(
                name, tokens: queries, detail: "\(result.keyCount) keys", seconds: result.seconds,
                gigaflops: result.gigaflops)
        }
    }

    private func gate(_ tokens: Int, _ compute: ComputeContext) throws(FathomError) -> LayerRate {
        let result = try GateBenchmark.measure(
            tokenCount: tokens, expertCount: smoke ? 32 : 256, width: smoke ? 256 : 7168,
            groups: ExpertRouting.Groups(count: 8, kept: 4), minimumSeconds: seconds, on: compute)
        let bytes = result.weightBytes + tokens * result.width * 2
        return LayerRate(
            "gate", tokens: tokens, detail: "\(result.expertsPerToken) of \(result.expertCount) experts",
            seconds: result.seconds, productSeconds: result.productSeconds,
            gigaflops: Double(2 * tokens * result.expertCount * result.width) / result.seconds / 1e9,
            multipliesPairs: result.multipliesPairs, bytes: bytes)
    }

    private func connections(_ tokens: Int, _ compute: ComputeContext) throws(FathomError) -> [LayerRate] {
        let result = try HyperConnectionBenchmark.measure(
            tokenCount: tokens, width: smoke ? 256 : 7168, minimumSeconds: seconds * 2, on: compute)
        let detail = "\(result.streamCount) streams"
        return [
            LayerRate(
                "connections' input", tokens: tokens, detail: detail, seconds: result.inputSeconds,
                productSeconds: result.productSeconds, bytes: result.inputBytes),
            LayerRate(
                "connections' output", tokens: tokens, detail: detail, seconds: result.outputSeconds,
                bytes: result.outputBytes),
        ]
    }
}

/// One measurement beside the limits.
private struct LayerRate: Codable {
    var operation: String
    var tokens: Int
    var detail: String
    var seconds: Double
    /// The matrix product in it alone.
    var productSeconds: Double?
    var gigaflops: Double?
    /// Whether the products are of bfloat16 pairs.
    var multipliesPairs: Bool
    var gigabytesPerSecond: Double?
    var fractionOfPeak: Double?
    var fractionOfRead: Double?

    init(
        _ operation: String, tokens: Int, detail: String, seconds: Double, productSeconds: Double? = nil,
        gigaflops: Double? = nil, multipliesPairs: Bool = false, bytes: Int? = nil
    ) {
        self.operation = operation
        self.tokens = tokens
        self.detail = detail
        self.seconds = seconds
        self.productSeconds = productSeconds
        self.gigaflops = gigaflops
        self.multipliesPairs = multipliesPairs
        gigabytesPerSecond = bytes.map { Double($0) / seconds / 1e9 }
    }

    mutating func compare(with limits: MachineLimits) {
        let pairs = multipliesPairs ? limits.pairGigaflops : nil
        fractionOfPeak = gigaflops.map { $0 / (pairs ?? limits.multiplyAddGigaflops) }
        fractionOfRead = gigabytesPerSecond.map { $0 / limits.readGigabytesPerSecond }
    }
}

/// What was measured.
private struct LayerSpeed: Report {
    var isa: String
    var threads: Int
    var machine: MachineLimits
    var results: [LayerRate]

    var text: String {
        var table = Table([.left, .right, .left, .right, .right, .right, .right, .left, .right, .right])
        table.add("operation", "tokens", "", "ms", "product", "GFLOP/s", "of peak", "", "GB/s", "of read")
        for rate in results {
            table.add(
                rate.operation, "\(rate.tokens)", rate.detail, number(rate.seconds * 1e3, 3),
                number(rate.productSeconds.map { $0 * 1e3 }, 3), number(rate.gigaflops, 1),
                percent(rate.fractionOfPeak), rate.gigaflops == nil ? "" : rate.multipliesPairs ? "pairs" : "fma",
                number(rate.gigabytesPerSecond, 1), percent(rate.fractionOfRead))
        }
        return """
            \(threads) threads, \(isa)
            \(machine.summary)

            \(table.text)
            """
    }

    private func number(_ value: Double?, _ places: Int) -> String {
        value.map { Quantity.decimal($0, places: places) } ?? ""
    }

    private func percent(_ fraction: Double?) -> String {
        fraction.map { "\(Quantity.decimal($0 * 100, places: 0)) %" } ?? ""
    }
}
