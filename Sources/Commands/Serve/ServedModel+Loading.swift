// SPDX-License-Identifier: MIT

#if Server
import DeepSeekModel
import Inference
import Logging
import Platform
import Server
import Synchronization
import Tokenizers

/// The engine that a server drives, to be stopped when the server has ended.
final class RunningEngine: Sendable {
    private let engine = Mutex<InferenceEngine?>(nil)

    func start(_ engine: InferenceEngine) {
        engine.start()
        self.engine.withLock { $0 = engine }
    }

    func stop() {
        engine.withLock { $0 }?.stop()
    }
}

extension ServedModel {
    /// Loads a checkpoint folder and starts an engine on it.
    static func load(
        folder: String, execution: ExecutionOptions, experts: ExpertOptions, limits: EngineConfiguration,
        logger: Logger, running: RunningEngine
    ) throws(FathomError) -> ServedModel {
        let files = try ModelFolder.load(path: folder)
        let loaded = try experts.load(folder: folder, execution: execution, logger: logger)
        var configuration = limits
        configuration.modelName = files.name
        let engine = InferenceEngine(
            executor: loaded.executor, tokenizer: files.tokenizer, endOfSequence: files.endOfSequence,
            configuration: configuration, logger: logger)
        running.start(engine)
        let sampling = files.defaults.samplingParameters
        var ranks: (@Sendable () -> Ranks)?
        if let spread = loaded.spread {
            ranks = { Ranks(present: spread.presentRanks(), count: spread.rankCount) }
        }
        return ServedModel(
            name: files.name, engine: engine, tokenizer: files.tokenizer, chatFormat: files.chatFormat,
            // A small cache holds less than the model's context.
            contextLength: engine.limits.contextLength,
            beginOfSequence: try TextPrompt.beginOfSequence(folder: folder, tokenizer: files.tokenizer),
            defaults: .init(
                temperature: sampling.temperature, topP: sampling.topP, topK: sampling.topK,
                repetitionPenalty: sampling.repetitionPenalty),
            ranks: ranks)
    }
}
#endif
