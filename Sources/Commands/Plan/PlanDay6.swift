// SPDX-License-Identifier: MIT

import ArgumentParser
import Planner
import Platform

/// The published day, line by line beside what is computed.
struct PlanDay6: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "deepseek-day6",
        abstract: "Recompute DeepSeek's published day of serving: nodes, rates, cost, income.",
        discussion: """
            Each line says whether it is an input, a closed form of inputs, predicted from hardware, or simulated; \
            what was published stands beside it. Closed forms are held to the rounding of the inputs.

            EXAMPLES
              fathom plan deepseek-day6
              fathom plan deepseek-day6 --json
            """)

    @OptionGroup var output: OutputOptions

    func run() throws {
        let costs = try ModelCosts(KnownModel.deepSeekR1.configuration())
        let closed = DayClosedForms.published(cacheBytesPerToken: costs.cacheBytesPerToken())
        let traces = TraceComparison(costs)
        try Output.render(
            Day6Report(
                groups: [closed.inputs, closed.results, traces.prefillFigures, traces.decodeFigures]),
            asJSON: output.json)
    }
}

/// All lines.
private struct Day6Report: Report {
    var groups: [FigureGroup]

    var text: String { FigureTable.text(groups) }
}
