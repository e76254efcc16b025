// SPDX-License-Identifier: MIT

/// Experts and weights of every token: what `megaGate` gives.
public struct GateResult: Sendable, Equatable {
    public let tokenCount: Int
    /// Experts of a token: the routing's k, then its shared experts.
    public let choicesPerToken: Int
    /// Logical experts, [tokenCount, choicesPerToken], −1 for none.
    public internal(set) var experts: [Int32]
    /// The slots of the same, through `ExpertReplicas`, −1 for none; the logical experts where there is no such map.
    public internal(set) var slots: [Int32]
    /// The weights of the same, 0 for none.
    public internal(set) var weights: [Float]
}

/// How `megaGate` comes to a token's experts.
public enum GateChoice: Sendable {
    /// By score and bias.
    case scores
    /// As given, [tokens, k], −1 for none; only where `tokens` is true, and by score elsewhere. Weights come from the
    /// scores. The original's `fix_routing_mask`.
    case given(_ experts: [Int32], tokens: [Bool]? = nil)
    /// At random, each set of experts equally likely, the same for the same seed and index of the token. Groups have no
    /// part in it; weights come from the scores. For load tests: the original's `force_random`.
    case random(seed: UInt64)
}

/// What is added to scores for the choice.
public struct GateBias: Sendable {
    /// One per expert.
    public var bias: [Float]
    /// Another one for some tokens, such as those of images; nil for none.
    public var other: [Float]?
    /// Which tokens have the other one.
    public var otherTokens: [Bool]

    public init(_ bias: [Float]) {
        self.bias = bias
        other = nil
        otherTokens = []
    }

    /// - Parameters:
    ///   - other: for the tokens where `tokens` is true.
    public init(_ bias: [Float], other: [Float], where tokens: [Bool]) {
        self.bias = bias
        self.other = other
        otherTokens = tokens
    }
}
