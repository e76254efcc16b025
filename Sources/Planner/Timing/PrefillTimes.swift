// SPDX-License-Identifier: MIT

internal import DeepEP
internal import DeepSeekModel

/// How long one layer of prefill takes on every GPU of a unit: two micro-batches, the communication of one under the
/// computation of the other.
public struct PrefillTimes: Sendable, Codable, Equatable {
    /// What a GPU is given.
    public struct Work: Sendable, Codable, Equatable {
        /// GPUs of the unit; experts are spread over all, attention is per GPU.
        public var ranks: Int
        /// Copies of experts beyond one of each.
        public var redundantExperts: Int
        /// Computed tokens of one micro-batch of one GPU.
        public var tokens: Double
        /// Keys that a computed token attends to on average.
        public var meanKeys: Double
        /// Cached and computed tokens together over computed ones: keys and values are expanded for all.
        public var expansion: Double
        /// Multiprocessors that communicate; the rest computes.
        public var communicationMultiprocessors: Int
        /// The largest load of a GPU's experts over the mean.
        public var expertImbalance: Double

        public init(
            ranks: Int, redundantExperts: Int, tokens: Double, meanKeys: Double, expansion: Double = 1,
            communicationMultiprocessors: Int = 24, expertImbalance: Double = 1
        ) {
            self.ranks = ranks
            self.redundantExperts = redundantExperts
            self.tokens = tokens
            self.meanKeys = meanKeys
            self.expansion = expansion
            self.communicationMultiprocessors = communicationMultiprocessors
            self.expertImbalance = expertImbalance
        }
    }

    public var work: Work
    /// Of one micro-batch in a layer with experts.
    public var stages: [Stage]
    /// Seconds of one micro-batch in a layer with experts: half of what both take together.
    public var secondsPerLayer: Double
    /// Seconds of one micro-batch in a layer with a dense MLP.
    public var denseSecondsPerLayer: Double

    /// Predicts from shapes, peaks and kernel tables.
    public init(_ work: Work, of model: ModelCosts, on hardware: Hardware, rates: KernelRates) {
        self.work = work
        let make = StageMaker(
            hardware: hardware, rates: rates,
            computeShare: Double(hardware.multiprocessors - work.communicationMultiprocessors)
                / Double(hardware.multiprocessors),
            isFloat8: model.precision == .fp8)
        let attention = Self.attention(work, model, hardware, make)
        stages = attention
        if model.configuration.routedExpertCount > 0 {
            stages += Self.experts(work, model, make) + Self.exchange(work, model, hardware)
        }
        secondsPerLayer =
            TwoLanes.prefillLayer(
                attention: stages.seconds(.attention), shared: stages.seconds(.shared),
                experts: stages.seconds(.experts),
                dispatch: stages.seconds(.dispatch), combine: stages.seconds(.combine)) / 2
        denseSecondsPerLayer =
            attention.seconds(.attention)
            + Self.mlp(.shared, "dense", work.tokens, model.configuration.denseIntermediateSize, model, make).seconds(
                .shared)
    }

    /// Seconds of computation of one micro-batch in a layer with experts.
    public var computation: Double { stages.seconds(communication: false) }
    /// Seconds of communication of the same.
    public var communication: Double { stages.seconds(communication: true) }

    /// Seconds of all layers for both micro-batches.
    public func seconds(of model: ModelCosts) -> Double {
        2
            * (Double(model.expertLayerCount) * secondsPerLayer
                + Double(model.denseLayerCount) * denseSecondsPerLayer)
    }

    // MARK: Stages

