// SPDX-License-Identifier: MIT

internal import DeepSeekModel
public import Platform

/// Decode units that reach a goal.
public struct SizedDecode: Sendable, Codable, Equatable {
    public var shape: DecodeUnitShape
    public var units: Int
    /// Requests of a GPU.
    public var requests: Int
    /// Seconds of each further token.
    public var secondsPerToken: Double
    /// Output tokens per second of a unit.
    public var tokensPerSecond: Double
    public var memory: MemoryBudget
    /// What keeps a GPU from more requests.
    public var limit: Limit

    /// What ends the growth of a batch.
    public enum Limit: String, Sendable, Codable {
        /// The next request makes every answer slower than asked for.
        case answerSpeed = "answer speed"
        /// The next request has no room in the cache.
        case memory
        /// The tables end, or there is no more to do.
        case batch
    }

    /// GPUs of all units.
    public var gpus: Int { units * shape.ranks }
}

/// Prefill units that reach a goal.
public struct SizedPrefill: Sendable, Codable, Equatable {
    public var shape: PrefillUnitShape
    public var units: Int
    /// Seconds of a full pass, and to the first token: half a pass to wait, then its passes.
    public var passSeconds: Double
    public var firstTokenSeconds: Double
    /// Computed tokens per second of a unit.
    public var tokensPerSecond: Double
    public var memory: MemoryBudget

    /// GPUs of all units.
    public var gpus: Int { units * shape.ranks }
}

/// A proposal: units of both kinds, what they cost, and how far each goal is overfulfilled.
public struct SizedPlan: Sendable, Codable, Equatable {
    public var prefill: SizedPrefill
    public var decode: SizedDecode
    public var dollarsPerHour: Double
    /// Dollars per million output tokens asked for, all GPUs counted.
    public var dollarsPerMillion: Double
    /// How much more than the need each could do, as parts: output, computed prompt tokens; time to the first token and
    /// per token that is left; memory that is left of a decode GPU's cache.
    public var outputMargin: Double
    public var promptMargin: Double
    public var firstTokenMargin: Double
    public var perTokenMargin: Double
    public var memoryMargin: Double
}

/// Looks for the cheapest fleet that reaches a goal.
public struct FleetSizing: Sendable {
    public let model: ModelCosts
    public let hardware: Hardware
    public let rates: KernelRates
    public let goal: ServiceGoal
    /// Whether a prediction layer drafts a token, where the model has one.
    public let drafts: Bool

    /// GPUs of a unit that are tried.
    public static let sizes = [1, 2, 4, 8, 16, 24, 32, 48, 64, 72, 96, 128, 144, 160, 256, 288, 320]
    /// Redundant experts that are tried.
    static let redundancies = [0, 32, 64]
    /// Computed tokens of a GPU in one prefill pass that are tried.
    static let passes = [2048, 4096, 8192, 16_384, 32_768]
    /// The hottest GPU's experts over the mean that is assumed, without and with redundant experts: EPLB on loads with
    /// σ = 0.8 of the logarithm, 256 on 32 GPUs, and 288.
    static let imbalance = (without: 1.3, with: 1.1)

    public init(
        model: ModelCosts, hardware: Hardware, rates: KernelRates = KernelRates(), goal: ServiceGoal,
        drafts: Bool = true
    ) throws(FathomError) {
        try goal.validate(contextLength: model.configuration.contextLength)
        self.model = model
        self.hardware = hardware
        self.rates = rates
        self.goal = goal
        self.drafts = drafts && model.configuration.predictionLayerCount > 0
    }

    /// The cheapest plans, each with another size of decode unit; at most `count`.
    ///
    /// - Throws: `configuration` with the reason against the largest unit that was tried, where none is possible.
    public func plans(_ count: Int) throws(FathomError) -> [SizedPlan] {
        var reasons: [String] = []
        let prefill = cheapest(sizes.flatMap { prefills(ranks: $0, &reasons) })
        guard let prefill else { throw impossible("prefill", reasons) }
        reasons = []
        let decodes = sizes.compactMap { ranks in
            redundancies.compactMap { decode(ranks: ranks, redundant: $0, &reasons) }
                .min { ($0.gpus, $0.secondsPerToken) < ($1.gpus, $1.secondsPerToken) }
        }
        guard !decodes.isEmpty else { throw impossible("decode", reasons) }
        let sorted = decodes.sorted { ($0.gpus, $0.shape.ranks) < ($1.gpus, $1.shape.ranks) }
        return sorted.prefix(count).map { plan(prefill, $0) }
    }

    private var sizes: [Int] { Self.sizes.filter(hardware.unitRange.contains) }
    /// One device has nobody to share a busy expert with.
    private var redundancies: [Int] { hardware.isThisCPU ? [0] : Self.redundancies }

    private func cheapest(_ list: [SizedPrefill]) -> SizedPrefill? {
        list.min { ($0.gpus, $0.firstTokenSeconds) < ($1.gpus, $1.firstTokenSeconds) }
    }

    private func impossible(_ phase: String, _ reasons: [String]) -> FathomError {
        let reason = reasons.last ?? "no size of unit was possible"
        return FathomError(.configuration, "no plan: \(phase) is impossible on \(hardware.name): \(reason)")
    }

    private func isLegal(ranks: Int, redundant: Int) -> Bool {
        let experts = model.configuration.routedExpertCount
        guard experts > 0 else { return ranks == 1 && redundant == 0 }
        return ranks <= experts + redundant && (experts + redundant) % ranks == 0
    }

