// SPDX-License-Identifier: MIT

public import Platform

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#elseif canImport(Darwin)
import Darwin
#endif

/// Times planning of one shape, on loads that are distributed log-normally.
public struct EPLBBenchmark: Sendable, Codable {
    /// What is planned.
    public enum Mode: String, Sendable, CaseIterable, Codable {
        /// The original's plan.
        case original
        /// Replicas apart and spread over nodes, with exchanges.
        case best
        /// From a placement in force, after loads drifted, within 5 % of a new plan.
        case migration
    }

    public var mode: Mode
    public var layers: Int
    public var experts: Int
    public var replicas: Int
    public var groups: Int
    public var nodes: Int
    public var gpus: Int
    public var policy: PlacementPolicy
    /// Median time of a plan of all layers, on one core.
    public var seconds: Double
    public var nanosecondsPerLayer: Double
    /// Mean load of a rank divided by the largest before: experts in order, or the placement in force.
    public var balancednessBefore: Double
    /// The same with the plan.
    public var balancedness: Double
    /// The part of the load whose expert is on the token's node.
    public var nodeLocality: Double
    public var crowdedRanks: Int
    /// Bytes that the plan moves from the placement in force, with experts of DeepSeek-V3's size; migration only.
    public var bytesMoved: Int?
    /// Bytes that the best plan made from nothing would move; migration only.
    public var bytesMovedFromNothing: Int?

    /// - Parameters:
    ///   - deviation: of the loads' logarithm.
    ///   - minimumSeconds: how long to repeat; at least three runs.
    /// - Throws: `usage` for an impossible shape.
    public static func measure(
        _ mode: Mode, layers: Int, experts: Int, shape: PlacementShape, deviation: Double = 0.8, seed: UInt64 = 1,
        minimumSeconds: Double
    ) throws(FathomError) -> EPLBBenchmark {
        let loads = try syntheticLoads(layers: layers, experts: experts, deviation: deviation, seed: seed)
        let options: RebalanceOptions = mode == .original ? .init() : .best
        var previous = try ExpertPlacement.identity(layerCount: layers, expertCount: experts, shape: shape)
        if mode == .migration {
            let earlier = try syntheticLoads(
                layers: layers, experts: experts, deviation: deviation, seed: seed, drift: 0.3)
            previous = try rebalanceExperts(earlier, on: shape, options: options)
        }
        var placement = previous
        let seconds = try median(minimumSeconds) { () throws(FathomError) in
            placement =
                mode == .migration
                ? try rebalanceExperts(loads, from: previous, groupCount: shape.groupCount, options: options).placement
                : try rebalanceExperts(loads, on: shape, options: options)
        }
        let quality = try placement.quality(under: loads)
        let plan =
            mode == .migration
            ? try rebalanceExperts(loads, from: previous, groupCount: shape.groupCount, options: options) : nil
        return EPLBBenchmark(
            mode: mode, layers: layers, experts: experts, replicas: shape.replicaCount, groups: shape.groupCount,
            nodes: shape.nodeCount, gpus: shape.rankCount, policy: placement.policy, seconds: seconds,
            nanosecondsPerLayer: seconds * 1e9 / Double(layers),
            balancednessBefore: try previous.quality(under: loads).balancedness, balancedness: quality.balancedness,
            nodeLocality: quality.nodeLocality, crowdedRanks: quality.crowdedRankCount,
            bytesMoved: plan?.cost.bytes,
            bytesMovedFromNothing: plan?.freshCost.bytes)
    }

    private static func median(
        _ minimumSeconds: Double, _ run: () throws(FathomError) -> Void
    ) throws(FathomError) -> Double {
        var times: [Double] = []
        let clock = ContinuousClock()
        try run()
        while times.reduce(0, +) < minimumSeconds || times.count < 3 {
            let start = clock.now
            try run()
            times.append(start.duration(to: clock.now) / .seconds(1))
        }
        return times.sorted()[times.count / 2]
    }
}

/// Loads in tokens whose logarithms are normal around 1000 tokens.
///
/// - Parameters:
///   - deviation: of the logarithm.
///   - drift: deviation of a further factor, drawn apart, so that the same seed without drift gives what these loads
///     drift to.
/// - Throws: `usage` for impossible extents; `badData` for a deviation that makes loads too large.
public func syntheticLoads(
    layers: Int, experts: Int, deviation: Double, seed: UInt64, drift: Double = 0
) throws(FathomError) -> ExpertLoads {
    guard 1...ExpertLoads.maximumLayerCount ~= layers, 1...ExpertLoads.maximumExpertCount ~= experts else {
        throw FathomError(
            .usage,
            "layers and experts: found \(layers) and \(experts); legal are 1…\(ExpertLoads.maximumLayerCount) and "
                + "1…\(ExpertLoads.maximumExpertCount)")
    }
    var random = LoadGenerator(state: seed)
    var drifting = LoadGenerator(state: ~seed)
    let values = (0..<layers * experts).map { _ in
        var exponent = deviation * random.normal()
        if drift != 0 { exponent += drift * drifting.normal() }
        return Float((1000 * exp(exponent)).rounded())
    }
    return try ExpertLoads(layerCount: layers, expertCount: experts, values: values)
}

/// SplitMix64.
private struct LoadGenerator {
    var state: UInt64

    /// A nearly normal number: the sum of twelve uniform ones.
    mutating func normal() -> Double {
        (0..<12).reduce(-6.0) { sum, _ in sum + Double(next() >> 11) * 0x1p-53 }
    }

    private mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }
}
