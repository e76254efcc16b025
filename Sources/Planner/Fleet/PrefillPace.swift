// SPDX-License-Identifier: MIT

/// How long a pass of a prefill unit takes, by the fullest GPU: tables of predictions, so that a simulation can ask
/// millions of times.
struct PrefillPace: Sendable {
    /// Seconds of a pass over so many tokens of a GPU: computation that experts' balance does not touch, computation of
    /// experts, communication.
    private let base: [Double]
    private let experts: [Double]
    private let exchange: [Double]
    /// Tokens between entries.
    private let spacing: Double
    /// Seconds of a pair of a token and a key, and of a cached token whose keys are expanded.
    private let secondsPerPair: Double
    private let secondsPerCachedToken: Double
    /// Seconds of a computed token, less its pairs.
    private let secondsPerToken: Double
    let tokensPerPass: Int

    private static let entries = 32

    init(_ design: FleetDesign) {
        let shape = design.prefill
        let model = design.model
        tokensPerPass = shape.tokensPerPass
        let spacing = Double(shape.tokensPerPass) / Double(Self.entries)
        func times(_ tokens: Double, keys: Double, expansion: Double) -> PrefillTimes {
            PrefillTimes(
                .init(
                    ranks: shape.ranks, redundantExperts: shape.redundantExperts, tokens: tokens / 2, meanKeys: keys,
                    expansion: expansion, communicationMultiprocessors: shape.communicationMultiprocessors),
                of: model, on: design.hardware, rates: design.rates)
        }
        let layers = Double(model.layerCount)
        let sparse = Double(model.expertLayerCount)
        var (base, experts, exchange): ([Double], [Double], [Double]) = ([], [], [])
        for entry in 0...Self.entries {
            let found = times(max(2, spacing * Double(entry)), keys: 0, expansion: 1)
            let expertSeconds = found.stages.seconds(.experts)
            let dense = Double(model.denseLayerCount) * found.denseSecondsPerLayer
            base.append(2 * (sparse * (found.computation - expertSeconds) + dense))
            experts.append(2 * sparse * expertSeconds)
            exchange.append(2 * sparse * found.communication)
        }
        self.spacing = spacing
        (self.base, self.experts, self.exchange) = (base, experts, exchange)
        let full = Double(shape.tokensPerPass)
        secondsPerToken = (base[Self.entries] - base[Self.entries / 2]) / (full / 2)
        let keys = 4096.0
        let none = times(full, keys: 0, expansion: 1)
        let some = times(full, keys: keys, expansion: 1)
        secondsPerPair =
            2 * layers * (some.stages.seconds(.attention) - none.stages.seconds(.attention)) / (full * keys)
        let doubled = times(full, keys: 0, expansion: 2)
        secondsPerCachedToken =
            2 * layers * (doubled.stages.seconds(.attention) - none.stages.seconds(.attention)) / full
    }

    /// Seconds of what a GPU does for its own tokens: attention and shared experts.
    ///
    /// - Parameters:
    ///   - tokens: computed tokens.
    ///   - pairs: pairs of computed tokens and their keys.
    ///   - cached: cached tokens, whose keys are expanded.
    func ownSeconds(tokens: Double, pairs: Double, cached: Double) -> Double {
        value(base, tokens) + pairs * secondsPerPair + cached * secondsPerCachedToken
    }

    /// The same by parts, near enough to deal prompts by.
    func share(tokens: Double, pairs: Double, cached: Double) -> Double {
        tokens * secondsPerToken + pairs * secondsPerPair + cached * secondsPerCachedToken
    }

    /// Seconds of a pass, in which all wait for the slowest.
    ///
    /// - Parameters:
    ///   - own: `ownSeconds` of the GPU that takes longest.
    ///   - fullest: tokens of the GPU that sends most.
    ///   - mean: tokens of a GPU on average, which experts see.
    ///   - imbalance: the largest load of a GPU's experts over the mean.
    func seconds(own: Double, fullest: Double, mean: Double, imbalance: Double) -> Double {
        max(own + value(experts, mean) * imbalance, max(value(exchange, fullest), value(exchange, mean) * imbalance))
    }

    /// Between entries a straight line, beyond the table its last slope.
    private func value(_ table: [Double], _ tokens: Double) -> Double {
        let place = tokens / spacing
        let index = min(Int(place), Self.entries - 1)
        return table[index] + (place - Double(index)) * (table[index + 1] - table[index])
    }

    /// Computed tokens per second of a GPU in full passes of prompts that are partly cached.
    func fullRate(newTokens: Double, cachedTokens: Double, imbalance: Double) -> Double {
        let tokens = Double(tokensPerPass)
        let prompts = tokens / max(newTokens, 1)
        let own = ownSeconds(
            tokens: tokens, pairs: tokens * (cachedTokens + newTokens / 2), cached: prompts * cachedTokens)
        return tokens / seconds(own: own, fullest: tokens, mean: tokens, imbalance: imbalance)
    }
}
