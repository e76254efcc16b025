// SPDX-License-Identifier: MIT

internal import DeepSeekModel
internal import EPLB
internal import Platform
internal import Simulation

/// The third balancer: experts' loads drift, and every ten minutes EPLB places replicas for the loads that it has seen.
struct ExpertBalance {
    private var random: SimulationRandom
    private var logarithms: [Double]
    private let layers: Int
    private let experts: Int
    private let deviation: Double
    private let drift: Double
    private let shapes: [PlacementShape]
    /// The largest load of a GPU over the mean, for prefill and for decode, mean over layers; 1 is perfect.
    private(set) var imbalance: [Double]

    /// - Parameters:
    ///   - design: unit shapes and assumptions about loads.
    ///   - seed: of loads.
    init(_ design: FleetDesign, seed: UInt64) throws(FathomError) {
        random = SimulationRandom(seed: seed)
        layers = design.rules.placedLayers
        experts = design.model.configuration.routedExpertCount
        (deviation, drift) = (design.rules.loadDeviation, design.rules.loadDrift)
        let groups = max(1, design.model.configuration.expertGroupCount)
        shapes = [
            (design.prefill.ranks, design.prefill.redundantExperts),
            (design.decode.ranks, design.decode.redundantExperts),
        ].map { ranks, redundant in
            PlacementShape(
                replicaCount: design.model.configuration.routedExpertCount + redundant, groupCount: groups,
                nodeCount: max(1, ranks / design.hardware.gpusPerNode), rankCount: ranks)
        }
        imbalance = [1, 1]
        logarithms = []
        guard experts > 0 else { return }
        logarithms = (0..<layers * experts).map { _ in 0 }
        for index in logarithms.indices { logarithms[index] = deviation * normal() }
        try advance()
    }

    /// Places experts for the loads of the last window, and measures under those of the next.
    mutating func advance() throws(FathomError) {
        guard experts > 0 else { return }
        let seen = try loads()
        // A walk that keeps its spread.
        let keep = deviation > 0 ? (max(0, 1 - drift * drift / (deviation * deviation))).squareRoot() : 1
        for index in logarithms.indices { logarithms[index] = keep * logarithms[index] + drift * normal() }
        let next = try loads()
        for (index, shape) in shapes.enumerated() {
            let plan = try rebalanceExperts(seen, on: shape, options: .best)
            let quality = try plan.quality(under: next)
            var sum = 0.0
            for (largest, mean) in zip(quality.largestLoads, quality.meanLoads) { sum += largest / mean }
            imbalance[index] = sum / Double(quality.meanLoads.count)
        }
    }

    private func loads() throws(FathomError) -> ExpertLoads {
        try ExpertLoads(
            layerCount: layers, expertCount: experts, values: logarithms.map { Float(1000 * exponential($0)) })
    }

    /// The sum of twelve uniform numbers less six: near enough to normal.
    private mutating func normal() -> Double {
        var sum = -6.0
        for _ in 0..<12 { sum += Double(random.next() >> 11) * 0x1p-53 }
        return sum
    }
}
