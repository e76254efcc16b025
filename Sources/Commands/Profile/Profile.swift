// SPDX-License-Identifier: MIT

import ArgumentParser

/// Commands about traces.
struct Profile: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "profile",
        abstract: "Say what a run did, from its trace.",
        discussion: """
            Reads Chrome traces, plain or gzip: those of PyTorch's profiler, and those that --trace writes.

            EXAMPLES
              fathom generate --tokens 5,6,7 --ignore-eos --trace run.json
              fathom profile report run.json
              fathom profile timeline run.json -o run.html
            """,
        subcommands: [
            ProfileReportCommand.self, ProfileCompare.self, ProfileTimeline.self, ProfileWhatIf.self,
        ])
}
