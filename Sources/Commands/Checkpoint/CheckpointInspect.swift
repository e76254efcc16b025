// SPDX-License-Identifier: MIT

import ArgumentParser
import DeepSeekModel
import Platform

/// What a checkpoint consists of.
struct CheckpointInspect: ParsableCommand, TracedCommand {
    static let configuration = CommandConfiguration(
        commandName: "inspect",
        abstract: "Count a checkpoint's parameters, tensors and bytes.",
        discussion: """
            Computed from config.json alone; no weights are read. For a folder, its tensors are compared \
            with what \
            config.json asks for.

            EXAMPLES
              fathom checkpoint inspect Models/fathom-tiny
              fathom checkpoint inspect config.json --json
            """)

    @Argument(help: "A config.json, or a checkpoint folder.", completion: .file())
    var path: String

    @OptionGroup var output: OutputOptions

    @OptionGroup var tracing: TraceOptions

    func run() throws {
        let inspection = try CheckpointInspection(path: path)
        if output.json {
            try StandardOutput.write(try inspection.json() + "\n")
        } else {
            try StandardOutput.write(inspection.table())
        }
    }
}
