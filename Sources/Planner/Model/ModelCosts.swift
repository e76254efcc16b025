// SPDX-License-Identifier: MIT

public import DeepSeekModel

/// What a model asks of the machine that runs it, from its configuration alone: bytes of weights by part, operations of
/// a token, bytes of cache. Operations count a multiply-add as two.
public struct ModelCosts: Sendable {
    public let configuration: DeepSeekConfiguration
    public let precision: CheckpointPrecision
    /// Totals over the checkpoint: parameters, tensors, bytes.
    public let inspection: CheckpointInspection

    /// Bytes of one layer's attention, indexer and norms; the same in every layer.
    public let attentionBytes: Int
    /// Bytes of one routed expert, scales included; 0 without experts.
    public let expertBytes: Int
    /// Bytes of a layer's shared experts.
    public let sharedExpertBytes: Int
    /// Bytes of a layer's router.
    public let routerBytes: Int
    /// Bytes of a dense layer's MLP.
    public let denseBytes: Int
    public let embeddingBytes: Int
    public let headBytes: Int
    /// Bytes of one prediction layer without its experts and without the copies of embedding and head.
    public let predictionBytes: Int

    /// - Parameter precision: nil for the one that the configuration names.
    public init(_ configuration: DeepSeekConfiguration, precision: CheckpointPrecision? = nil) {
        let schema = CheckpointSchema(configuration, precision: precision)
        self.configuration = configuration
        self.precision = schema.precision
        inspection = CheckpointInspection(configuration, precision: precision)
        var parts = Parts()
        // One layer of each kind stands for all.
        let layers = 0..<configuration.layerCount
        let dense = layers.first { !configuration.hasExperts(layer: $0) }
        let sparse = layers.first { configuration.hasExperts(layer: $0) }
        for layer in Set([dense, sparse].compactMap { $0 }).sorted() {
            parts.add(schema.tensors(layer: layer))
        }
        let attentionLayers = [dense, sparse].compactMap { $0 }.count
        attentionBytes = parts.attention / max(1, attentionLayers)
        expertBytes = configuration.routedExpertCount == 0 ? 0 : parts.experts / configuration.routedExpertCount
        (sharedExpertBytes, routerBytes, denseBytes) = (parts.shared, parts.router, parts.dense)
        embeddingBytes = schema.leadingTensors.reduce(0) { $0 + $1.byteCount }
        headBytes = schema.trailingTensors.reduce(0) { $0 + $1.byteCount }
        var prediction = Parts()
        if configuration.predictionLayerCount > 0 {
            prediction.add(schema.tensors(layer: configuration.layerCount).filter { $0.role != .sharedCopy })
        }
        predictionBytes = prediction.attention + prediction.shared + prediction.router + prediction.dense
    }

    /// Main layers.
    public var layerCount: Int { configuration.layerCount }
    /// Layers with experts.
    public var expertLayerCount: Int { (0..<layerCount).count { configuration.hasExperts(layer: $0) } }
    /// Layers with one dense MLP.
    public var denseLayerCount: Int { layerCount - expertLayerCount }

    /// How the latent cache is stored.
    public enum CacheFormat: String, Sendable, Codable, CaseIterable {
        /// Latent and rotated part in bfloat16: 1,152 bytes for a latent of 512 and a rotated part of 64.
        case bfloat16 = "bf16"
        /// DeepSeek-V3.2's rows: the latent in FP8 with a scale per 128, the rotated part in bfloat16: 656 bytes.
        case float8 = "fp8"
    }

    /// Bytes that one token keeps per layer. V3.2's indexer keeps a key in FP8 with a scale beside it.
    public func cacheBytesPerTokenAndLayer(_ format: CacheFormat = .bfloat16) -> Int {
        let index = configuration.indexer.map { $0.headDimension + 4 * (($0.headDimension + 127) / 128) } ?? 0
        switch format {
        case .bfloat16: return 2 * configuration.cacheRowWidth + index
        case .float8:
            let scales = 4 * ((configuration.latentRank + 127) / 128)
            return configuration.latentRank + scales + 2 * configuration.ropeHeadDimension + index
        }
    }

    /// Bytes that one token keeps in all main layers.
    public func cacheBytesPerToken(_ format: CacheFormat = .bfloat16) -> Int {
        cacheBytesPerTokenAndLayer(format) * layerCount
    }

    /// Operations of one layer's attention for one query and one key, expanded as in prefill: a score over a head's
    /// query width, then a sum over its value width.
    public var prefillOperationsPerPair: Double {
        2 * Double(configuration.headCount * (configuration.queryHeadDimension + configuration.valueHeadDimension))
    }

    /// The same absorbed, as in decode: a score over the cache row, then a sum over the latent.
    public var decodeOperationsPerPair: Double {
        2 * Double(configuration.headCount * (configuration.cacheRowWidth + configuration.latentRank))
    }

    /// Operations of one layer's indexer for one query and one key; 0 without.
    public var indexOperationsPerPair: Double {
        configuration.indexer.map { 2 * Double($0.headCount * $0.headDimension) } ?? 0
    }

    /// Keys that a query attends to among `count`: at most the indexer's selection.
    public func attendedKeys(among count: Double) -> Double {
        configuration.indexer.map { min(count, Double($0.topK)) } ?? count
    }

    /// Sums over a layer's tensors by what they are for.
    private struct Parts {
        var attention = 0
        var experts = 0
        var shared = 0
        var router = 0
        var dense = 0

        mutating func add(_ tensors: [CheckpointTensor]) {
            for tensor in tensors {
                let bytes = tensor.byteCount
                if tensor.name.contains(".mlp.experts.") {
                    experts += bytes
                } else if tensor.name.contains(".mlp.shared_experts.") {
                    shared += bytes
                } else if tensor.name.contains(".mlp.gate.") {
                    router += bytes
                } else if tensor.name.contains(".mlp.") {
                    dense += bytes
                } else {
                    attention += bytes
                }
            }
        }
    }
}