    private static func attention(
        _ work: Work, _ model: ModelCosts, _ hardware: Hardware, _ make: StageMaker
    ) -> [Stage] {
        let c = model.configuration
        let (t, hidden) = (work.tokens, Double(c.hiddenSize))
        let heads = Double(c.headCount)
        let (query, value) = (heads * Double(c.queryHeadDimension), heads * Double(c.valueHeadDimension))
        let keyValueWidth = c.headCount * (c.nopeHeadDimension + c.valueHeadDimension)
        let part = Stage.Part.attention
        var list = [make.pass(part, "norm, cast", bytes: t * 3 * hidden)]
        if let rank = c.queryLoRARank {
            list.append(
                make.product(part, "q_a, kv_a", rows: t, outputs: rank + c.cacheRowWidth, inputs: c.hiddenSize))
            list.append(make.pass(part, "latent norms, casts", bytes: t * 3 * Double(rank + c.latentRank), kernels: 2))
            list.append(make.product(part, "q_b", rows: t, outputs: Int(query), inputs: rank))
        } else {
            list.append(
                make.product(part, "q, kv_a", rows: t, outputs: Int(query) + c.cacheRowWidth, inputs: c.hiddenSize))
            list.append(make.pass(part, "latent norm, cast", bytes: t * 3 * Double(c.latentRank)))
        }
        list.append(
            make.product(part, "kv_b", rows: t * work.expansion, outputs: keyValueWidth, inputs: c.latentRank))
        let rope = heads * Double(c.ropeHeadDimension)
        // Queries are rotated in place; keys are put together from both parts.
        list.append(
            make.pass(
                part, "rope, keys",
                bytes: t * 4 * rope + t * work.expansion * 2 * (heads * Double(c.nopeHeadDimension) + query), kernels: 2
            ))
        let rates = hardware.attention
        if c.indexer != nil {
            let pairs = t * work.meanKeys
            list.append(
                make.attention(
                    part, "indexer", operations: pairs * model.indexOperationsPerPair / 2, bytes: 0,
                    arithmetic: rates.prefill, reading: 1))
        }
        let keys = model.attendedKeys(among: work.meanKeys)
        // Sparse attention runs absorbed, over the latent rows.
        let perPair = c.indexer == nil ? model.prefillOperationsPerPair : model.decodeOperationsPerPair
        list.append(
            make.attention(
                part, "core attention", operations: t * keys * perPair, bytes: t * 2 * (query + value),
                arithmetic: c.indexer == nil ? rates.prefill : rates.sparsePrefill, reading: rates.decodeBandwidth))
        list.append(make.pass(part, "cast", bytes: t * 3 * value))
        list.append(make.product(part, "o", rows: t, outputs: c.hiddenSize, inputs: Int(value)))
        list.append(make.pass(part, "residual, norm, cast", bytes: t * 7 * hidden))
        if c.routedExpertCount > 0 {
            // Float32 logits: a pass over the rows rather than arithmetic.
            list.append(make.pass(part, "router, top-k", bytes: t * 6 * hidden, kernels: 3))
        }
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

    private static func experts(_ work: Work, _ model: ModelCosts, _ make: StageMaker) -> [Stage] {
        let c = model.configuration
        let (t, hidden) = (work.tokens, Double(c.hiddenSize))
        let rows = t * Double(c.expertsPerToken) * work.expertImbalance
        let groups = Double(c.routedExpertCount + work.redundantExperts) / Double(work.ranks)
        let received = t * work.plan(model).ranksPerToken
        var list: [Stage] = []
        if c.sharedExpertCount > 0 {
            list += mlp(.shared, "shared", t, c.sharedExpertCount * c.expertIntermediateSize, model, make)
        }
        let part = Stage.Part.experts
        let width = Double(c.expertIntermediateSize)
        list.append(make.pass(part, "expand", bytes: (received + rows) * hidden, kernels: 3))
        list.append(
            make.product(
                part, "experts gate, up", groups: groups, rows: rows / groups, outputs: 2 * c.expertIntermediateSize,
                inputs: c.hiddenSize))
        list.append(make.pass(part, "SwiGLU, cast", bytes: rows * 5 * width))
        list.append(
            make.product(
                part, "experts down", groups: groups, rows: rows / groups, outputs: c.hiddenSize,
                inputs: c.expertIntermediateSize))
        list.append(make.pass(part, "reduce", bytes: 2 * (rows + received) * hidden))
        list.append(make.pass(.shared, "sum", bytes: t * 8 * hidden))
        return list
    }

    private static func exchange(_ work: Work, _ model: ModelCosts, _ hardware: Hardware) -> [Stage] {
        guard work.ranks > 1 else { return [] }
        let plan = work.plan(model, gpusPerNode: hardware.gpusPerNode)
        let time = ExchangeRates.normal(
            ranks: work.ranks, tokens: work.tokens, hidden: model.configuration.hiddenSize,
            nodesPerToken: plan.nodesPerToken, ranksPerToken: plan.ranksPerToken, on: hardware)
        return [
            Stage(.dispatch, "dispatch", seconds: time.dispatch, bound: .link),
            Stage(.combine, "combine", seconds: time.combine, bound: .link),
        ]
    }
}

extension PrefillTimes.Work {
    /// Ranks and nodes that a token goes to on average, with uniform choices.
    func plan(_ model: ModelCosts, gpusPerNode: Int = 8) -> (ranksPerToken: Double, nodesPerToken: Double) {
        let c = model.configuration
        let nodes = max(1, ranks / gpusPerNode)
        let group = CommunicationPlan.Group(
            scaleOut: nodes, scaleUp: max(1, ranks / nodes), experts: max(1, c.routedExpertCount),
            topK: max(1, c.expertsPerToken))
        guard let plan = try? CommunicationPlan(group) else { return (1, 1) }
        return (plan.ranksPerToken, plan.nodesPerToken)
    }
}
