// SPDX-License-Identifier: MIT

public import ArgumentParser
public import DeepSeekModel
import Inference
import Logging
import Platform

/// Which checkpoint.
struct ModelOptions: ParsableArguments {
    @Option(
        help: ArgumentHelp("Checkpoint folder; the bundled model where left out.", valueName: "dir"),
        completion: .directory)
    var model: String?

    /// The checkpoint's folder.
    ///
    /// - Throws: `missingInput` where none is named and the bundled model is not found.
    func folder() throws(FathomError) -> String {
        guard let model else { return try BundledModel.folder() }
        guard !model.isEmpty else {
            throw FathomError(.usage, "--model is empty; name a checkpoint folder or leave it out")
        }
        return model
    }
}

/// How a model computes.
struct ExecutionOptions: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "Quantise activations to FP8 per 1×128 for FP8 weights, as the models were trained.",
            valueName: "on|off"))
    var activationQuantization: Toggle = .on

    @Option(help: ArgumentHelp("Number format of the KV cache.", valueName: "fp32|bf16"))
    var kvDtype: DeepSeekExecutor.CacheType = .bfloat16

    @Option(
        help: ArgumentHelp(
            "Hold the embedding and the head as stored or in block FP8: half the memory traffic, a little less exact.",
            valueName: "stored|fp8"))
    var headDtype: DeepSeekExecutor.HeadFormat = .stored

    @Option(help: ArgumentHelp("Threads that compute; every core where left out.", valueName: "n"))
    var threads: Int?

    @Option(help: ArgumentHelp("Tokens that the KV cache holds, of all sequences together.", valueName: "n"))
    var cacheTokens: Int?

    func validate() throws {
        if let threads, !(1...1024).contains(threads) {
            throw ValidationError("--threads is \(threads); legal are 1 to 1024")
        }
        if let cacheTokens, cacheTokens < 1 {
            throw ValidationError("--cache-tokens is \(cacheTokens); legal is 1 or more")
        }
    }

    /// The same as the executor's options.
    var executorOptions: DeepSeekExecutor.Options {
        var options = DeepSeekExecutor.Options()
        options.quantizesActivations = activationQuantization == .on
        options.cacheType = kvDtype
        options.headFormat = headDtype
        options.threadCount = threads
        options.cacheTokens = cacheTokens
        return options
    }

    /// The same for one of `ranks` processes that share a machine.
    func executorOptions(ranks: Int) -> DeepSeekExecutor.Options {
        var options = executorOptions
        options.threadCount = options.threadCount ?? max(1, Machine.coreCount / ranks)
        return options
    }

    /// Loads the checkpoint in `folder` with a progress bar.
    func loadExecutor(folder: String, logger: Logger) throws(FathomError) -> DeepSeekExecutor {
        let progress = ProgressBar(title: "Loading")
        defer { progress.finish() }
        return try DeepSeekExecutor(folder: folder, options: executorOptions, logger: logger) { done, total in
            progress.update(done: done, total: total)
        }
    }
}

extension DeepSeekExecutor.CacheType: ExpressibleByArgument {}

extension DeepSeekExecutor.HeadFormat: ExpressibleByArgument {}
