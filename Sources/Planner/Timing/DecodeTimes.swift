// SPDX-License-Identifier: MIT

internal import DeepSeekModel

/// How long one layer of decode takes on every GPU of a unit: two micro-batches in five stages, network transfers
/// without multiprocessors under the computation of the other micro-batch.
///
///     compute  SHARED(0) ATTN-0(1) │ MLP(0) │ ATTN-1(1)  │ SHARED(1) ATTN-0(0) │ MLP(1) │ ATTN-1(0)
///     network  DISPATCH(0)         │        │ COMBINE(0) │ DISPATCH(1)         │        │ COMBINE(1)
public struct DecodeTimes: Sendable, Codable, Equatable {
    /// What a GPU is given.
    public struct Work: Sendable, Codable, Equatable {
        /// GPUs of the unit.
        public var ranks: Int
        /// Copies of experts beyond one of each.
        public var redundantExperts: Int
        /// Requests of one micro-batch of one GPU.
        public var requests: Double
        /// Tokens in the cache of each.
        public var context: Double
        /// Tokens that a step computes for a request: one, and one for each draft of the prediction layer.
        public var tokensPerStep: Int
        /// The largest load of a GPU's experts over the mean.
        public var expertImbalance: Double
        public var cacheFormat: ModelCosts.CacheFormat

        public init(
            ranks: Int, redundantExperts: Int, requests: Double, context: Double, tokensPerStep: Int,
            expertImbalance: Double = 1, cacheFormat: ModelCosts.CacheFormat = .bfloat16
        ) {
            self.ranks = ranks
            self.redundantExperts = redundantExperts
            self.requests = requests
            self.context = context
            self.tokensPerStep = tokensPerStep
            self.expertImbalance = expertImbalance
            self.cacheFormat = cacheFormat
        }
    }

    public var work: Work
    /// Of one micro-batch in a layer with experts.
    public var stages: [Stage]
    /// Seconds of one micro-batch in a layer with a dense MLP.
    public var denseSecondsPerLayer: Double
    /// Seconds of the head for one micro-batch.
    public var headSeconds: Double

    /// Predicts from shapes, peaks and kernel tables.
    public init(_ work: Work, of model: ModelCosts, on hardware: Hardware, rates: KernelRates) {
        self.work = work
        let make = StageMaker(
            hardware: hardware, rates: rates, computeShare: 1, isFloat8: model.precision == .fp8)
        let attention = Self.attention(work, model, hardware, make)
        let tokens = work.requests * Double(work.tokensPerStep)
        let c = model.configuration
        stages = attention
        if c.routedExpertCount > 0 { stages += Self.experts(work, model, hardware, make) }
        denseSecondsPerLayer =
            attention.seconds(communication: false)
            + Self.mlp(.shared, "dense", tokens, c.denseIntermediateSize, model, make).seconds(.shared)
        headSeconds =
            make.batched(.attention1, "head", rows: tokens, outputs: c.vocabularySize, inputs: c.hiddenSize).seconds
    }

    /// Seconds of one micro-batch in a layer with experts.
    public var secondsPerLayer: Double {
        max(stages.seconds(.dispatch), stages.seconds(.shared) + stages.seconds(.attention0))
            + stages.seconds(.experts) + max(stages.seconds(.combine), stages.seconds(.attention1))
    }

    /// Seconds of communication that no computation hides.
    public var exposedCommunication: Double { secondsPerLayer - stages.seconds(communication: false) }

    /// Seconds of a step of both micro-batches: all layers and the head; with drafts the prediction layer and its head
    /// once more for each.
    public func stepSeconds(of model: ModelCosts) -> Double {
        let drafts = Double(min(work.tokensPerStep - 1, 1) * model.configuration.predictionLayerCount)
        let layers =
            Double(model.expertLayerCount) * secondsPerLayer + Double(model.denseLayerCount) * denseSecondsPerLayer
        return 2 * (layers + headSeconds + drafts * (secondsPerLayer + headSeconds))
    }

    // MARK: Stages

