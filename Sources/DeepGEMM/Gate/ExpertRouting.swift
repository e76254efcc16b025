// SPDX-License-Identifier: MIT

internal import Platform

/// How a gate turns a token's logits into experts and weights: the rule of DeepSeek's routers as a value.
///
///     score(e)  = scoring(logit(e))
///     chosen    = the k largest score(e) + bias(e), of the kept groups where there are groups
///     weight(e) = score(e), with `normalizes` / (Σ over the chosen + 10⁻²⁰), times `scalingFactor`
///
/// The bias takes part in choosing and not in weighting (arXiv 2412.19437, §2.1.2). Of equals the lower index comes
/// first, of experts and of groups. NaN comes after every number, so it is chosen only where numbers run out; the
/// weight of an expert with a NaN score is NaN, and with `normalizes` those of the whole token.
public struct ExpertRouting: Sendable, Hashable {
    /// What is done to a logit x.
    public enum Scoring: String, Sendable, CaseIterable, Codable {
        /// 1 / (1 + e⁻ˣ): DeepSeek-V3.
        case sigmoid
        /// √ln(1 + eˣ): Mega Gate's only one from 26/09 on.
        case sqrtSoftplus
        /// x itself.
        case identity
        /// eˣ over the sum over all experts: DeepSeek-V2.
        case softmax
    }

    /// In which order a token's experts are given.
    public enum Order: String, Sendable, CaseIterable, Codable {
        /// As chosen: the largest score + bias first.
        case descendingScore
        /// By their index.
        case ascendingExpert
    }

    /// Equal runs of experts of which only the best are kept to choose from: DeepSeek's node-limited routing.
    public struct Groups: Sendable, Hashable {
        /// What a group's members with a bias added make of it.
        public enum Score: String, Sendable, CaseIterable, Codable {
            /// DeepSeek-V2's `group_limited_greedy`.
            case largest
            /// DeepSeek-V3's `noaux_tc`.
            case sumOfTwoLargest
        }

        /// Groups that there are; divides the number of experts.
        public var count: Int
        /// Groups that are kept.
        public var kept: Int
        public var score: Score

        public init(count: Int, kept: Int, score: Score = .sumOfTwoLargest) {
            self.count = count
            self.kept = kept
            self.score = score
        }
    }

    public var scoring: Scoring
    /// k: routed experts of a token.
    public var expertsPerToken: Int
    public var normalizes: Bool
    public var scalingFactor: Float
    public var groups: Groups?
    public var order: Order
    /// Experts that every token uses besides, with weight 1. They follow the chosen ones and are numbered from the
    /// number of routed experts on.
    public var sharedExperts: Int

    public init(
        scoring: Scoring = .sigmoid, expertsPerToken: Int, normalizes: Bool = true, scalingFactor: Float = 1,
        groups: Groups? = nil, order: Order = .descendingScore, sharedExperts: Int = 0
    ) {
        self.scoring = scoring
        self.expertsPerToken = expertsPerToken
        self.normalizes = normalizes
        self.scalingFactor = scalingFactor
        self.groups = groups
        self.order = order
        self.sharedExperts = sharedExperts
    }

    /// The most experts, bounded by a thread's scratch memory.
    public static var expertLimit: Int { 1 << 16 }

    /// Experts of a token with the shared ones.
    public var choicesPerToken: Int { expertsPerToken + sharedExperts }

    /// - Throws: `usage` naming what does not fit so many experts.
    func validate(expertCount: Int) throws(FathomError) {
        guard expertCount >= 1, expertCount <= Self.expertLimit else {
            throw FathomError(.usage, "a gate of \(expertCount) experts; 1…\(Self.expertLimit) is legal")
        }
        guard sharedExperts >= 0, sharedExperts <= Self.expertLimit else {
            throw FathomError(.usage, "\(sharedExperts) shared experts; 0…\(Self.expertLimit) is legal")
        }
        var candidates = expertCount
        if let groups {
            guard groups.count >= 1, expertCount % groups.count == 0 else {
                throw FathomError(
                    .usage, "\(groups.count) groups of \(expertCount) experts; a divisor of \(expertCount) is legal")
            }
            guard groups.kept >= 1, groups.kept <= groups.count else {
                throw FathomError(.usage, "\(groups.kept) kept groups of \(groups.count); 1…\(groups.count) is legal")
            }
            candidates = expertCount / groups.count * groups.kept
        }
        guard expertsPerToken >= 1, expertsPerToken <= candidates else {
            throw FathomError(
                .usage,
                "\(expertsPerToken) experts a token; 1…\(candidates) is legal with \(expertCount) experts"
                    + (groups.map { " in \($0.kept) of \($0.count) groups" } ?? ""))
        }
    }
}
