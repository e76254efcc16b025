// SPDX-License-Identifier: MIT

import ArgumentParser

/// Commands about what a fleet would do and cost.
struct PlanCommands: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "plan",
        abstract: "Say what a fleet would do and what it would cost.",
        discussion: """
            EXAMPLES
              fathom plan deepseek-day6 -o report.html
              fathom plan size --tokens-per-second 100000
              fathom plan explain
            """,
        subcommands: [PlanDay6.self, PlanSize.self, PlanExplain.self, PlanTrace.self, PlanCheckHost.self])
}
