// SPDX-License-Identifier: MIT

public import Platform

/// What a service must do: how much, how fast, for which requests.
public struct ServiceGoal: Sendable, Codable, Equatable {
    /// Output tokens per second of all answers together.
    public var tokensPerSecond: Double
    /// Mean tokens of a prompt, cached part included, and of an answer.
    public var promptTokens: Double
    public var answerTokens: Double
    /// Part of the prompt tokens that the prefix cache has.
    public var hitRate: Double
    /// Seconds to the first token, mean.
    public var firstTokenSeconds: Double
    /// Seconds of each further token.
    public var secondsPerToken: Double
    /// Part of the need that is kept in reserve.
    public var headroom: Double

    public init(
        tokensPerSecond: Double, promptTokens: Double = 4096, answerTokens: Double = 1024, hitRate: Double = 0.5,
        firstTokenSeconds: Double = 2, secondsPerToken: Double = 0.05, headroom: Double = 0.15
    ) {
        self.tokensPerSecond = tokensPerSecond
        self.promptTokens = promptTokens
        self.answerTokens = answerTokens
        self.hitRate = hitRate
        self.firstTokenSeconds = firstTokenSeconds
        self.secondsPerToken = secondsPerToken
        self.headroom = headroom
    }

    /// Prompt tokens per second that are computed.
    public var computedTokensPerSecond: Double {
        tokensPerSecond / answerTokens * promptTokens * (1 - hitRate)
    }

    /// Tokens in the cache of a request, mean over its answer.
    public var context: Double { promptTokens + answerTokens / 2 }

    /// - Throws: `usage` that names the number, its unit and its range.
    public func validate(contextLength: Int) throws(FathomError) {
        try LegalRange.check("--tokens-per-second", tokensPerSecond, 1...1e12, unit: "tokens/s")
        try LegalRange.check("--prompt-tokens", promptTokens, 1...Double(contextLength), unit: "tokens")
        try LegalRange.check("--output-tokens", answerTokens, 1...Double(contextLength), unit: "tokens")
        try LegalRange.check(
            "--prompt-tokens and --output-tokens together", promptTokens + answerTokens, 2...Double(contextLength),
            unit: "tokens, the model's context")
        try LegalRange.check("--hit-rate", hitRate, 0...0.999, unit: "of the prompt")
        try LegalRange.check("--ttft", firstTokenSeconds, 0.001...3600, unit: "s")
        try LegalRange.check("--tpot", secondsPerToken, 0.0001...60, unit: "s")
        try LegalRange.check("--headroom", headroom, 0...2, unit: "of the need")
    }
}

/// Numbers of a plan have a range and a unit, which errors name.
public enum LegalRange {
    /// - Throws: `usage` for a number outside of its range, or none.
    public static func check(
        _ name: String, _ value: Double, _ range: ClosedRange<Double>, unit: String
    ) throws(FathomError) {
        guard value.isFinite, range.contains(value) else {
            throw FathomError(
                .usage,
                "\(name) is \(text(value)) \(unit); legal is \(text(range.lowerBound)) to "
                    + "\(text(range.upperBound)) \(unit)"
            )
        }
    }

    /// - Throws: `usage` for a number outside of its range.
    public static func check(
        _ name: String, _ value: Int, _ range: ClosedRange<Int>, unit: String
    ) throws(FathomError) {
        guard range.contains(value) else {
            throw FathomError(
                .usage, "\(name) is \(value) \(unit); legal is \(range.lowerBound) to \(range.upperBound) \(unit)")
        }
    }

    private static func text(_ value: Double) -> String {
        value == value.rounded() && value.magnitude < 1e15 ? "\(Int(value))" : "\(value)"
    }
}
