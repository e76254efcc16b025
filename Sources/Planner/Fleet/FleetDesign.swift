// SPDX-License-Identifier: MIT

internal import DeepSeekModel
public import Platform

/// A fleet as it is deployed: model, hardware, units, and the rules that run it.
public struct FleetDesign: Sendable {
    public var model: ModelCosts
    public var hardware: Hardware
    public var rates: KernelRates
    public var prefill: PrefillUnitShape
    public var decode: DecodeUnitShape
    public var scaling: ScalingSteps
    public var rules: FleetRules

    public init(
        model: ModelCosts, hardware: Hardware, rates: KernelRates, prefill: PrefillUnitShape, decode: DecodeUnitShape,
        scaling: ScalingSteps, rules: FleetRules = FleetRules()
    ) {
        self.model = model
        self.hardware = hardware
        self.rates = rates
        self.prefill = prefill
        self.decode = decode
        self.scaling = scaling
        self.rules = rules
    }

    /// The published deployment of V3 and R1: prefill EP32, decode EP144, 32 redundant experts in each.
    public static func deepSeekDay6() throws(FathomError) -> FleetDesign {
        var hardware = Hardware.h800
        hardware.attention = .february2025
        return FleetDesign(
            model: ModelCosts(try KnownModel.deepSeekR1.configuration()), hardware: hardware,
            rates: KernelRates(generation: .february2025), prefill: PrefillUnitShape(), decode: DecodeUnitShape(),
            scaling: PublishedDay.scaling)
    }
}

/// One prefill unit.
public struct PrefillUnitShape: Sendable, Codable, Equatable {
    /// GPUs; expert and data parallel alike.
    public var ranks = 32
    public var redundantExperts = 32
    /// Computed tokens of a GPU in one pass, both micro-batches together.
    public var tokensPerPass = 16_384
    /// Multiprocessors that communicate.
    public var communicationMultiprocessors = 24

    public init() {}
}

/// One decode unit.
public struct DecodeUnitShape: Sendable, Codable, Equatable {
    /// GPUs; expert and data parallel alike.
    public var ranks = 144
    public var redundantExperts = 32
    /// Tokens that a step computes for a request.
    public var tokensPerStep = 2
    /// Probability that a draft is accepted: 85 to 90 % in the V3 report.
    public var acceptance = 0.875
    public var cacheFormat = ModelCosts.CacheFormat.bfloat16
    /// Requests of a GPU at most, both micro-batches together; DecodePace computes no further.
    public var maximumRequests = 256

    public init() {}

    /// Tokens that a step yields for a request on average: one, and drafts as far as all before them are accepted.
    public var yield: Double {
        var (sum, product) = (1.0, 1.0)
        for _ in 1..<max(tokensPerStep, 1) {
            product *= acceptance
            sum += product
        }
        return sum
    }
}

/// The rules that run a fleet. What DeepSeek did not publish is an assumption here, and printed.
public struct FleetRules: Sendable, Codable, Equatable {
    /// Tokens per second that an answer should have: the lower end of the published speed.
    public var answerSpeed = 20.0
    /// Part of the need that is kept in reserve: an assumption.
    public var headroom = 0.15
    /// Seconds between decisions to scale: the published steps lie on quarters of an hour.
    public var scalingSeconds = 900.0
    /// Seconds from the decision until a unit serves: an assumption.
    public var startSeconds = 180.0
    /// Seconds between placements of experts: about ten minutes in the V3 report.
    public var placementSeconds = 600.0
    /// Deviation of the logarithm of experts' loads, and of its change between two placements: assumptions.
    public var loadDeviation = 0.8
    public var loadDrift = 0.1
    /// Layers whose experts are placed; they stand for all.
    public var placedLayers = 4

    public init() {}
}

/// What one GPU of each kind keeps in memory, and what is left for the cache.
public struct MemoryBudget: Sendable, Codable, Equatable {
    /// Bytes of weights, of buffers and activations, and of all memory.
    public var weights: Double
    public var reserve: Double
    public var total: Double
    /// Tokens of cache that fit in the rest.
    public var cacheTokens: Double
    /// Tokens of cache that the plan needs.
    public var neededTokens: Double

    /// Part of the memory that weights and cache do not get: buffers of the exchange, activations, graphs; a default.
    public static let reservedPart = 0.10

    /// Bytes left beside weights and reserve.
    public var free: Double { total - reserve - weights }

    /// A GPU's share of a unit of `ranks` GPUs, attention and dense layers whole on each.
    ///
    /// - Throws: `configuration` where experts do not go round, or weights leave no room for what is needed.
    public init(
        model: ModelCosts, hardware: Hardware, ranks: Int, redundantExperts: Int, withPrediction: Bool,
        cacheFormat: ModelCosts.CacheFormat, neededTokens: Double, purpose: String
    ) throws(FathomError) {
        let c = model.configuration
        let replicas = c.routedExpertCount + redundantExperts
        guard c.routedExpertCount == 0 || replicas >= ranks else {
            throw FathomError(
                .configuration,
                "\(purpose): \(ranks) GPUs for \(c.routedExpertCount) experts and \(redundantExperts) redundant ones; "
                    + "at least one expert a GPU is legal: fewer GPUs or more redundant experts")
        }
        let own = (replicas + ranks - 1) / ranks
        let layers = model.expertLayerCount + (withPrediction ? c.predictionLayerCount : 0)
        var bytes = model.layerCount * model.attentionBytes
        bytes += layers * (own * model.expertBytes)
        bytes += model.expertLayerCount * (model.sharedExpertBytes + model.routerBytes)
        bytes += model.denseLayerCount * model.denseBytes + model.embeddingBytes + model.headBytes
        if withPrediction { bytes += c.predictionLayerCount * model.predictionBytes }
        weights = Double(bytes)
        total = hardware.memoryBytes
        reserve = total * Self.reservedPart
        self.neededTokens = neededTokens
        let perToken = Double(model.cacheBytesPerToken(cacheFormat))
        cacheTokens = max(0, total - reserve - weights) / perToken
        guard cacheTokens >= neededTokens else {
            func gigabytes(_ bytes: Double) -> String { "\((bytes / 1e8).rounded() / 10) GB" }
            throw FathomError(
                .configuration,
                "\(purpose) on \(hardware.name): \(gigabytes(weights)) of weights (\(own) routed experts a layer) and "
                    + "\(gigabytes(reserve)) of reserve leave \(gigabytes(free)) of \(gigabytes(total)); "
                    + "\(Int(neededTokens)) tokens of cache need \(gigabytes(neededTokens * perToken))")
        }
    }
}
