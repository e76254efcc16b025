// SPDX-License-Identifier: MIT

import ArgumentParser
import Planner
import Platform

/// The published day, line by line beside what is computed.
struct PlanDay6: ParsableCommand, TracedCommand {
    static let configuration = CommandConfiguration(
        commandName: "deepseek-day6",
        abstract: "Recompute DeepSeek's published day of serving: nodes, rates, cost, income.",
        discussion: """
            Each line says whether it is an input, a closed form of inputs, predicted from hardware, or simulated; \
            what was published stands beside it. Closed forms are held to the rounding of the inputs.

            EXAMPLES
              fathom plan deepseek-day6
              fathom plan deepseek-day6 -o report.html
              fathom plan deepseek-day6 --closed-forms --json
            """)

    @Flag(help: "Closed forms and predictions only: no simulation.")
    var closedForms = false

    @Option(help: ArgumentHelp("Chooses requests and loads of experts.", valueName: "n"))
    var seed: UInt64 = 1

    @Option(help: ArgumentHelp("Part of the need that the autoscaler keeps in reserve.", valueName: "0…2"))
    var headroom = FleetRules().headroom

    @Option(
        name: [.customShort("o"), .customLong("output")],
        help: ArgumentHelp("Write a page with curves and every figure.", valueName: "report.html"),
        completion: .file(extensions: ["html"]))
    var page: String?

    @OptionGroup var output: OutputOptions

    @OptionGroup var tracing: TraceOptions

    func validate() throws {
        guard 0...2 ~= headroom else {
            throw ValidationError("--headroom is \(headroom) of the need; 0 to 2 is legal")
        }
        if closedForms, page != nil {
            throw ValidationError("--output needs the simulation, which --closed-forms leaves out")
        }
    }

    func run() throws {
        let costs = try ModelCosts(KnownModel.deepSeekR1.configuration())
        let closed = DayClosedForms.published(cacheBytesPerToken: costs.cacheBytesPerToken())
        let traces = TraceComparison(costs)
        var groups = [closed.inputs, closed.results, traces.prefillFigures, traces.decodeFigures]
        if !closedForms {
            var design = try FleetDesign.deepSeekDay6()
            design.rules.headroom = headroom
            let progress = ProgressBar(title: "Simulating")
            defer { progress.finish() }
            let clock = ContinuousClock()
            let start = clock.now
            let simulation = try DaySimulation(design: design, seed: seed) {
                progress.update(done: Int($0), total: 86_400)
            }
            let seconds = start.duration(to: clock.now).seconds
            progress.finish()
            let requests = simulation.day.answers
            StandardError.note(
                "simulated a day of \(PublishedDay.peakNodes) nodes: \(Quantity.grouped(requests)) requests "
                    + "in \(Quantity.decimal(seconds, places: 1)) s on one core, "
                    + "\(Quantity.decimal(Double(requests) / seconds / 1e6, places: 2)) M requests/s")
            groups += [simulation.inputs, simulation.results, simulation.details]
            if let page { try AtomicFileWriter.write(PlanPage(simulation, groups: groups).html, path: page) }
        }
        try Output.render(Day6Report(groups: groups), asJSON: output.json)
    }
}

/// All lines.
private struct Day6Report: Report {
    var groups: [FigureGroup]

    var text: String { FigureTable.text(groups) }
}
