// SPDX-License-Identifier: MIT

import ArgumentParser

/// Expert parallelism by itself.
struct EP: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "ep",
        abstract: "Measure and check dispatch and combine, and run their protocols under faults.",
        discussion: """
            EXAMPLES
              fathom ep bench --ranks 2,4,8
              fathom ep check --ranks 4
              fathom ep plan --ranks 16 --nodes 2
              fathom ep simulate --seed 7 --runs 1000
            """,
        subcommands: [EPBench.self, EPCheck.self, EPPlan.self, EPSimulate.self])
}
