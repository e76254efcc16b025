// SPDX-License-Identifier: MIT

import ArgumentParser

/// Commands about groups of ranks.
struct RanksCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "ranks",
        abstract: "Check a group of ranks.",
        discussion: """
            EXAMPLES
              fathom ranks check --ranks 4
              fathom launch --ranks 4 -- fathom ranks check
              mpirun -np 4 fathom ranks check
            """,
        subcommands: [RanksCheck.self])
}
