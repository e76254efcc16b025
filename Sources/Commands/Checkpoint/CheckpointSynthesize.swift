// SPDX-License-Identifier: MIT

public import ArgumentParser
public import DeepSeekModel
import Platform

/// Writes a random checkpoint.
struct CheckpointSynthesize: ParsableCommand, TracedCommand {
    static let configuration = CommandConfiguration(
        commandName: "synthesize",
        abstract: "Write a random checkpoint with the true tensor names and shapes.",
        discussion: """
            The same configuration, number format and seed give the same bytes. The folder appears complete \
            or not \
            at all.

            EXAMPLES
              fathom checkpoint synthesize --config config.json --dtype fp8 --seed 1 --output DIR
            """)

    @Option(
        help: ArgumentHelp("The model's config.json.", valueName: "file"),
        completion: .file(extensions: ["json"]))
    var config: String

    @Option(help: ArgumentHelp("Number format of the weights.", valueName: "bf16|fp8|fp32"))
    var dtype: CheckpointPrecision = .bfloat16

    @Option(help: ArgumentHelp("Same seed, same weights.", valueName: "n"))
    var seed: UInt64 = 0

    @Option(help: ArgumentHelp("The folder to write.", valueName: "dir"), completion: .directory)
    var output: String

    @OptionGroup var tracing: TraceOptions

    func run() throws {
        let synthesizer = try CheckpointSynthesizer(configurationPath: config, precision: dtype, seed: seed)
        let progress = ProgressBar(title: "Writing")
        defer { progress.finish() }
        try synthesizer.write(to: output, progress: progress.update)
        progress.finish()
        StandardError.note("wrote \(output)")
    }
}

extension CheckpointPrecision: ExpressibleByArgument {}
