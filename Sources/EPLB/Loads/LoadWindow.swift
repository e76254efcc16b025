// SPDX-License-Identifier: MIT

public import Platform

/// How the next loads are guessed from those of a window.
public enum LoadPrediction: Sendable, Equatable {
    /// The mean of the window.
    case mean
    /// A mean in which each observation weighs `retention` (0…1) times the next newer one.
    case fading(retention: Double)
    /// The line through the window with the least squares, one step beyond its newest observation.
    case trend
}

/// The latest observations of expert loads, oldest dropped first, and what they let expect.
///
/// All observations are of one shape and of equally long times.
public struct LoadWindow: Sendable {
    /// Observations at most.
    public static let maximumCapacity = 4096

    /// Observations that are kept.
    public let capacity: Int
    /// The observations, the oldest first.
    public private(set) var observations: [ExpertLoads] = []

    /// - Throws: `usage` unless the capacity is 1…`maximumCapacity`.
    public init(capacity: Int) throws(FathomError) {
        guard 1...Self.maximumCapacity ~= capacity else {
            throw FathomError(.usage, "window: found \(capacity); legal are 1…\(Self.maximumCapacity) observations")
        }
        self.capacity = capacity
    }

    /// Adds an observation, and drops the oldest where the window is full.
    ///
    /// - Throws: `usage` for other extents than those before.
    public mutating func observe(_ loads: ExpertLoads) throws(FathomError) {
        if let first = observations.first,
            first.layerCount != loads.layerCount || first.expertCount != loads.expertCount
        {
            throw FathomError(
                .usage,
                "weight: found \(loads.layerCount) layers of \(loads.expertCount) experts; legal are "
                    + "\(first.layerCount) of \(first.expertCount), as before in the window")
        }
        if observations.count == capacity { observations.removeFirst() }
        observations.append(loads)
    }

    /// The loads that are expected next; never below zero.
    ///
    /// - Parameter deviations: how many standard deviations of the window are added to each load, so that an expert
    ///   whose load varies counts for more; from 0.
    /// - Throws: `unavailable` for an empty window; `usage` for a retention outside 0…1 or negative deviations;
    ///   `badData` where loads grow beyond the range of Float.
    public func predicted(
        by prediction: LoadPrediction = .mean, deviations: Double = 0
    ) throws(FathomError) -> ExpertLoads {
        guard let first = observations.first else {
            throw FathomError(.unavailable, "the load window is empty; observe loads before predicting")
        }
        guard deviations.isFinite, deviations >= 0 else {
            throw FathomError(.usage, "deviations: found \(deviations); legal are finite numbers from 0")
        }
        let weights = try weights(of: prediction)
        let count = Double(observations.count)
        let values = first.values.indices.map { index in
            var expected = 0.0
            var sum = 0.0
            for (loads, weight) in zip(observations, weights) {
                expected += weight * Double(loads.values[index])
                sum += Double(loads.values[index])
            }
            guard deviations > 0 else { return Float(max(0, expected)) }
            let variance =
                observations.reduce(0.0) { total, loads in
                    let difference = Double(loads.values[index]) - sum / count
                    return total + difference * difference
                } / count
            return Float(max(0, expected + deviations * variance.squareRoot()))
        }
        return try ExpertLoads(layerCount: first.layerCount, expertCount: first.expertCount, values: values)
    }

    /// By what each observation is multiplied, the oldest first: every prediction is a weighted sum.
    private func weights(of prediction: LoadPrediction) throws(FathomError) -> [Double] {
        let count = Double(observations.count)
        let mean = [Double](repeating: 1 / count, count: observations.count)
        switch prediction {
        case .mean: return mean
        case .fading(let retention):
            guard 0...1 ~= retention else {
                throw FathomError(.usage, "retention: found \(retention); legal are numbers from 0 to 1")
            }
            var weights = [1.0]
            while weights.count < observations.count { weights.append(weights[weights.count - 1] * retention) }
            let sum = weights.reduce(0, +)
            return weights.reversed().map { $0 / sum }
        case .trend:
            guard observations.count > 1 else { return mean }
            // Times are −(n−1)/2 … (n−1)/2, the next one (n+1)/2.
            let squares = count * (count * count - 1) / 12
            return observations.indices.map { index in
                1 / count + (Double(index) - (count - 1) / 2) * (count + 1) / 2 / squares
            }
        }
    }
}