    private func imbalance(_ redundant: Int) -> Double {
        redundant > 0 ? Self.imbalance.with : Self.imbalance.without
    }

    private func design(_ prefill: PrefillUnitShape, _ decode: DecodeUnitShape) -> FleetDesign {
        FleetDesign(
            model: model, hardware: hardware, rates: rates, prefill: prefill, decode: decode,
            scaling: ScalingSteps(
                prefillUnitNodes: 1, decodeUnitNodes: 1, leastPrefillUnits: 1, leastDecodeUnits: 1,
                stepPrefillUnits: 0, stepDecodeUnits: 0, maximumSteps: 0))
    }

    private var decodeShape: DecodeUnitShape {
        var shape = DecodeUnitShape()
        shape.tokensPerStep = drafts ? 2 : 1
        if model.configuration.indexer != nil { shape.cacheFormat = .float8 }
        return shape
    }

    // MARK: Prefill

    private func prefills(ranks: Int, _ reasons: inout [String]) -> [SizedPrefill] {
        redundancies.filter { isLegal(ranks: ranks, redundant: $0) }.flatMap { redundant in
            Self.passes.compactMap { prefill(ranks: ranks, redundant: redundant, tokens: $0, &reasons) }
        }
    }

    private func prefill(
        ranks: Int, redundant: Int, tokens: Int, _ reasons: inout [String]
    ) -> SizedPrefill? {
        var shape = PrefillUnitShape()
        shape.ranks = ranks
        shape.redundantExperts = redundant
        shape.tokensPerPass = tokens
        if ranks == 1 { shape.communicationMultiprocessors = 0 }
        let design = design(shape, decodeShape)
        do throws(FathomError) {
            let memory = try design.prefillMemory()
            let pace = PrefillPace(design)
            let new = goal.promptTokens * (1 - goal.hitRate)
            let rate = pace.fullRate(
                newTokens: new, cachedTokens: goal.promptTokens * goal.hitRate, imbalance: imbalance(redundant))
            let pass = Double(tokens) / rate
            let passes = (new / Double(tokens)).rounded(.up)
            let first = pass * (0.5 + max(1, passes))
            guard first <= goal.firstTokenSeconds else {
                reasons.append(
                    "\(devices(ranks)) \(round(first)) s to the first token; \(goal.firstTokenSeconds) s are asked for"
                )
                return nil
            }
            let need = goal.computedTokensPerSecond * (1 + goal.headroom)
            let unit = rate * Double(ranks)
            return SizedPrefill(
                shape: shape, units: max(1, Int((need / unit).rounded(.up))), passSeconds: pass,
                firstTokenSeconds: first, tokensPerSecond: unit, memory: memory)
        } catch {
            reasons.append(error.message)
            return nil
        }
    }

    private func devices(_ count: Int) -> String { count == 1 ? "one device needs" : "\(count) GPUs need" }

    private func round(_ value: Double) -> Double { (value * 1000).rounded() / 1000 }

    // MARK: Decode

    private func decode(ranks: Int, redundant: Int, _ reasons: inout [String]) -> SizedDecode? {
        guard isLegal(ranks: ranks, redundant: redundant) else { return nil }
        var shape = decodeShape
        shape.ranks = ranks
        shape.redundantExperts = redundant
        let design = design(PrefillUnitShape(), shape)
        do throws(FathomError) {
            let memory = try design.decodeMemory(neededTokens: goal.context)
            let pace = DecodePace(design, imbalance: imbalance(redundant))
            let yield = shape.yield
            let requests = pace.requests(
                atSpeed: 1 / goal.secondsPerToken, yield: yield, context: goal.context, cacheTokens: memory.cacheTokens)
            let seconds = pace.seconds(requests: requests, tokens: Double(requests) * goal.context) / yield
            guard seconds <= goal.secondsPerToken else {
                reasons.append(
                    "\(devices(ranks)) \(round(seconds * 1000)) ms a token for one request; "
                        + "\(round(goal.secondsPerToken * 1000)) ms are asked for")
                return nil
            }
            let rate = Double(requests * ranks) / seconds
            let need = goal.tokensPerSecond * (1 + goal.headroom)
            let limit: SizedDecode.Limit =
                requests == pace.limit
                ? .batch : Double(requests + 1) * goal.context > memory.cacheTokens ? .memory : .answerSpeed
            return SizedDecode(
                shape: shape, units: max(1, Int((need / rate).rounded(.up))), requests: requests,
                secondsPerToken: seconds, tokensPerSecond: rate, memory: memory, limit: limit)
        } catch {
            reasons.append(error.message)
            return nil
        }
    }

    private func plan(_ prefill: SizedPrefill, _ decode: SizedDecode) -> SizedPlan {
        let dollars = Double(prefill.gpus + decode.gpus) * hardware.dollarsPerHour
        let held = Double(decode.requests) * goal.context
        return SizedPlan(
            prefill: prefill, decode: decode, dollarsPerHour: dollars,
            dollarsPerMillion: dollars / 3600 / goal.tokensPerSecond * 1e6,
            outputMargin: Double(decode.units) * decode.tokensPerSecond / goal.tokensPerSecond - 1,
            promptMargin: Double(prefill.units) * prefill.tokensPerSecond / goal.computedTokensPerSecond - 1,
            firstTokenMargin: 1 - prefill.firstTokenSeconds / goal.firstTokenSeconds,
            perTokenMargin: 1 - decode.secondsPerToken / goal.secondsPerToken,
            memoryMargin: 1 - held / decode.memory.cacheTokens)
    }
}
