// SPDX-License-Identifier: MIT

import ArgumentParser
import FoundationEssentials
import Platform
import Ranks

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#elseif canImport(Darwin)
import Darwin
#endif

/// Whether the ranks of a group find each other, and what they put arrives.
struct RanksCheck: ParsableCommand, TracedCommand {
    static let configuration = CommandConfiguration(
        commandName: "check",
        abstract: "Check barriers, collectives and one-sided writes of a group of ranks.",
        discussion: """
            Under fathom launch, mpirun, torchrun or srun it is one rank, and rank 0 shows the group. By itself its \
            ranks are threads. --drill makes a rank fail on purpose, to see that the others notice and name it.

            EXAMPLES
              fathom ranks check --ranks 4
              fathom launch --ranks 4 --nodes 2 -- fathom ranks check --json
              mpirun -np 4 fathom ranks check
              fathom launch --ranks 3 --keep-going -- fathom ranks check --drill 1:kill:barrier
            """)

    @Option(help: ArgumentHelp("Ranks, as threads of this process; not under a launcher.", valueName: "n"))
    var ranks: Int?

    @Option(help: ArgumentHelp("Nodes that the threads count themselves to.", valueName: "n"))
    var nodes = 1

    @Option(help: ArgumentHelp("Rounds of writing to every rank.", valueName: "n"))
    var rounds = 20

    @Option(help: ArgumentHelp("Bytes that a rank writes to each rank in a round.", valueName: "n"))
    var bytes = 16_384

    @Option(help: ArgumentHelp("Decides order and sizes of the writes.", valueName: "n"))
    var seed: UInt64 = 1

    @Option(help: ArgumentHelp("How long to wait for other ranks.", valueName: "ms"))
    var timeoutMs = 30_000

    @Option(help: ArgumentHelp("How long a rank may show no life.", valueName: "ms"))
    var hangMs = 5_000

    @Option(help: ArgumentHelp("Fail on purpose: RANK:kill|stop|exit:barrier|put|wait.", valueName: "drill"))
    var drill: RankDrill?

    @OptionGroup var output: OutputOptions

    @OptionGroup var tracing: TraceOptions

    func run() throws {
        guard rounds > 0, bytes > 0, timeoutMs > 0, hangMs > 0 else {
            throw FathomError(.usage, "--rounds, --bytes, --timeout-ms and --hang-ms are greater than 0")
        }
        var limits = RankGroup.Limits()
        limits.timeoutMilliseconds = timeoutMs
        limits.hangMilliseconds = hangMs
        let check = GroupCheck(rounds: rounds, byteCount: bytes, seed: seed)
        if let environment = try RankEnvironment(ProcessInfo.processInfo.environment) {
            guard ranks == nil else {
                throw FathomError(
                    .usage, "--ranks is \(ranks ?? 0) under \(environment.launcher.rawValue), which has said how many")
            }
            let group = try RankGroup.join(environment, limits: limits)
            let outcome = try check.run(group) { step, round in drill?.strike(group.rank, step, round) }
            // All have compared their bytes before rank 0 says so.
            try group.barrier()
            if group.rank == 0 { try show(outcome, environment.launcher.rawValue, group.topology) }
        } else {
            guard drill == nil else { throw FathomError(.usage, "--drill needs ranks that are processes") }
            let topology = try Topology(rankCount: ranks ?? 2, nodeCount: nodes)
            let outcomes = try RankGroup.threads(topology, limits: limits) { group throws(FathomError) in
                try check.run(group)
            }
            try show(outcomes[0], "threads", topology)
        }
    }

    private func show(_ outcome: GroupCheck.Outcome, _ launcher: String, _ topology: Topology) throws {
        try Output.render(
            CheckReport(
                launcher: launcher, rankCount: topology.rankCount, nodeCount: topology.nodeCount, outcome: outcome),
            asJSON: output.json)
    }
}

/// A failure on purpose, in the second round, when all have seen that it works.
struct RankDrill: ExpressibleByArgument {
    enum Failure: String {
        case kill, stop, exit
    }

    var rank: Int
    var failure: Failure
    var step: GroupCheck.Step

    init?(argument: String) {
        let parts = argument.split(separator: ":", omittingEmptySubsequences: false).map(String.init)
        guard parts.count == 3, let rank = Int(parts[0]), let failure = Failure(rawValue: parts[1]),
            let step = GroupCheck.Step(rawValue: parts[2])
        else { return nil }
        self.rank = rank
        self.failure = failure
        self.step = step
    }

    func strike(_ rank: Int, _ step: GroupCheck.Step, _ round: Int) {
        guard rank == self.rank, step == self.step, round == 2 else { return }
        switch failure {
        case .kill: kill(getpid(), SIGKILL)
        case .stop: kill(getpid(), SIGSTOP)
        case .exit: _exit(3)
        }
    }
}

private struct CheckReport: Report {
    var launcher: String
    var rankCount: Int
    var nodeCount: Int
    var outcome: GroupCheck.Outcome

    var text: String {
        var table = Table([.right, .right, .right, .right, .left])
        table.add("rank", "node", "index", "process", "host")
        for member in outcome.members {
            table.add(
                "\(member.rank)", "\(member.node)", "\(member.indexOnNode)", "\(member.process)", member.host)
        }
        return """
            \(table.text)
            \(rankCount) ranks on \(nodeCount) nodes by \(launcher): \(outcome.rounds) rounds, \
            \(Quantity.bytes(outcome.comparedBytes)) compared by rank 0, barrier \
            \(Quantity.decimal(outcome.barrierMicroseconds, places: 1)) µs
            """
    }
}
