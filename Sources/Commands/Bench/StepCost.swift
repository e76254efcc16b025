// SPDX-License-Identifier: MIT

import DeepSeekModel
import KernelDispatch
import Tensors

/// What one token costs at least, counted over a checkpoint's tensors.
struct StepCost {
    /// Bytes of weights that a step with one token reads: chosen experts only.
    private(set) var bytesPerToken = 0.0
    /// Weights of the layers that one token is multiplied with.
    private(set) var layerParametersPerToken = 0.0
    /// Those among them that are FP8.
    private(set) var float8ParametersPerToken = 0.0
    /// Weights of the head.
    private(set) var headParameters = 0.0
    /// Bytes that the cache keeps per token in bfloat16, all layers.
    private(set) var cacheBytesPerToken = 0.0
    private let attentionOperationsPerPair: Double

    /// - Parameters:
    ///   - precision: nil for the one that the configuration names.
    ///   - headFormat: how the head is held.
    init(
        _ configuration: DeepSeekConfiguration, precision: CheckpointPrecision? = nil,
        headFormat: DeepSeekExecutor.HeadFormat = .stored
    ) {
        let schema = CheckpointSchema(configuration, precision: precision)
        let chosen = Double(configuration.expertsPerToken) / Double(max(1, configuration.routedExpertCount))
        for tensor in schema {
            if let layer = tensor.layer, schema.isPredictionLayer(layer) { continue }
            let isExpert =
                tensor.role == .expert || (tensor.role == .scale && tensor.name.contains(".experts."))
            let share = isExpert ? chosen : 1
            switch tensor.role {
            case .embedding, .sharedCopy: continue
            case .head: headParameters += Double(tensor.elementCount)
            case .linear, .expert, .router:
                layerParametersPerToken += Double(tensor.elementCount) * share
                if tensor.scalarType == .float8E4M3 {
                    float8ParametersPerToken += Double(tensor.elementCount) * share
                }
            case .routerBias, .norm, .finalNorm, .normBias, .scale: break
            }
            // In FP8 a byte each; its scales, four bytes to 16,384 weights, do not count.
            let isHalved = tensor.role == .head && headFormat == .float8
            bytesPerToken += Double(isHalved ? tensor.elementCount : tensor.byteCount) * share
        }
        cacheBytesPerToken = Double(configuration.cacheRowWidth * 2 * configuration.layerCount)
        // Absorbed attention: each head's scores over latent and rotated part, then its sum over the latent.
        attentionOperationsPerPair =
            2.0 * Double(configuration.headCount * (configuration.cacheRowWidth + configuration.latentRank))
            * Double(configuration.layerCount)
    }

    /// Operations to run a prompt of `count` tokens with logits for the last one.
    func prefillOperations(count: Int) -> Double {
        let pairs = Double(count) * Double(count + 1) / 2
        return 2 * layerParametersPerToken * Double(count) + 2 * headParameters + attentionOperationsPerPair
            * pairs
    }

    /// The least seconds for `prefillOperations`. Products of FP8 weights with FP8 activations run on bfloat16 pairs
    /// where the processor has them; everything else on multiply-adds.
    func prefillSeconds(count: Int, quantizesActivations: Bool, _ machine: MachineLimits) -> Double {
        let pairs = quantizesActivations ? machine.pairGigaflops : nil
        let paired = pairs == nil ? 0 : 2 * float8ParametersPerToken * Double(count)
        return paired / (pairs ?? 1) / 1e9 + (prefillOperations(count: count) - paired)
            / machine.multiplyAddGigaflops / 1e9
    }

    /// Bytes that a step with one token reads after `position` others.
    func decodeBytes(position: Int) -> Double {
        bytesPerToken + cacheBytesPerToken * Double(position + 1)
    }
}
