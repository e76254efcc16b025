// SPDX-License-Identifier: MIT

public import Platform

/// How demand runs through a window of time: the part of the window's tokens that each hour asks for.
public struct DemandCurve: Sendable, Codable, Equatable {
    /// Weights of equal stretches.
    public let weights: [Double]
    /// Seconds of all stretches together.
    public let seconds: Double

    /// - Throws: `usage` for no weights, weights that are negative or not finite, or no time.
    public init(weights: [Double], seconds: Double) throws(FathomError) {
        guard !weights.isEmpty, weights.allSatisfy({ $0.isFinite && $0 >= 0 }), weights.contains(where: { $0 > 0 }),
            seconds.isFinite, seconds > 0
        else {
            throw FathomError(
                .usage,
                "a demand curve has \(weights.count) weights over \(seconds) s; legal are weights of 0 or more "
                    + "that are not all 0, over more than 0 s")
        }
        self.weights = weights
        self.seconds = seconds
    }

    /// Demand at a time over the window's mean: straight lines through the stretches' middles.
    public func relative(at time: Double) -> Double {
        let mean = weights.reduce(0, +) / Double(weights.count)
        let place = time / seconds * Double(weights.count) - 0.5
        let low = min(max(Int(place.rounded(.down)), 0), weights.count - 1)
        let high = min(low + 1, weights.count - 1)
        let part = min(max(place - Double(low), 0), 1)
        return (weights[low] + part * (weights[high] - weights[low])) / mean
    }
}
