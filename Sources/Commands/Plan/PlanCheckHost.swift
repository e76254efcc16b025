// SPDX-License-Identifier: MIT

import ArgumentParser
import Planner
import Platform

/// A plan for this machine beside what the engine does.
struct PlanCheckHost: ParsableCommand, TracedCommand {
    static let configuration = CommandConfiguration(
        commandName: "check-host",
        abstract: "Hold a plan for this machine against what `fathom bench generate` measures.",
        discussion: """
            Measures single products of the model's shapes and the machine's limits, predicts prefill and decode of \
            one sequence from them and the configuration, then measures both. The plan does not see the measurement.

            EXAMPLES
              fathom plan check-host
              fathom plan check-host --model Models/fathom-tiny --smoke --json
            """)

    @OptionGroup(title: "Model") var model: ModelOptions

    @Option(help: ArgumentHelp("Length of the prompt.", valueName: "n"))
    var promptTokens = 512

    @Flag(help: "A short prompt and small products, to see that it works.")
    var smoke = false

    @OptionGroup var output: OutputOptions

    @OptionGroup var tracing: TraceOptions

    func run() throws {
        try LegalRange.check("--prompt-tokens", promptTokens, 1...65_536, unit: "tokens")
        let bench = try BenchGenerate.parse(
            ["--prompt-tokens", "\(promptTokens)"] + (model.model.map { ["--model", $0] } ?? [])
                + (smoke ? ["--smoke"] : []))
        let (measured, configuration) = try bench.result()
        let costs = ModelCosts(configuration)
        let host = try HostMeasurement(threadCount: measured.threads, limits: measured.machine)
        let rates = try host.rates(costs, tokens: measured.promptTokens, smoke: smoke)
        let plan = HostPlan(
            model: costs, rates: rates, promptTokens: measured.promptTokens,
            position: measured.promptTokens + measured.outputTokens / 2)
        func line(_ name: String, _ planned: Double, _ found: Double) -> Figure {
            let isNear = (planned - found).magnitude <= found * Self.tolerance
            return Figure(
                name, planned, unit: "tokens/s", basis: .predicted, published: found, tolerance: found * Self.tolerance,
                note:
                    "\(isNear ? "within" : "not within") \(Int(Self.tolerance * 100)) % of what bench generate measured"
            )
        }
        func input(_ name: String, _ value: Double, _ unit: String, _ note: String) -> Figure {
            Figure(name, value, unit: unit, basis: .input, note: note)
        }
        let group = FigureGroup(
            "\(measured.model) on this machine: \(measured.threads) threads, \(measured.isa)",
            [
                input("products of the prompt", rates.product, "GFLOP/s", "measured, \(measured.promptTokens) rows"),
                input("products of an expert", rates.expertProduct, "GFLOP/s", "measured, its part of the rows"),
                input("products of one row", rates.row, "GB/s", "measured"),
                input("head of one row", rates.headRow, "GB/s", "measured"),
                input("attention", rates.attention, "GFLOP/s", "half of the multiply-add peak, a default"),
                line("prefill", plan.prefill, measured.prefillTokensPerSecond),
                line("decode", plan.decode, measured.decodeTokensPerSecond),
            ])
        try Output.render(HostReport(groups: [group]), asJSON: output.json)
    }

    /// How far a plan may be off, as a part of what is measured.
    private static let tolerance = 0.2
}

/// Inputs, and predictions beside measurements.
private struct HostReport: Report {
    var groups: [FigureGroup]

    var text: String { FigureTable.text(groups) }
}
