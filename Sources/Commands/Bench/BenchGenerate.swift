// SPDX-License-Identifier: MIT

import ArgumentParser
import DeepSeekModel
import KernelDispatch
import Platform
import Tensors

/// How fast a model reads a prompt and writes an answer.
struct BenchGenerate: ParsableCommand, TracedCommand {
    static let configuration = CommandConfiguration(
        commandName: "generate",
        abstract: "Measure prefill and decode of one sequence, beside the machine's limits.",
        discussion: """
            Without --model, a random FP8 checkpoint of the configuration is written once into --output, by \
            default under ~/.cache/fathom, and kept. The prefill limit is the operations of the prompt at the \
            measured peaks: that of bfloat16 pairs for FP8 weights and activations where the processor has such, \
            that of multiply-adds for everything else. The decode limit is the bytes of one step at the read \
            bandwidth, which is sampled between the steps.

            EXAMPLES
              fathom bench generate
              fathom bench generate --model Models/fathom-tiny --smoke --json
              fathom bench generate --trace-overhead
            """)

    @OptionGroup(title: "Model") var model: ModelOptions

    @Option(
        help: ArgumentHelp("Configuration of the random checkpoint.", valueName: "file"), completion: .file())
    var config: String?

    @Option(
        name: .customLong("output"),
        help: ArgumentHelp("Where to keep the random checkpoint.", valueName: "dir"))
    var checkpointFolder: String?

    @Option(help: ArgumentHelp("Length of the prompt.", valueName: "n"))
    var promptTokens = 512

    @Option(help: ArgumentHelp("Length of the answer.", valueName: "n"))
    var outputTokens = 32

    @Option(help: ArgumentHelp("Prefills that are measured; the best one counts.", valueName: "n"))
    var repetitions = 3

    @Option(help: ArgumentHelp("Chooses the prompt and the random weights.", valueName: "n"))
    var seed: UInt64 = 1

    @Flag(help: "A short prompt and answer, to see that it works.")
    var smoke = false

    @Flag(help: "Measure what recording spans costs instead: rounds with and without, in turn; medians.")
    var traceOverhead = false

    @OptionGroup(title: "Model") var execution: ExecutionOptions
    @OptionGroup var output: OutputOptions
    @OptionGroup var logging: LoggingOptions

    @OptionGroup var tracing: TraceOptions

    func validate() throws {
        if promptTokens < 1 || outputTokens < 1 || repetitions < 1 {
            throw ValidationError("--prompt-tokens, --output-tokens and --repetitions are 1 or more")
        }
        if model.model != nil, config != nil {
            throw ValidationError("--model and --config exclude each other: each says what is measured")
        }
        if traceOverhead, tracing.trace != nil {
            throw ValidationError(
                "--trace-overhead and --trace exclude each other: the first turns recording on and off")
        }
    }

    func run() throws {
        if traceOverhead {
            try Output.render(try overhead(), asJSON: output.json)
        } else {
            try Output.render(try result().speed, asJSON: output.json)
        }
    }

    /// The measurement, and the configuration that was measured.
    func result() throws -> (speed: GenerationSpeed, configuration: DeepSeekConfiguration) {
        let (folder, executor) = try load()
        let context = try ComputeContext(threadCount: executor.threadCount)
        var limits = try MachineLimits.measure(on: context)
        let run = try measure(executor, on: context)
        limits.readGigabytesPerSecond = run.bandwidth
        let cost = StepCost(executor.configuration, headFormat: executor.headFormat)
        let prefillLimit =
            Double(promptCount)
            / cost.prefillSeconds(
                count: promptCount, quantizesActivations: executor.quantizesActivations, limits)
        let middle = promptCount + answerCount / 2
        let bytes = cost.decodeBytes(position: middle)
        let decodeLimit = limits.readGigabytesPerSecond * 1e9 / bytes
        let speed = GenerationSpeed(
            model: FilePaths.name(of: folder), isa: context.level.rawValue, threads: executor.threadCount,
            promptTokens: promptCount, outputTokens: answerCount, machine: limits,
            prefillTokensPerSecond: run.prefill, prefillLimitTokensPerSecond: prefillLimit,
            prefillFraction: run.prefill / prefillLimit, decodeTokensPerSecond: run.decode,
            decodeLimitTokensPerSecond: decodeLimit, decodeFraction: run.decode / decodeLimit)
        return (speed, executor.configuration)
    }

    /// Tokens of the prompt and of the answer.
    var promptCount: Int { smoke ? min(promptTokens, 16) : promptTokens }
    var answerCount: Int { smoke ? min(outputTokens, 4) : outputTokens }

