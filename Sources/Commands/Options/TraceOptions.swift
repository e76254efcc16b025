// SPDX-License-Identifier: MIT

import ArgumentParser
import Platform
import Telemetry

/// Where the spans of a command go.
struct TraceOptions: ParsableArguments {
    @Option(
        help: ArgumentHelp("Write where the time goes, as a Chrome trace (see fathom profile).", valueName: "file"),
        completion: .file(extensions: ["json"]))
    var trace: String?
}

/// A command that records spans if it is asked to.
protocol TracedCommand: ParsableCommand {
    var tracing: TraceOptions { get }
}

/// The recording of a command's spans.
struct TraceRecording: Sendable {
    private let path: String
    private let name: String

    /// Nil where the command does not record, or was not asked to.
    init?(_ command: any ParsableCommand) {
        guard let traced = command as? any TracedCommand, let path = traced.tracing.trace else { return nil }
        self.path = path
        name = "fathom " + (type(of: command).configuration.commandName ?? type(of: command)._commandName)
    }

    func start() { Spans.start() }

    /// Writes the file, also of a command that failed, and says on standard error what is in it.
    func finish() throws(FathomError) {
        let summary = try Spans.finish(path: path, processName: name)
        var text = "\(Quantity.grouped(summary.spanCount)) spans of \(summary.threadCount) threads in \(path)"
        if summary.droppedCount > 0 {
            text += "; \(Quantity.grouped(summary.droppedCount)) older ones had no room and are dropped"
        }
        text += "; each costs \(Quantity.decimal(summary.nanosecondsPerSpan, places: 0)) ns, together "
        text += "\(Quantity.decimal(summary.overhead * 100, places: 3)) % of the time\n"
        StandardError.write(text)
    }
}
