// SPDX-License-Identifier: MIT

import ArgumentParser
import DeepGEMM
import FoundationEssentials
import KernelDispatch
import Platform
import Ranks
import Workers

/// How fast a layer of experts is in one call.
struct GemmMegaMoE: ParsableCommand, TracedCommand {
    static let configuration = CommandConfiguration(
        commandName: "mega-moe",
        abstract: "Measure Mega MoE, a layer of experts in one call, beside the same made of its parts.",
        discussion: """
            Every token goes to its choices of random experts. The parts are: tokens copied in the order of experts, a \
            grouped product, SiLU·up with the quantiser, a grouped product, and each token's sum; their bits are \
            compared; MB is what either holds between operands and results. fp8 is tokens scaled 1×32 and weights \
            128×128, fp4 the same tokens and weights scaled 1×32. With --ranks above 1 the ranks are threads that \
            share the cores, or under fathom launch processes; --smoke compares the bits of each with those of one \
            rank alone.

            EXAMPLES
              fathom gemm mega-moe
              fathom gemm mega-moe --formats fp8 --tokens 128,4096 --ranks 2 --json
              fathom launch --ranks 2 -- fathom gemm mega-moe --smoke
            """)

    @Option(help: ArgumentHelp("Tokens of each rank, separated by commas.", valueName: "list"))
    var tokens = "1,16,128,512"

    @Option(help: ArgumentHelp("Formats of the weights: fp8, fp4, bf16, separated by commas.", valueName: "list"))
    var formats = "fp8,fp4,bf16"

    @Option(help: ArgumentHelp("Experts in all.", valueName: "n"))
    var experts = MegaMoEBenchmark.Shape().experts

    @Option(help: ArgumentHelp("Experts that each token chooses.", valueName: "n"))
    var topK = MegaMoEBenchmark.Shape().topK

    @Option(help: ArgumentHelp("Numbers of a token.", valueName: "n"))
    var hidden = MegaMoEBenchmark.Shape().hidden

    @Option(help: ArgumentHelp("Columns between the products.", valueName: "n"))
    var intermediate = MegaMoEBenchmark.Shape().intermediate

    @Option(help: ArgumentHelp("Ranks, as threads of this process; not under a launcher.", valueName: "n"))
    var ranks: Int?

    @Option(help: ArgumentHelp("Threads that compute, of all ranks; every core where left out.", valueName: "n"))
    var threads: Int?

    @Option(help: ArgumentHelp("Seed of the choices.", valueName: "n"))
    var seed: UInt64 = 1

    @Flag(help: "One small layer of each format, to see that it works.")
    var smoke = false

    @OptionGroup var output: OutputOptions

    @OptionGroup var tracing: TraceOptions

    private var forms: [MegaMoEBenchmark.Form]? {
        let forms = formats.split(separator: ",", omittingEmptySubsequences: false)
            .map { MegaMoEBenchmark.Form(rawValue: String($0)) }
        return forms.contains(nil) ? nil : forms.compactMap(\.self)
    }

    func validate() throws {
        guard MLA.numbers(tokens, from: 1) != nil else {
            throw ValidationError("--tokens is '\(tokens)'; numbers from 1 on, separated by commas, are legal")
        }
        guard forms != nil else {
            let names = MegaMoEBenchmark.Form.allCases.map(\.rawValue).joined(separator: ", ")
            throw ValidationError("--formats is '\(formats)'; there are \(names)")
        }
        for (name, value) in [
            ("--experts", experts), ("--top-k", topK), ("--hidden", hidden), ("--intermediate", intermediate),
            ("--ranks", ranks ?? 1), ("--threads", threads ?? 1),
        ] where value < 1 {
            throw ValidationError("\(name) is \(value); 1 or more are legal")
        }
        if (ranks ?? 1) > RankGroup.maximumRankCount {
            throw ValidationError("--ranks is \(ranks ?? 1); 1…\(RankGroup.maximumRankCount) are legal")
        }
    }

    func run() throws {
        guard let environment = try RankEnvironment(ProcessInfo.processInfo.environment) else {
            return try runAlone()
        }
        guard ranks == nil else {
            throw FathomError(
                .usage, "--ranks is \(ranks ?? 0) under \(environment.launcher.rawValue), which has said how many")
        }
        let group = try RankGroup.join(environment)
        let results = try Self.measure(shapes, smoke, group, threads: threads ?? Machine.coreCount)
        // All have compared their bits before rank 0 says so.
        try group.barrier()
        if group.rank == 0 { try show(results, nil) }
    }

