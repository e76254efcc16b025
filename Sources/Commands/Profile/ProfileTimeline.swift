// SPDX-License-Identifier: MIT

import ArgumentParser
import Platform
import ProfileData

/// A picture of a run.
struct ProfileTimeline: ParsableCommand, TracedCommand {
    static let configuration = CommandConfiguration(
        commandName: "timeline",
        abstract: "Draw a trace: an HTML page to zoom in, or an SVG.",
        discussion: """
            One file with nothing from elsewhere: streams as lanes, classes as colours, annotations above the kernels \
            that they launched, communication that nothing hides in red.

            EXAMPLES
              fathom profile timeline train.json.gz -o train.html
              fathom profile timeline run.json -o run.svg --title "Decode, batch 8"
            """)

    @Argument(help: "The trace: JSON, plain or gzip.", completion: .file())
    var file: String

    @Option(
        name: [.customShort("o"), .long],
        help: ArgumentHelp("The picture: a name that ends in .html or .svg.", valueName: "file"),
        completion: .file(extensions: ["html", "svg"]))
    var output: String

    @Option(help: ArgumentHelp("What stands above the picture.", valueName: "text"))
    var title: String?

    @OptionGroup var tracing: TraceOptions

    func validate() throws {
        if !output.hasSuffix(".html"), !output.hasSuffix(".svg") {
            throw ValidationError("--output is \(output); legal is a name that ends in .html or .svg")
        }
    }

    func run() throws {
        let trace = try Trace(path: file)
        let name = FilePaths.name(of: trace.header.traceName ?? file)
        let timeline = Timeline(trace, title: title ?? name)
        try AtomicFileWriter.write(output.hasSuffix(".svg") ? timeline.svg() : timeline.html(), path: output)
    }
}
