// SPDX-License-Identifier: MIT

import ArgumentParser
import DeepSeekModel
import Planner
import Platform

/// The cheapest fleets for a goal.
struct PlanSize: ParsableCommand, TracedCommand {
    static let configuration = CommandConfiguration(
        commandName: "size",
        abstract: "Propose the cheapest fleets for a load, with their margins.",
        discussion: """
            Memory is checked first: what does not fit is not proposed, and where nothing is possible the reason is \
            given. Times are predicted from shapes, hardware peaks and published kernel tables; a plan is no \
            measurement.

            this-cpu is this machine: its limits and products of the model's shapes are measured first; each unit is a \
            processor of its own, without rent.

            EXAMPLES
              fathom plan size --model deepseek-v3 --hardware h800 --tokens-per-second 100000 --ttft 2 --tpot 0.05
              fathom plan size --model deepseek-v3.2 --hardware b200 --tokens-per-second 1e6 --json
            """)

    @OptionGroup(title: "Target") var target: PlanTargetOptions

    @Option(help: ArgumentHelp("Output tokens of all answers together.", valueName: "tokens/s"))
    var tokensPerSecond: Double

    @Option(help: ArgumentHelp("Time to the first token.", valueName: "s"))
    var ttft = 2.0

    @Option(help: ArgumentHelp("Time of each further token.", valueName: "s"))
    var tpot = 0.05

    @Option(help: ArgumentHelp("Mean prompt, cached part included.", valueName: "tokens"))
    var promptTokens = 4096.0

    @Option(help: ArgumentHelp("Mean answer.", valueName: "tokens"))
    var outputTokens = 1024.0

    @Option(help: ArgumentHelp("Part of the prompts that the prefix cache has.", valueName: "0…1"))
    var hitRate = 0.5

    @Option(help: ArgumentHelp("Part of the need that is kept in reserve.", valueName: "0…2"))
    var headroom = 0.15

    @Flag(help: "Without drafts of the prediction layer.")
    var noDrafts = false

    @Option(help: ArgumentHelp("Plans to show.", valueName: "n"))
    var plans = 5

    @OptionGroup var output: OutputOptions

    @OptionGroup var tracing: TraceOptions

    func run() throws {
        try LegalRange.check("--plans", plans, 1...100, unit: "plans")
        let goal = ServiceGoal(
            tokensPerSecond: tokensPerSecond, promptTokens: promptTokens, answerTokens: outputTokens, hitRate: hitRate,
            firstTokenSeconds: ttft, secondsPerToken: tpot, headroom: headroom)
        let model = try target.costs()
        // Before anything is measured.
        try goal.validate(contextLength: model.configuration.contextLength)
        let (hardware, rates) = try target.machine(for: model)
        let sizing = try FleetSizing(model: model, hardware: hardware, rates: rates, goal: goal, drafts: !noDrafts)
        let found = try sizing.plans(plans)
        try Output.render(
            SizeReport(
                model: target.model, hardware: sizing.hardware, goal: goal, drafts: sizing.drafts, plans: found,
                rates: "\(rates.source); \(rates.defaults)"),
            asJSON: output.json)
    }
}

/// The proposals.
private struct SizeReport: Report {
    var model: String
    var hardware: Hardware
    var goal: ServiceGoal
    var drafts: Bool
    var plans: [SizedPlan]
    var rates: String

    var text: String {
        var table = Table(Array(repeating: .right, count: 12))
        table.add(
            "gpus", "$/hour", "$/M out", "prefill", "decode", "requests/gpu", "first token", "per token", "output",
            "prompts", "cache", "ends at")
        for plan in plans {
            table.add(
                "\(plan.prefill.gpus + plan.decode.gpus)", Quantity.decimal(plan.dollarsPerHour, places: 0),
                Quantity.decimal(plan.dollarsPerMillion, places: 3),
                "\(plan.prefill.units) × EP\(plan.prefill.shape.ranks)",
                "\(plan.decode.units) × EP\(plan.decode.shape.ranks)+\(plan.decode.shape.redundantExperts)",
                "\(plan.decode.requests)",
                margin(plan.prefill.firstTokenSeconds, "s", plan.firstTokenMargin, places: 2),
                margin(plan.decode.secondsPerToken * 1000, "ms", plan.perTokenMargin, places: 1),
                percent(plan.outputMargin), percent(plan.promptMargin), percent(plan.memoryMargin),
                plan.decode.limit.rawValue)
        }
        return """
            \(model) on \(hardware.name) at $\(Quantity.decimal(hardware.dollarsPerHour, places: 2)) a GPU-hour: \
            \(FigureTable.number(goal.tokensPerSecond)) tokens/s out, \
            \(FigureTable.number(goal.computedTokensPerSecond)) tokens/s of prompts to compute, \
            drafts \(drafts ? "on" : "off")
            output, prompts, cache, and in brackets the times: how much is left beyond the need

            \(table.text)

            predicted from \(rates)
            """
    }

    private func margin(_ value: Double, _ unit: String, _ left: Double, places: Int) -> String {
        "\(Quantity.decimal(value, places: places)) \(unit) (\(percent(left)))"
    }

    private func percent(_ fraction: Double) -> String { "\(Quantity.decimal(fraction * 100, places: 0)) %" }
}
