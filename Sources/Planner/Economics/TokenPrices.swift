// SPDX-License-Identifier: MIT

/// What a million tokens are sold for, in dollars.
public struct TokenPrices: Sendable, Codable, Equatable {
    /// Prompt tokens found in the prefix cache.
    public var hit: Double
    /// Prompt tokens that are computed.
    public var miss: Double
    public var output: Double

    public init(hit: Double, miss: Double, output: Double) {
        (self.hit, self.miss, self.output) = (hit, miss, output)
    }

    /// DeepSeek-R1's list of February 2025, which the published day is counted with.
    public static let deepSeekR1 = TokenPrices(hit: 0.14, miss: 0.55, output: 2.19)
    /// DeepSeek-V3's list of the same month.
    public static let deepSeekV3 = TokenPrices(hit: 0.07, miss: 0.27, output: 1.10)

    /// Dollars for these tokens.
    public func income(_ tokens: TokenTotals) -> Double {
        (tokens.hits * hit + tokens.misses * miss + tokens.output * output) / 1e6
    }
}

/// Tokens of a stretch of time.
public struct TokenTotals: Sendable, Codable, Equatable {
    /// Prompt tokens, those found in the prefix cache included.
    public var input: Double
    /// Prompt tokens found in the prefix cache.
    public var hits: Double
    public var output: Double

    public init(input: Double, hits: Double, output: Double) {
        (self.input, self.hits, self.output) = (input, hits, output)
    }

    /// Prompt tokens that are computed.
    public var misses: Double { input - hits }
    /// The part of the prompt tokens that was found in the cache.
    public var hitRate: Double { input > 0 ? hits / input : 0 }

    /// Adds the tokens of another stretch.
    public static func += (a: inout TokenTotals, b: TokenTotals) {
        a.input += b.input
        a.hits += b.hits
        a.output += b.output
    }
}
