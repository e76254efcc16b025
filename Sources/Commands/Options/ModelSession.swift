// SPDX-License-Identifier: MIT

import DeepSeekModel
import Inference
import Logging
import Platform
import Tokenizers

/// A loaded checkpoint with a running engine: what the commands that answer share.
struct ModelSession {
    let folder: String
    let executor: any ModelExecutor
    /// nil where the folder has no tokenizer.json: such a checkpoint can be driven by token ids.
    let tokenizer: Tokenizer?
    let engine: InferenceEngine
    /// What the checkpoint recommends.
    let defaults: GenerationDefaults

    /// Loads everything and starts the engine.
    ///
    /// - Parameter engineConfiguration: limits of the engine.
    init(
        model: ModelOptions, execution: ExecutionOptions, experts: ExpertOptions, logging: LoggingOptions,
        engineConfiguration: EngineConfiguration = .init()
    ) throws(FathomError) {
        let folder = try model.folder()
        let logger = logging.logger(label: "fathom")
        self.folder = folder
        tokenizer =
            FilePaths.exists(FilePaths.join(folder, "tokenizer.json")) ? try Tokenizer(folder: folder) : nil
        defaults = try GenerationDefaults(folder: folder)
        let loaded = try experts.load(folder: folder, execution: execution, logger: logger)
        executor = loaded.executor
        engine = InferenceEngine(
            executor: executor, tokenizer: tokenizer,
            endOfSequence: Self.endOfSequence(loaded.configuration, defaults),
            configuration: engineConfiguration, logger: logger)
        engine.start()
    }

    /// The tokenizer.
    ///
    /// - Throws: `missingInput` where the checkpoint has none.
    func requireTokenizer() throws(FathomError) -> Tokenizer {
        guard let tokenizer else {
            throw FathomError(
                .missingInput,
                "\(folder) has no tokenizer.json, which text needs; give token ids with --tokens")
        }
        return tokenizer
    }

    /// The ids that end an answer: those of `generation_config.json`, else those of `config.json`.
    private static func endOfSequence(
        _ configuration: DeepSeekConfiguration, _ defaults: GenerationDefaults
    ) -> Set<Int32> {
        Set(
            defaults.endOfSequence.isEmpty
                ? configuration.endOfSequence.compactMap { Int32(exactly: $0) } : defaults.endOfSequence)
    }

    /// A text prompt's ids, the begin-of-sequence token first where the checkpoint asks for it.
    func promptIDs(_ text: String) throws(FathomError) -> [Int32] {
        let tokenizer = try requireTokenizer()
        let begin = try TextPrompt.beginOfSequence(folder: folder, tokenizer: tokenizer)
        return (begin.map { [$0] } ?? []) + tokenizer.encode(text)
    }
}
