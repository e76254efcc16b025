// SPDX-License-Identifier: MIT

import ArgumentParser
import Platform
import ProfileData

/// Where the time of a run went.
struct ProfileReportCommand: ParsableCommand, TracedCommand {
    static let configuration = CommandConfiguration(
        commandName: "report",
        abstract: "Show span, streams, kernels by class, and what communication costs.",
        discussion: """
            Kernels are classed by their names. Communication is hidden while anything else runs, and exposed \
            otherwise. Where the trace has annotations, the schedule follows: when the kernels that were launched in \
            each one ran. Without device work, threads are streams and spans are kernels. Times in JSON are nanoseconds.

            EXAMPLES
              fathom profile report train.json.gz
              fathom profile report run.json --kernels 40 --json
            """)

    @Argument(help: "The trace: JSON, plain or gzip.", completion: .file())
    var file: String

    @Option(help: ArgumentHelp("Kernels to list by name; --json lists all.", valueName: "n"))
    var kernels = 15

    @Option(help: ArgumentHelp("Exposed gaps to list; --json lists all.", valueName: "n"))
    var gaps = 8

    @OptionGroup var output: OutputOptions

    @OptionGroup var tracing: TraceOptions

    func validate() throws {
        if kernels < 0 || gaps < 0 { throw ValidationError("--kernels and --gaps are 0 or more") }
    }

    func run() throws {
        let trace = try Trace(path: file)
        let report = ProfileReport(trace)
        if output.json { return try Output.renderLine(report) }
        let text = ProfileText(report, kernelCount: kernels, gapCount: gaps)
        try StandardOutput.write(text.text(file: FilePaths.name(of: file)) + "\n")
    }
}