    private static func attention(
        _ work: Work, _ model: ModelCosts, _ hardware: Hardware, _ make: StageMaker
    ) -> [Stage] {
        let c = model.configuration
        let t = work.requests * Double(work.tokensPerStep)
        let hidden = Double(c.hiddenSize)
        let heads = Double(c.headCount)
        let (query, value) = (heads * Double(c.queryHeadDimension), heads * Double(c.valueHeadDimension))
        let latent = heads * Double(c.latentRank)
        var list = [make.pass(.attention0, "norm, cast", bytes: t * 3 * hidden)]
        if let rank = c.queryLoRARank {
            list.append(
                make.product(.attention0, "q_a, kv_a", rows: t, outputs: rank + c.cacheRowWidth, inputs: c.hiddenSize))
            list.append(
                make.pass(.attention0, "latent norms, casts", bytes: t * 3 * Double(rank + c.latentRank), kernels: 2))
            list.append(make.product(.attention0, "q_b", rows: t, outputs: Int(query), inputs: rank))
        } else {
            list.append(
                make.product(
                    .attention0, "q, kv_a", rows: t, outputs: Int(query) + c.cacheRowWidth, inputs: c.hiddenSize))
            list.append(make.pass(.attention0, "latent norm, cast", bytes: t * 3 * Double(c.latentRank)))
        }
        list.append(
            make.batched(
                .attention0, "absorb keys", batch: c.headCount, rows: t, outputs: c.latentRank,
                inputs: c.nopeHeadDimension))
        list.append(make.pass(.attention0, "rope, cache row", bytes: t * 2 * query, kernels: 2))
        list += core(work, model, hardware, make)
        list.append(make.pass(.attention1, "merge of splits", bytes: t * 6 * latent))
        list.append(
            make.batched(
                .attention1, "absorb values", batch: c.headCount, rows: t, outputs: c.valueHeadDimension,
                inputs: c.latentRank))
        list.append(make.pass(.attention1, "cast", bytes: t * 3 * value))
        list.append(make.product(.attention1, "o", rows: t, outputs: c.hiddenSize, inputs: Int(value)))
        list.append(make.pass(.attention1, "residual, norm, cast", bytes: t * 7 * hidden))
        if c.routedExpertCount > 0 {
            list.append(make.pass(.attention1, "router, top-k", bytes: t * 6 * hidden, kernels: 3))
        }
        return list
    }

    /// Core attention, behind the indexer where there is one.
    private static func core(
        _ work: Work, _ model: ModelCosts, _ hardware: Hardware, _ make: StageMaker
    ) -> [Stage] {
        let c = model.configuration
        let rates = hardware.attention
        let t = work.requests * Double(work.tokensPerStep)
        var list: [Stage] = []
        if let indexer = c.indexer {
            list.append(
                make.attention(
                    .attention1, "indexer", operations: t * work.context * model.indexOperationsPerPair / 2,
                    bytes: work.requests * work.context * Double(indexer.headDimension + 4),
                    arithmetic: rates.prefill, reading: rates.decodeBandwidth))
        }
        let keys = model.attendedKeys(among: work.context)
        // Every query of a request reads the same rows once; sparse queries each their own.
        let readers = c.indexer == nil ? work.requests : t
        list.append(
            make.attention(
                .attention1, "core attention", operations: t * keys * model.decodeOperationsPerPair,
                bytes: readers * keys * Double(model.cacheBytesPerTokenAndLayer(work.cacheFormat)),
                arithmetic: c.indexer == nil ? rates.decode : rates.sparseDecode, reading: rates.decodeBandwidth))
        return list
    }

    private static func mlp(
        _ part: Stage.Part, _ name: String, _ tokens: Double, _ width: Int, _ model: ModelCosts, _ make: StageMaker
    ) -> [Stage] {
        let hidden = model.configuration.hiddenSize
        return [
            make.product(part, "\(name) gate, up", rows: tokens, outputs: 2 * width, inputs: hidden),
            make.pass(part, "\(name) SwiGLU, cast", bytes: tokens * 5 * Double(width)),
            make.product(part, "\(name) down", rows: tokens, outputs: hidden, inputs: width),
        ]
    }

    private static func experts(
        _ work: Work, _ model: ModelCosts, _ hardware: Hardware, _ make: StageMaker
    ) -> [Stage] {
        let c = model.configuration
        let t = work.requests * Double(work.tokensPerStep)
        let rows = t * Double(c.expertsPerToken) * work.expertImbalance
        let groups = Double(c.routedExpertCount + work.redundantExperts) / Double(work.ranks)
        var list: [Stage] = []
        if c.sharedExpertCount > 0 {
            list += mlp(.shared, "shared", t, c.sharedExpertCount * c.expertIntermediateSize, model, make)
        }
        list.append(
            make.product(
                .experts, "experts gate, up", groups: groups, rows: rows / groups,
                outputs: 2 * c.expertIntermediateSize, inputs: c.hiddenSize))
        list.append(make.pass(.experts, "SwiGLU, cast", bytes: rows * 5 * Double(c.expertIntermediateSize)))
        list.append(
            make.product(
                .experts, "experts down", groups: groups, rows: rows / groups, outputs: c.hiddenSize,
                inputs: c.expertIntermediateSize))
        list.append(make.pass(.shared, "sum", bytes: t * 8 * Double(c.hiddenSize)))
        guard work.ranks > 1 else { return list }
        let time = ExchangeRates.lowLatency(
            ranks: work.ranks, tokens: t * work.expertImbalance, hidden: c.hiddenSize, topK: c.expertsPerToken,
            least: make.rates.smallestKernel, on: hardware)
        list.append(Stage(.dispatch, "dispatch", seconds: time.dispatch, bound: .link))
        list.append(Stage(.combine, "combine", seconds: time.combine, bound: .link))
        return list
    }
}
