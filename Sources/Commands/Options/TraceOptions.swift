// SPDX-License-Identifier: MIT

import ArgumentParser
import Platform

/// Where the spans of a command go.
struct TraceOptions: ParsableArguments {
    @Option(
        help: ArgumentHelp("Write where the time goes, as a Chrome trace (see fathom profile).", valueName: "file"),
        completion: .file(extensions: ["json"]))
    var trace: String?

    func validate() throws {
        if trace == "" { throw ValidationError("--trace is empty; legal is the name of a file to write") }
    }
}

/// A command that records spans if it is asked to.
protocol TracedCommand: ParsableCommand {
    var tracing: TraceOptions { get }
    /// Which of several processes this is, where the command line says so.
    var tracedRank: Int? { get }
}

extension TracedCommand {
    var tracedRank: Int? { nil }
}
