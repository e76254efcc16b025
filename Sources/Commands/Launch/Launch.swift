// SPDX-License-Identifier: MIT

import ArgumentParser
import FoundationEssentials
import Platform
import Ranks

/// Starts a command as every rank of a group.
struct Launch: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Run a command as every rank of a group on this machine.",
        discussion: """
            Each rank is a process with its own FATHOM_RANK. What it writes comes out line by line, the rank before \
            each. When a rank fails, the others are asked to end and then made to; the exit status is that of the \
            first that failed. Signals are handed on. --nodes only says how ranks count themselves to nodes: all \
            run here.

            On several machines use mpirun, torchrun or srun, whose variables Fathom reads too.

            EXAMPLES
              fathom launch --ranks 4 -- fathom ranks check
              fathom launch --ranks 8 --nodes 2 -- fathom ranks check
            """)

    @Option(help: ArgumentHelp("Processes.", valueName: "n"))
    var ranks: Int

    @Option(help: ArgumentHelp("Nodes that the ranks count themselves to.", valueName: "n"))
    var nodes = 1

    @Flag(help: "Let the others go on when a rank fails.")
    var keepGoing = false

    @Option(help: ArgumentHelp("How long ranks have to end before they are killed.", valueName: "ms"))
    var graceMs = 5_000

    @Argument(parsing: .postTerminator, help: "The command and its arguments, after --.")
    var command: [String] = []

    func run() throws {
        guard graceMs >= 0 else {
            throw FathomError(.usage, "--grace-ms is \(graceMs); legal are 0 and more")
        }
        var launcher = try RankLauncher(try Topology(rankCount: ranks, nodeCount: nodes), command: command)
        launcher.keepsGoing = keepGoing
        launcher.graceMilliseconds = graceMs
        var failure: FathomError?
        let status = try launcher.run(variables: ProcessInfo.processInfo.environment) { bytes, isError in
            guard !isError else {
                StandardError.write(bytes)
                return true
            }
            guard failure == nil else { return false }
            do throws(FathomError) { try StandardOutput.write(bytes) } catch { failure = error }
            return failure == nil
        } say: {
            StandardError.note($0)
        }
        if let failure { throw failure }
        if status != 0 { throw ExitCode(status) }
    }
}