    /// The model, which has room for prompt and answer.
    func load() throws -> (folder: String, executor: DeepSeekExecutor) {
        let folder = try model.model ?? syntheticFolder()
        let executor = try execution.loadExecutor(folder: folder, logger: logging.logger(label: "fathom"))
        let needed = promptCount + answerCount
        let capacity = min(executor.contextLength, executor.blockCount * executor.blockSize)
        guard needed <= capacity else {
            throw FathomError(
                .usage,
                "--prompt-tokens and --output-tokens make \(needed) tokens; \(folder) holds \(capacity) "
                    + "(context \(executor.contextLength))")
        }
        return (folder, executor)
    }

    /// Random tokens of the seed.
    func prompt(_ executor: DeepSeekExecutor) -> [Int32] {
        var state = seed
        return (0..<promptCount).map { _ in
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return Int32((state >> 33) % UInt64(executor.vocabularySize))
        }
    }

    /// Tokens per second of prefill (best of the repetitions) and of decode (the median step), and the machine's read
    /// bandwidth in 10⁹ bytes per second (the median of samples in turn with the steps: it changes within seconds).
    private func measure(
        _ executor: DeepSeekExecutor, on context: ComputeContext
    ) throws(FathomError) -> (prefill: Double, decode: Double, bandwidth: Double) {
        let blocks = (promptCount + answerCount + executor.blockSize - 1) / executor.blockSize
        let table = (0..<Int32(blocks)).map { $0 }
        let prompt = prompt(executor)
        let clock = ContinuousClock()
        var fastest = Double.infinity
        var next: Int32 = 0
        for _ in 0...repetitions {
            // The first turn reads the weights from disk and is not counted: the best one is.
            let start = clock.now
            let logits = try executor.forward([
                SequenceChunk(tokens: prompt, firstPosition: 0, blockTable: table)
            ])
            fastest = min(fastest, start.duration(to: clock.now).seconds)
            next = largest(logits)
        }
        let bandwidth = try ReadBandwidth(on: context)
        var samples: [Double] = []
        var steps: [Double] = []
        for position in promptCount..<promptCount + answerCount {
            let start = clock.now
            let logits = try executor.forward([
                SequenceChunk(tokens: [next], firstPosition: position, blockTable: table)
            ])
            steps.append(start.duration(to: clock.now).seconds)
            next = largest(logits)
            samples.append(bandwidth.sample())
        }
        return (Double(promptCount) / fastest, 1 / median(steps), median(samples))
    }

    func median(_ values: [Double]) -> Double { values.sorted()[values.count / 2] }

    func largest(_ logits: LogitsMatrix) -> Int32 {
        var best = 0
        for index in logits.values.indices where logits.values[index] > logits.values[best] { best = index }
        return Int32(best)
    }

    /// The random checkpoint, written if it is not there.
    private func syntheticFolder() throws(FathomError) -> String {
        let config =
            if let config { config } else { try BundledModel.file("Benchmarks/configs/bench-2b.json") }
        let name = FilePaths.name(of: config)
        let stem = name.hasSuffix(".json") ? String(name.dropLast(5)) : name
        let folder =
            if let checkpointFolder { checkpointFolder } else {
                FilePaths.join(try Self.cacheFolder(), "\(stem)-fp8-seed\(seed)")
            }
        if !FilePaths.exists(FilePaths.join(folder, "config.json")) {
            let progress = ProgressBar(title: "Writing \(folder)")
            defer { progress.finish() }
            try CheckpointSynthesizer(configurationPath: config, precision: .fp8, seed: seed)
                .write(to: folder, progress: progress.update)
        }
        return folder
    }

    private static func cacheFolder() throws(FathomError) -> String {
        guard
            let home = environmentVariable("XDG_CACHE_HOME")
                ?? environmentVariable("HOME").map({ $0 + "/.cache" })
        else {
            throw FathomError(.usage, "HOME is not set; name a folder for the checkpoint with --output DIR")
        }
        return FilePaths.join(home, "fathom")
    }
}

/// What was measured.
struct GenerationSpeed: Report {
    var model: String
    var isa: String
    var threads: Int
    var promptTokens: Int
    var outputTokens: Int
    var machine: MachineLimits
    var prefillTokensPerSecond: Double
    var prefillLimitTokensPerSecond: Double
    var prefillFraction: Double
    var decodeTokensPerSecond: Double
    var decodeLimitTokensPerSecond: Double
    var decodeFraction: Double

    var text: String {
        var table = Table([.left, .right, .right, .right])
        table.add("", "tokens/s", "limit", "reached")
        table.add(
            "prefill of \(promptTokens)", Quantity.decimal(prefillTokensPerSecond, places: 1),
            Quantity.decimal(prefillLimitTokensPerSecond, places: 1), percent(prefillFraction))
        table.add(
            "decode at batch 1", Quantity.decimal(decodeTokensPerSecond, places: 1),
            Quantity.decimal(decodeLimitTokensPerSecond, places: 1), percent(decodeFraction))
        return """
            \(model), \(threads) threads, \(isa)
            \(machine.summary)

            \(table.text)
            """
    }

    private func percent(_ fraction: Double) -> String {
        "\(Quantity.decimal(fraction * 100, places: 0)) %"
    }
}
