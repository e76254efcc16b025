// SPDX-License-Identifier: MIT

import ArgumentParser

/// Measurements in the units of the thing measured.
struct Bench: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Measure, beside what this machine allows.",
        discussion: """
            EXAMPLES
              fathom bench generate
              fathom bench generate --model Models/fathom-tiny --smoke --json
              fathom bench tokenizer --tokenizer tokenizer.json
            """,
        subcommands: [BenchGenerate.self, BenchTokenizer.self])
}