    private func runAlone() throws {
        let threads = threads ?? Machine.coreCount
        if let ranks, ranks > 1 {
            let (shapes, smoke) = (shapes, smoke)
            let results = try RankGroup.threads(Topology(rankCount: ranks)) { group throws(FathomError) in
                try Self.measure(shapes, smoke, group, threads: threads)
            }
            return try show(results[0], nil)
        }
        let context = try ComputeContext(threadCount: threads)
        var limits = try MachineLimits.measure(on: context)
        var results: [MegaMoEBenchmark] = []
        for shape in shapes {
            results.append(try MegaMoEBenchmark.measure(shape, minimumSeconds: smoke ? 0 : 0.5, on: context))
        }
        limits = limits.better(try MachineLimits.measure(on: context))
        try show(results, limits)
    }

    private static func measure(
        _ shapes: [MegaMoEBenchmark.Shape], _ smoke: Bool, _ group: RankGroup, threads: Int
    ) throws(FathomError) -> [MegaMoEBenchmark] {
        let context = try ComputeContext(threadCount: max(1, threads / group.rankCount))
        var results: [MegaMoEBenchmark] = []
        for shape in shapes {
            results.append(
                try MegaMoEBenchmark.measure(shape, rounds: smoke ? 1 : 5, checks: smoke, group: group, on: context))
        }
        return results
    }

    /// What is to be measured; small where it is only to be seen that it works.
    private var shapes: [MegaMoEBenchmark.Shape] {
        (forms ?? []).flatMap { form in
            (MLA.numbers(tokens, from: 1) ?? []).prefix(smoke ? 1 : .max).map { tokens in
                var shape = MegaMoEBenchmark.Shape()
                shape.form = form
                shape.tokens = smoke ? 24 : tokens
                shape.experts = smoke ? 8 : experts
                shape.topK = smoke ? 2 : topK
                shape.hidden = smoke ? 256 : hidden
                shape.intermediate = smoke ? 96 : intermediate
                shape.seed = seed
                return shape
            }
        }
    }

    private func show(_ results: [MegaMoEBenchmark], _ limits: MachineLimits?) throws {
        let level = try InstructionSetLevel.selected()
        try Output.render(
            MegaMoESpeed(
                isa: level.rawValue, machine: limits, results: results.map { MegaMoERate($0, limits) }),
            asJSON: output.json)
    }
}

/// One measurement beside the limits.
private struct MegaMoERate: Codable {
    var result: MegaMoEBenchmark
    /// Of the multiply-add peak, or of that of pairs where both products multiply them; nil where it was not measured.
    var fractionOfPeak: Double?
    /// The parts' time in that of the one call.
    var speedup: Double?

    init(_ result: MegaMoEBenchmark, _ limits: MachineLimits?) {
        self.result = result
        let pairs = result.multipliesPairs.allSatisfy(\.self)
        fractionOfPeak = limits.map {
            result.gigaflops / (pairs ? $0.pairGigaflops ?? $0.multiplyAddGigaflops : $0.multiplyAddGigaflops)
        }
        speedup = result.partsSeconds.map { $0 / result.seconds }
    }
}

/// What was measured.
private struct MegaMoESpeed: Report {
    var isa: String
    var machine: MachineLimits?
    var results: [MegaMoERate]

    var text: String {
        var table = Table([
            .left, .right, .right, .right, .right, .right, .right, .right, .right, .right, .left, .right, .right,
            .right,
            .right, .left,
        ])
        table.add(
            "weights", "ranks", "tokens", "experts", "top-k", "hidden", "inner", "ms", "GFLOP/s", "of peak", "",
            "MB", "parts ms", "speedup", "MB", "bits")
        for rate in results {
            let result = rate.result
            let shape = result.shape
            table.add(
                shape.form.rawValue, "\(result.ranks)", "\(shape.tokens)", "\(shape.experts)", "\(shape.topK)",
                "\(shape.hidden)", "\(shape.intermediate)", Quantity.decimal(result.seconds * 1e3, places: 2),
                Quantity.decimal(result.gigaflops, places: 1),
                rate.fractionOfPeak.map { "\(Quantity.decimal($0 * 100, places: 0)) %" } ?? "",
                result.multipliesPairs.map { $0 ? "pairs" : "fma" }.joined(separator: "+"),
                megabytes(result.workspaceBytes),
                result.partsSeconds.map { Quantity.decimal($0 * 1e3, places: 2) } ?? "",
                rate.speedup.map { Quantity.decimal($0, places: 2) } ?? "", megabytes(result.partsBytes),
                result.isChecked ? "equal" : "")
        }
        return (machine.map { ["\(isa)", $0.summary, ""] } ?? ["\(isa)", ""]).joined(separator: "\n") + "\n"
            + table.text
    }

    private func megabytes(_ bytes: Int?) -> String {
        bytes.map { Quantity.decimal(Double($0) / 1e6, places: 1) } ?? ""
    }
}
