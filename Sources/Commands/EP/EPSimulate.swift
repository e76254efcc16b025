// SPDX-License-Identifier: MIT

import ArgumentParser
import DeepEP
import Platform

/// The protocols under virtual time and faults.
struct EPSimulate: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "simulate",
        abstract: "Run dispatch and combine under random delays, reorderings, stalls and deaths.",
        discussion: """
            Each seed makes a group, its tokens and its faults, and is run to the end in virtual time. A violation \
            ends the command with status 70 and names its seed, which replays it.

            EXAMPLES
              fathom ep simulate --seed 7
              fathom ep simulate --seed 0 --runs 10000 --json
              fathom ep simulate --seed 7 --mode low-latency --death
            """)

    @Option(help: ArgumentHelp("The first seed.", valueName: "n"))
    var seed: UInt64 = 0

    @Option(help: ArgumentHelp("Seeds to run, one after the other.", valueName: "n"))
    var runs = 1

    @Option(help: ArgumentHelp("normal or low-latency.", valueName: "way"))
    var mode = ExchangeMode.normal.rawValue

    @Flag(help: "A rank dies on the way.")
    var death = false

    @OptionGroup var output: OutputOptions

    func validate() throws {
        guard runs >= 1, runs <= 100_000_000 else {
            throw ValidationError("--runs is \(runs); 1 to 100000000 are legal")
        }
        guard ExchangeMode(rawValue: mode) != nil else {
            throw ValidationError("--mode is '\(mode)'; \(ExchangeMode.legal) are legal")
        }
    }

    func run() throws {
        var report = SimulationReport(seed: seed)
        for index in 0..<UInt64(runs) {
            if mode == ExchangeMode.lowLatency.rawValue {
                report.add(try LowLatencySimulation.run(seed: seed &+ index, dies: death))
            } else {
                report.add(try ExchangeSimulation.run(seed: seed &+ index, dies: death))
            }
        }
        try Output.render(report, asJSON: output.json)
    }
}

/// What was simulated.
private struct SimulationReport: Report {
    var seed: UInt64
    var runs = 0
    var ranks = 0
    var messages = 0
    var virtualSeconds = 0.0
    var finishedRanks = 0
    var deaths = 0

    init(seed: UInt64) { self.seed = seed }

    mutating func add(_ outcome: ExchangeSimulation.Outcome) {
        add(
            outcome.ranks, outcome.messages, outcome.duration, outcome.finished, deaths: outcome.lostRank == nil ? 0 : 1
        )
    }

    mutating func add(_ outcome: LowLatencySimulation.Outcome) {
        add(
            outcome.ranks, outcome.messages, outcome.duration, outcome.finished, deaths: outcome.lostRank == nil ? 0 : 1
        )
    }

    private mutating func add(_ ranks: Int, _ messages: Int, _ duration: Int, _ finished: Int, deaths: Int) {
        runs += 1
        self.ranks += ranks
        self.messages += messages
        virtualSeconds += Double(duration) / 1e9
        finishedRanks += finished
        self.deaths += deaths
    }

    var text: String {
        """
        seeds \(seed) to \(seed + UInt64(runs) - 1): no violation
        \(Quantity.grouped(ranks)) ranks, \(Quantity.grouped(finishedRanks)) went through, \
        \(Quantity.grouped(deaths)) deaths, \(Quantity.grouped(messages)) messages, \
        \(Quantity.decimal(virtualSeconds, places: 3)) virtual seconds
        """
    }
}
