// SPDX-License-Identifier: MIT

public import Platform

/// What requests are like: conversations of several turns, each with new text behind what the cache has.
///
/// A turn's prompt is all of the conversation before it and new text. The next turn comes after a pause with a fixed
/// probability, and carries on the visible part of the answer.
public struct RequestPopulation: Sendable, Codable, Equatable {
    /// Mean tokens of new text of a turn, and the deviation of their logarithm.
    public var newTokens: Double
    public var newDeviation: Double
    /// Mean tokens of an answer, and the deviation of their logarithm.
    public var outputTokens: Double
    public var outputDeviation: Double
    /// Part of an answer that the next turn carries on: reasoning is dropped.
    public var visiblePart: Double
    /// Probability that a turn is followed by another.
    public var continuation: Double
    /// Median seconds between an answer and the next turn, and the deviation of their logarithm.
    public var pauseSeconds: Double
    public var pauseDeviation: Double
    /// Tokens of the cache's unit: hits are whole units.
    public var cacheUnit: Int
    /// Seconds for which the store keeps a conversation that is not used.
    public var retentionSeconds: Double

    /// The mean prompt, cached part included.
    public var promptTokens: Double { newTokens + carriedTokens }

    /// Mean tokens of the conversation before a turn.
    public var carriedTokens: Double {
        continuation / (1 - continuation) * (newTokens + visiblePart * outputTokens)
    }

    /// A population with given means, solved for what is not published.
    ///
    /// Input over output tokens and the mean length of the cache per output token give the lengths of a prompt and an
    /// answer; the hit rate then gives new text and the probability of another turn. So those three figures are
    /// calibrated, not predicted.
    ///
    /// - Parameters:
    ///   - totals: input, hits, output of the day.
    ///   - meanCachedTokens: tokens in the cache of a request, mean over output tokens.
    /// - Throws: `usage` for totals that no population has.
    public static func calibrated(
        to totals: TokenTotals, meanCachedTokens: Double
    ) throws(FathomError) -> RequestPopulation {
        var population = RequestPopulation(
            newTokens: 0, newDeviation: 0.9, outputTokens: 0, outputDeviation: 0.8, visiblePart: 0.5, continuation: 0,
            pauseSeconds: 60, pauseDeviation: 1, cacheUnit: 64, retentionSeconds: 3600)
        guard totals.input > 0, totals.output > 0, 0..<1 ~= totals.hitRate, meanCachedTokens > 1 else {
            throw FathomError(
                .usage,
                "input, hits and output of a day are \(totals.input), \(totals.hits) and \(totals.output) tokens; "
                    + "legal are positive totals with fewer hits than input")
        }
        let ratio = totals.input / totals.output
        // An output token's position counts: long answers weigh more.
        let weight = exponential(population.outputDeviation * population.outputDeviation) / 2
        population.outputTokens = meanCachedTokens / (ratio + weight)
        let prompt = population.outputTokens * ratio
        population.newTokens = prompt * (1 - totals.hitRate)
        let perTurn = population.newTokens + population.visiblePart * population.outputTokens
        let turns = prompt * totals.hitRate / perTurn
        population.continuation = turns / (1 + turns)
        return population
    }
}

/// Draws from a distribution by a table of its quantiles: fast, and the same everywhere.
struct QuantileTable: Sendable {
    private let values: [Int32]
    private static let bits = 12

    /// Log-normal with a mean, in whole numbers from 1 to `limit`.
    init(mean: Double, deviation: Double, limit: Int32) {
        let center = naturalLogarithm(max(mean, 1)) - deviation * deviation / 2
        self.init(limit: limit) { exponential(center + deviation * $0) }
    }

    /// Log-normal with a median.
    init(median: Double, deviation: Double, limit: Int32) {
        let center = naturalLogarithm(max(median, 1))
        self.init(limit: limit) { exponential(center + deviation * $0) }
    }

    private init(limit: Int32, _ value: (Double) -> Double) {
        let count = 1 << Self.bits
        values = (0..<count).map { index in
            let z = NormalQuantile.value((Double(index) + 0.5) / Double(count))
            return Int32(min(Double(limit), max(1, value(z).rounded())))
        }
    }

    /// The value for a random word.
    @inline(__always)
    func draw(_ word: UInt64) -> Int { Int(values[Int(truncatingIfNeeded: word >> (64 - UInt64(Self.bits)))]) }
}

/// Quantiles of the normal distribution.
enum NormalQuantile {
    /// The z that a standard normal variable stays below with probability `p`, in 0 < p < 1: bisection of the
    /// distribution function, which Simpson's rule sums.
    static func value(_ p: Double) -> Double {
        let wanted = (p < 0.5 ? 1 - p : p) - 0.5
        var (low, high) = (0.0, 8.0)
        while high - low > 1e-9 {
            let middle = (low + high) / 2
            if area(to: middle) < wanted { low = middle } else { high = middle }
        }
        return p < 0.5 ? -low : low
    }

    /// The density's integral from 0 to z.
    private static func area(to z: Double) -> Double {
        let parts = 64
        let width = z / Double(parts)
        var sum = 0.0
        for index in 0...parts {
            let x = width * Double(index)
            let weight = index == 0 || index == parts ? 1.0 : index % 2 == 1 ? 4 : 2
            sum += weight * exponential(-x * x / 2)
        }
        return sum * width / 3 * 0.398_942_280_401_432_7
    }
}
