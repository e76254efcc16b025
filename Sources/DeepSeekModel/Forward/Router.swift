// SPDX-License-Identifier: MIT

internal import DeepGEMM

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

    private let routing: ExpertRouting

    /// The gate that `configuration` asks for; the configuration was checked when it was read.
    package init(_ configuration: DeepSeekConfiguration) {
        let score: ExpertRouting.Groups.Score? =
            switch configuration.topKMethod {
            case .greedy: nil
            case .groupLimitedGreedy: .largest
            case .noAuxTC: .sumOfTwoLargest
            }
        // Outputs are added in ascending order of the expert.
        routing = ExpertRouting(
            scoring: configuration.scoringFunction == .sigmoid ? .sigmoid : .softmax,
            expertsPerToken: configuration.expertsPerToken, normalizes: configuration.normalizesTopKWeights,
            scalingFactor: Float(configuration.routedScalingFactor),
            groups: score.map {
                ExpertRouting.Groups(
                    count: configuration.expertGroupCount, kept: configuration.topKGroups, score: $0)
            }, order: .ascendingExpert)
    }

    /// Chooses experts for one token, in ascending order of their index; equal scores choose the lower index.
    ///
    /// - Parameters:
    ///   - logits: one number per routed expert.
    ///   - bias: the correction that is added for choosing and not for weighting; nil for none.
    package func choose(logits: [Float], bias: UnsafePointer<Float>?) -> [Choice] {
        let selector = ExpertSelector(checked: routing, expertCount: logits.count)
        let count = routing.expertsPerToken
        var experts = [Int32](repeating: -1, count: count)
        var weights = [Float](repeating: 0, count: count)
        // SAFETY: as much scratch memory as the selector asks for, during the call.
        withUnsafeTemporaryAllocation(of: Float.self, capacity: selector.scratchCount) { scratch in
            guard let scratch = scratch.baseAddress else { return }
            selector.choose(logits: logits, bias: bias, scratch: scratch, experts: &experts, weights: &weights)
        }
        return zip(experts, weights).map { Choice(expert: Int($0), weight: $1) }
    }
}
