// SPDX-License-Identifier: MIT

internal import KernelDispatch
internal import Platform
internal import Tensors

/// Attention's weights of one layer; names as in the checkpoint's `self_attn`.
struct AttentionWeights {
    /// How the query comes from the hidden state.
    enum Query {
        /// `q_proj`.
        case direct(StoredWeight)
        /// `q_a_proj`, `q_a_layernorm`, `q_b_proj`.
        case lowRank(down: StoredWeight, norm: AlignedBuffer<Float>, up: StoredWeight)
    }

    let query: Query
    /// `kv_a_proj_with_mqa`: the latent, then the rotated key part.
    let latentDown: StoredWeight
    /// `kv_a_layernorm`, on the latent only.
    let latentNorm: AlignedBuffer<Float>
    /// `kv_b_proj`: per head the rows that make the key's unrotated part, then the rows that make the value.
    let latentUp: StoredWeight
    /// `o_proj`.
    let output: StoredWeight

    /// All weights that every token uses.
    var all: [StoredWeight] {
        switch query {
        case .direct(let weight): [weight, latentDown, latentUp, output]
        case .lowRank(let down, _, let up): [down, up, latentDown, latentUp, output]
        }
    }

    init(layer: Int, reader: CheckpointReader) throws(FathomError) {
        let c = reader.configuration
        let prefix = "model.layers.\(layer).self_attn."
        let queryWidth = c.headCount * c.queryHeadDimension
        if let rank = c.queryLoRARank {
            query = .lowRank(
                down: try reader.weight(prefix + "q_a_proj", outputs: rank, inputs: c.hiddenSize),
                norm: try reader.floats(prefix + "q_a_layernorm.weight", shape: [rank]),
                up: try reader.weight(prefix + "q_b_proj", outputs: queryWidth, inputs: rank))
        } else {
            query = .direct(try reader.weight(prefix + "q_proj", outputs: queryWidth, inputs: c.hiddenSize))
        }
        latentDown = try reader.weight(
            prefix + "kv_a_proj_with_mqa", outputs: c.cacheRowWidth, inputs: c.hiddenSize)
        latentNorm = try reader.floats(prefix + "kv_a_layernorm.weight", shape: [c.latentRank])
        latentUp = try reader.weight(
            prefix + "kv_b_proj", outputs: c.headCount * (c.nopeHeadDimension + c.valueHeadDimension),
            inputs: c.latentRank)
        output = try reader.weight(
            prefix + "o_proj", outputs: c.hiddenSize, inputs: c.headCount * c.valueHeadDimension)
    }
}

/// A gated MLP: down(silu(gate x) · up x). A dense layer's, an expert's, or the shared experts' as one.
struct MLPWeights {
    let gate: StoredWeight
    let up: StoredWeight
    let down: StoredWeight

    var all: [StoredWeight] { [gate, up, down] }

    init(_ prefix: String, width: Int, reader: CheckpointReader) throws(FathomError) {
        let hidden = reader.configuration.hiddenSize
        gate = try reader.weight(prefix + ".gate_proj", outputs: width, inputs: hidden)
        up = try reader.weight(prefix + ".up_proj", outputs: width, inputs: hidden)
        down = try reader.weight(prefix + ".down_proj", outputs: hidden, inputs: width)
    }
}

/// The weights of a layer with experts.
struct ExpertWeights {
    /// `mlp.gate`: one score per routed expert.
    let router: StoredWeight
    /// `e_score_correction_bias`, for choosing only; present with `noaux_tc`.
    let routerBias: AlignedBuffer<Float>?
    let experts: [MLPWeights]
    let shared: MLPWeights?

    init(layer: Int, reader: CheckpointReader) throws(FathomError) {
        let c = reader.configuration
        let prefix = "model.layers.\(layer).mlp."
        router = try reader.weight(
            prefix + "gate", outputs: c.routedExpertCount, inputs: c.hiddenSize, mayBeQuantized: false)
        routerBias =
            c.topKMethod == .noAuxTC
            ? try reader.floats(prefix + "gate.e_score_correction_bias", shape: [c.routedExpertCount]) : nil
        var experts: [MLPWeights] = []
        for expert in 0..<c.routedExpertCount {
            experts.append(
                try MLPWeights(prefix + "experts.\(expert)", width: c.expertIntermediateSize, reader: reader))
        }
        self.experts = experts
        shared =
            c.sharedExpertCount > 0
            ? try MLPWeights(
                prefix + "shared_experts", width: c.sharedExpertCount * c.expertIntermediateSize, reader: reader)
            : nil
    }
}

/// The weights of one layer.
struct LayerWeights {
    enum FeedForward {
        case dense(MLPWeights)
        case experts(ExpertWeights)
    }

    let inputNorm: AlignedBuffer<Float>
    let attention: AttentionWeights
    let postAttentionNorm: AlignedBuffer<Float>
    let feedForward: FeedForward

    init(layer: Int, reader: CheckpointReader) throws(FathomError) {
        let c = reader.configuration
        let prefix = "model.layers.\(layer)."
        inputNorm = try reader.floats(prefix + "input_layernorm.weight", shape: [c.hiddenSize])
        attention = try AttentionWeights(layer: layer, reader: reader)
        postAttentionNorm = try reader.floats(prefix + "post_attention_layernorm.weight", shape: [c.hiddenSize])
        feedForward =
            c.hasExperts(layer: layer)
            ? .experts(try ExpertWeights(layer: layer, reader: reader))
            : .dense(try MLPWeights(prefix + "mlp", width: c.denseIntermediateSize, reader: reader))
    }
}

/// All weights of the main model. Layers beyond `num_hidden_layers` (multi-token prediction) are not loaded.
struct ModelWeights {
    /// `embed_tokens`: one row per token id.
    let embedding: StoredWeight
    let layers: [LayerWeights]
    let finalNorm: AlignedBuffer<Float>
    /// `lm_head`, or the embedding where the two are tied.
    let head: StoredWeight

    /// - Parameters:
    ///   - headFormat: how the embedding and the head are held; what is not as stored is computed here, on `context`.
    ///   - progress: called after each layer with layers done and layers in all.
    init(
        reader: CheckpointReader, headFormat: DeepSeekExecutor.HeadFormat, on context: ComputeContext,
        progress: ((Int, Int) -> Void)?
    ) throws(FathomError) {
        let c = reader.configuration
        func vocabularyWeight(_ name: String) throws(FathomError) -> StoredWeight {
            let weight = try reader.weight(
                name, outputs: c.vocabularySize, inputs: c.hiddenSize, mayBeQuantized: false)
            return headFormat == .stored ? weight : try weight.inBlockFloat8(on: context)
        }
        embedding = try vocabularyWeight("model.embed_tokens")
        var layers: [LayerWeights] = []
        for layer in 0..<c.layerCount {
            layers.append(try LayerWeights(layer: layer, reader: reader))
            progress?(layer + 1, c.layerCount)
        }
        self.layers = layers
        finalNorm = try reader.floats("model.norm.weight", shape: [c.hiddenSize])
        head = c.tiesWordEmbeddings ? embedding : try vocabularyWeight("lm_head")
    }
}
