// SPDX-License-Identifier: MIT

#if canImport(Glibc)
internal import Glibc
#elseif canImport(Musl)
internal import Musl
#endif

/// The gate of a layer with experts: which experts a token uses, and with which weights.
package struct Router: Sendable {
    /// An expert and the weight of its output.
    package struct Choice: Equatable, Sendable {
        package var expert: Int
        package var weight: Float

        package init(expert: Int, weight: Float) {
            self.expert = expert
            self.weight = weight
        }
    }

    private let scoring: DeepSeekConfiguration.ScoringFunction
    private let method: DeepSeekConfiguration.TopKMethod
    private let groupCount: Int
    private let topKGroups: Int
    private let expertsPerToken: Int
    private let normalizes: Bool
    private let scalingFactor: Float

    /// The gate that `configuration` asks for.
    package init(_ configuration: DeepSeekConfiguration) {
        scoring = configuration.scoringFunction
        method = configuration.topKMethod
        groupCount = configuration.expertGroupCount
        topKGroups = configuration.topKGroups
        expertsPerToken = configuration.expertsPerToken
        normalizes = configuration.normalizesTopKWeights
        scalingFactor = Float(configuration.routedScalingFactor)
    }

    /// Chooses experts for one token, in ascending order of their index; equal scores choose the lower index.
    ///
    /// - Parameters:
    ///   - logits: one number per routed expert.
    ///   - bias: the correction that is added for choosing and not for weighting; nil for none.
    package func choose(logits: [Float], bias: UnsafePointer<Float>?) -> [Choice] {
        let scores = scoring == .sigmoid ? logits.map { 1 / (1 + exp(-$0)) } : softmax(logits)
        var ranking = scores
        if let bias { for expert in ranking.indices { ranking[expert] += bias[expert] } }
        if method != .greedy { excludeGroups(&ranking) }
        let chosen = largest(expertsPerToken, of: ranking).sorted()
        var weights = chosen.map { scores[$0] }
        if normalizes {
            let sum = weights.reduce(0, +) + 1e-20
            weights = weights.map { $0 / sum }
        }
        return zip(chosen, weights).map { Choice(expert: $0, weight: $1 * scalingFactor) }
    }

    /// Sets the scores of all but the best `topKGroups` groups to −∞.
    private func excludeGroups(_ ranking: inout [Float]) {
        let size = ranking.count / groupCount
        let groupScores = (0..<groupCount).map { group in
            let members = ranking[group * size..<(group + 1) * size]
            guard method == .noAuxTC else { return members.max() ?? -.infinity }
            let best = largest(2, of: Array(members))
            return best.reduce(0) { $0 + members[members.startIndex + $1] }
        }
        let kept = Set(largest(topKGroups, of: groupScores))
        for group in 0..<groupCount where !kept.contains(group) {
            for expert in group * size..<(group + 1) * size { ranking[expert] = -.infinity }
        }
    }

    /// The indices of the `count` largest values, largest first; the lower index first among equals.
    private func largest(_ count: Int, of values: [Float]) -> [Int] {
        var best: [Int] = []
        for index in values.indices {
            if best.count == count, let last = best.last, !(values[index] > values[last]) { continue }
            let place = best.firstIndex { values[index] > values[$0] } ?? best.count
            best.insert(index, at: place)
            if best.count > count { best.removeLast() }
        }
        return best
    }

    private func softmax(_ logits: [Float]) -> [Float] {
        let peak = logits.max() ?? 0
        let powers = logits.map { exp($0 - peak) }
        let sum = powers.reduce(0, +)
        return powers.map { $0 / sum }
    }
}
