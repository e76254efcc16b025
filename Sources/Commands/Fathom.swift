// SPDX-License-Identifier: MIT

import ArgumentParser

/// The root of the command line.
struct Fathom: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "fathom",
        abstract: "Serve and run DeepSeek-architecture models.",
        discussion: """
            EXAMPLES
              fathom serve
              fathom generate --prompt "What is 12 plus 30?"
              fathom checkpoint inspect Models/fathom-tiny

            Standard output carries data, standard error messages. Exit statuses follow sysexits(3): 64 \
            usage, \
            65 bad data, 66 missing input, 69 unavailable, 70 internal, 74 input or output, 78 configuration.

            Completions for a shell: fathom --generate-completion-script bash|zsh|fish
            """,
        version: "0.1.0",
        subcommands: [ExpertWorker.self],
        groupedSubcommands: groups)

    private static var groups: [CommandGroup] {
        [
            CommandGroup(name: "Answers", subcommands: answers),
            CommandGroup(name: "Model", subcommands: [Logits.self, Tokenize.self, Checkpoint.self]),
            CommandGroup(name: "Experts", subcommands: [EP.self, EPLBCommands.self]),
            CommandGroup(name: "Fleet", subcommands: [PlanCommands.self, Profile.self]),
            CommandGroup(name: "Machine", subcommands: [Bench.self, Gemm.self, MLA.self, GPU.self, Doctor.self]),
            CommandGroup(name: "Groups", subcommands: [Launch.self, RanksCommand.self]),
        ]
    }

    private static var answers: [any ParsableCommand.Type] {
        #if Server
        [Serve.self, Chat.self, Generate.self]
        #else
        [Chat.self, Generate.self]
        #endif
    }
}
