// SPDX-License-Identifier: MIT

internal import DeepGEMM
internal import FlashMLA
internal import KernelDispatch
public import Logging
public import Platform
internal import Synchronization
internal import Tensors
internal import Workers

/// A DeepSeek-V2/V3-architecture model from a Hugging Face folder, with its paged cache, on the CPU.
///
/// Weights are mapped and used in the format in which they are stored.
public final class DeepSeekExecutor: ModelExecutor {
    /// How the KV cache stores its numbers.
    public enum CacheType: String, Sendable, CaseIterable {
        case float32 = "fp32"
        case bfloat16 = "bf16"
    }

    /// How the embedding and the head are held, which no release quantises.
    public enum HeadFormat: String, Sendable, CaseIterable {
        /// As the checkpoint stores them, mapped.
        case stored
        /// In block FP8, made at start and kept in memory: half the bytes per token for a small loss of accuracy.
        case float8 = "fp8"
    }

    /// How a model runs.
    public struct Options: Sendable {
        /// Round the inputs of FP8 weights to FP8, one scale per 128 channels, as the model was trained.
        public var quantizesActivations = true
        public var cacheType = CacheType.bfloat16
        public var headFormat = HeadFormat.stored
        /// Compute threads; nil uses every core that the process may run on.
        public var threadCount: Int?
        /// Tokens that the cache holds, rounded up to blocks; nil chooses by context and memory.
        public var cacheTokens: Int?

        public init() {}
    }

    public let configuration: DeepSeekConfiguration
    public let blockCount: Int
    public var blockSize: Int { LatentCacheLayer.blockSize }
    public var vocabularySize: Int { configuration.vocabularySize }
    public var contextLength: Int { configuration.contextLength }
    /// Compute threads in use.
    public var threadCount: Int { context.team.threadCount }
    /// How the embedding and the head are held.
    public let headFormat: HeadFormat

    /// Whether the inputs of FP8 weights are rounded to FP8.
    package let quantizesActivations: Bool
    private let weights: ModelWeights
    private let rotary: RotaryEmbedding
    private let router: Router
    private let cache: LatentCache
    private let context: ComputeContext
    /// The step's memory; the lock also makes steps take turns.
    private let arena: Mutex<Arena>

    /// Maps the checkpoint in `folder` and prepares to run it. Reads headers and small tensors only.
    ///
    /// - Parameter progress: called with layers done and layers in all.
    /// - Throws: what is wrong with the folder, naming file, field or tensor; `unavailable` without enough memory.
    public convenience init(
        folder: String, options: Options = .init(), logger: Logger,
        progress: (@Sendable (_ done: Int, _ total: Int) -> Void)? = nil
    ) throws(FathomError) {
        try self.init(folder: folder, options: options, cacheMemory: { _ in nil }, logger: logger, progress: progress)
    }

    /// As the public one.
    ///
    /// - Parameter cacheMemory: gives zeroed memory of so many bytes for the cache, which outlives the executor; nil
    ///   for memory of its own.
    init(
        folder: String, options: Options,
        cacheMemory: (_ byteCount: Int) throws(FathomError) -> UnsafeMutableRawPointer?, logger: Logger,
        progress: (@Sendable (_ done: Int, _ total: Int) -> Void)? = nil
    ) throws(FathomError) {
        let configuration = try DeepSeekConfiguration(folder: folder)
        try Self.checkSupport(configuration, folder: folder)
        let tensors = try SafetensorsFolder(folder: folder)
        Self.logPredictionLayers(tensors, configuration, logger)
        context = try ComputeContext(threadCount: options.threadCount ?? Machine.coreCount)
        headFormat = options.headFormat
        weights = try ModelWeights(
            reader: CheckpointReader(folder: tensors, configuration: configuration), headFormat: headFormat,
            on: context, progress: progress)
        // Norms and scales are read by now; what follows walks over whole weights.
        for file in tensors.files { file.adviseLargePages() }
        let format: LatentCacheLayer.Format = options.cacheType == .float32 ? .float32 : .bfloat16
        let bytesPerToken = configuration.layerCount * configuration.cacheRowWidth * format.byteCount
        let tokens = Self.cacheTokens(options, configuration)
        // Block ids have 32 bits.
        guard tokens <= Int(Int32.max) * LatentCacheLayer.blockSize else {
            throw FathomError(.unavailable, "no memory for a KV cache of \(tokens) tokens")
        }
        blockCount = max(1, (tokens + LatentCacheLayer.blockSize - 1) / LatentCacheLayer.blockSize)
        cache = try LatentCache(
            layerCount: configuration.layerCount, rowWidth: configuration.cacheRowWidth, blockCount: blockCount,
            format: format, memory: try cacheMemory(bytesPerToken * blockCount * LatentCacheLayer.blockSize))
        rotary = RotaryEmbedding(configuration)
        router = Router(configuration)
        quantizesActivations = options.quantizesActivations
        arena = Mutex(try Arena())
        self.configuration = configuration
        logger.info(
            "model ready",
            metadata: [
                "model.folder": "\(folder)", "compute.threads": "\(context.team.threadCount)",
                "compute.isa": "\(context.level.rawValue)",
                "cache.tokens": "\(blockCount * LatentCacheLayer.blockSize)",
                "cache.bytes": "\(bytesPerToken * blockCount * LatentCacheLayer.blockSize)",
            ])
    }

