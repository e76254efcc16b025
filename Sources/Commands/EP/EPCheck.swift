// SPDX-License-Identifier: MIT

import ArgumentParser
import DeepEP
import FoundationEssentials
import Platform
import Ranks

/// Whether tokens reach their experts and come back, over whatever connects the ranks.
struct EPCheck: ParsableCommand, TracedCommand {
    static let configuration = CommandConfiguration(
        commandName: "check",
        abstract: "Check low-latency dispatch and combine of a group of ranks, bit for bit.",
        discussion: """
            Under fathom launch, mpirun, torchrun or srun it is one rank, and rank 0 tells what it found. By itself \
            its ranks are threads. Every format is checked: BF16, FP8 with either kind of scales, LogFMT-10 back.

            EXAMPLES
              fathom ep check --ranks 4
              fathom launch --ranks 4 -- fathom ep check --json
              FATHOM_TRANSPORT=network fathom launch --ranks 2 --nodes 2 -- fathom ep check
            """)

    @Option(help: ArgumentHelp("Ranks, as threads of this process; not under a launcher.", valueName: "n"))
    var ranks: Int?

    @Option(help: ArgumentHelp("Tokens of each rank at most.", valueName: "n"))
    var tokens = ExchangeCheck().tokens

    @Option(help: ArgumentHelp("Numbers of a token.", valueName: "n"))
    var hidden = ExchangeCheck().hidden

    @Option(help: ArgumentHelp("Experts that each token chooses.", valueName: "n"))
    var topK = ExchangeCheck().topK

    @Option(help: ArgumentHelp("Experts in all.", valueName: "n"))
    var experts = ExchangeCheck().experts

    @Option(help: ArgumentHelp("Operations of each format.", valueName: "n"))
    var rounds = ExchangeCheck().rounds

    @Option(help: ArgumentHelp("Seed of tokens and choices.", valueName: "n"))
    var seed: UInt64 = 1

    @OptionGroup var output: OutputOptions

    @OptionGroup var tracing: TraceOptions

    func validate() throws {
        for (flag, value) in [
            ("--ranks", ranks ?? 1), ("--tokens", tokens), ("--hidden", hidden), ("--top-k", topK),
            ("--experts", experts), ("--rounds", rounds),
        ] where value < 1 {
            throw ValidationError("\(flag) is \(value); 1 or more are legal")
        }
    }

    func run() throws {
        var check = ExchangeCheck()
        check.tokens = tokens
        check.hidden = hidden
        check.topK = topK
        check.experts = experts
        check.rounds = rounds
        check.seed = seed
        guard let environment = try RankEnvironment(ProcessInfo.processInfo.environment) else {
            let topology = try Topology(rankCount: ranks ?? 2)
            let outcomes = try RankGroup.threads(topology) { [check] group throws(FathomError) in
                try check.run(group)
            }
            return try show(outcomes[0], "threads", topology)
        }
        guard ranks == nil else {
            throw FathomError(
                .usage, "--ranks is \(ranks ?? 0) under \(environment.launcher.rawValue), which has said how many")
        }
        let group = try RankGroup.join(environment)
        let outcome = try check.run(group)
        // All have compared their bytes before rank 0 says so.
        try group.barrier()
        if group.rank == 0 { try show(outcome, environment.launcher.rawValue, group.topology) }
    }

    private func show(_ outcome: ExchangeCheck.Outcome, _ launcher: String, _ topology: Topology) throws {
        try Output.render(
            ExchangeReport(
                launcher: launcher, rankCount: topology.rankCount, nodeCount: topology.nodeCount, outcome: outcome),
            asJSON: output.json)
    }
}

private struct ExchangeReport: Report {
    var launcher: String
    var rankCount: Int
    var nodeCount: Int
    var outcome: ExchangeCheck.Outcome

    var text: String {
        """
        \(rankCount) ranks on \(nodeCount) nodes by \(launcher), \
        rows \(outcome.readsInPlace ? "read in place" : "put"): \
        \(outcome.operations) operations, \(Quantity.bytes(outcome.comparedBytes)) compared by rank 0, all as they \
        should be; dispatch \(Quantity.decimal(outcome.dispatchMicroseconds, places: 0)) µs, combine \
        \(Quantity.decimal(outcome.combineMicroseconds, places: 0)) µs
        """
    }
}
