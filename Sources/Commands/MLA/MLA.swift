// SPDX-License-Identifier: MIT

import ArgumentParser

/// Latent attention by itself.
struct MLA: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "mla",
        abstract: "Measure latent attention, and show how it is shared among threads.",
        discussion: """
            EXAMPLES
              fathom mla bench --heads 16,128 --format bf16
              fathom mla explain --heads 16 --lengths 32768,300,12 --threads 8
            """,
        subcommands: [MLABench.self, MLAExplain.self])

    /// Numbers in a list that commas separate; nil if one is none or out of range.
    static func numbers(_ text: String, from least: Int) -> [Int]? {
        let numbers = text.split(separator: ",").map { Int($0) ?? -1 }
        return numbers.isEmpty || numbers.contains { $0 < least || $0 > 1 << 30 } ? nil : numbers
    }
}