    public func forward(_ chunks: [SequenceChunk]) throws(FathomError) -> LogitsMatrix {
        try forward(chunks, exchange: nil)
    }

    /// One step with experts spread over ranks, or with all of them here.
    func forward(
        _ chunks: [SequenceChunk], exchange: LayerExchange?
    ) throws(FathomError) -> LogitsMatrix {
        let batch = try TokenBatch(
            chunks, vocabularySize: vocabularySize, contextLength: contextLength, blockCount: blockCount)
        guard batch.count > 0 || exchange != nil else {
            return LogitsMatrix(rowCount: 0, vocabularySize: vocabularySize, values: [])
        }
        return try arena.withLock { (arena) throws(FathomError) in
            try ForwardPass(
                configuration: configuration, weights: weights, rotary: rotary, router: router, cache: cache,
                quantizesActivations: quantizesActivations, context: context, arena: arena, batch: batch,
                exchange: exchange
            ).run()
        }
    }

    /// Where a block lies in the cache's memory; see `LatentCache`.
    func cacheRanges(ofBlock block: Int32) -> [Range<Int>] { cache.ranges(ofBlock: Int(block)) }

    /// How the layers with experts take their rows, the smallest rows first.
    var expertCodings: [LinearProblem.Coding] {
        var codings: Set<LinearProblem.Coding> = []
        for layer in weights.layers {
            guard case .experts(let experts) = layer.feedForward else { continue }
            codings.insert(experts.experts[0].gate.coding(configuration, quantizesActivations: quantizesActivations))
        }
        let width = configuration.hiddenSize
        return codings.sorted { $0.floatCount(width) < $1.floatCount(width) }
    }

    /// What parses and cannot be run.
    private static func checkSupport(_ c: DeepSeekConfiguration, folder: String) throws(FathomError) {
        let path = "\(folder)/\(DeepSeekConfiguration.fileName)"
        guard c.family != .v32 else {
            throw FathomError(
                .configuration,
                "\(path): model_type \(c.family.rawValue) uses sparse attention, which cannot be run yet; "
                    + "deepseek_v2 and deepseek_v3 can")
        }
        // One head's key projection, and the rows that attention works on, must fit a thread's scratch memory.
        guard c.nopeHeadDimension * c.latentRank <= ComputeContext.scratchCount,
            AttentionShape.isSupported(rowWidth: c.cacheRowWidth, valueWidth: c.latentRank)
        else {
            throw FathomError(
                .configuration,
                "\(path): kv_lora_rank (\(c.latentRank)) with qk_nope_head_dim (\(c.nopeHeadDimension)) and "
                    + "qk_rope_head_dim (\(c.ropeHeadDimension)) is too wide; kv_lora_rank + qk_rope_head_dim up to "
                    + "4000 and kv_lora_rank · qk_nope_head_dim up to \(ComputeContext.scratchCount) can be run")
        }
        if let quantization = c.quantization {
            for (name, extent) in [("rows", quantization.blockRows), ("columns", quantization.blockColumns)] {
                guard extent % 8 == 0 else {
                    throw FathomError(
                        .configuration,
                        "\(path): weight_block_size has \(extent) \(name); a multiple of 8 can be run")
                }
            }
            guard c.nopeHeadDimension % 4 == 0, c.valueHeadDimension % 4 == 0 else {
                throw FathomError(
                    .configuration,
                    "\(path): with FP8 weights qk_nope_head_dim (\(c.nopeHeadDimension)) and v_head_dim "
                        + "(\(c.valueHeadDimension)) must be multiples of 4")
            }
        }
    }

    private static func logPredictionLayers(
        _ tensors: SafetensorsFolder, _ c: DeepSeekConfiguration, _ logger: Logger
    ) {
        var layers: Set<Int> = []
        for name in tensors.names where name.hasPrefix("model.layers.") {
            let number = name.dropFirst("model.layers.".count).prefix { $0 != "." }
            if let layer = Int(number), layer >= c.layerCount { layers.insert(layer) }
        }
        guard !layers.isEmpty else { return }
        let list = layers.sorted().map(String.init).joined(separator: ", ")
        logger.info("multi-token-prediction layers are in the checkpoint and not used: model.layers.\(list)")
    }

    /// Tokens of the cache. By default room for four contexts and at least 65,536 tokens, within a quarter of the
    /// machine's memory.
    ///
    /// - Parameter caches: caches on this machine.
    static func cacheTokens(_ options: Options, _ c: DeepSeekConfiguration, caches: Int = 1) -> Int {
        if let tokens = options.cacheTokens { return tokens }
        let format: LatentCacheLayer.Format = options.cacheType == .float32 ? .float32 : .bfloat16
        let bytesPerToken = c.layerCount * c.cacheRowWidth * format.byteCount
        let wanted = max(4 * c.contextLength, 1 << 16)
        return max(LatentCacheLayer.blockSize, min(wanted, Machine.totalMemory / 4 / bytesPerToken / caches))
    }
}
