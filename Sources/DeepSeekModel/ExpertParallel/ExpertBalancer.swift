// SPDX-License-Identifier: MIT

public import EPLB
public import Platform

/// Decides when experts change their places, and where they go: EPLB on the loads of the last steps.
///
/// Loads are counted over windows of steps. At the end of each, if the ranks' balance under the mean of the last
/// windows is below a bound and a new plan is better, the plan takes effect with the next step. A value: the same
/// counts give the same decisions.
public struct ExpertBalancer: Sendable {
    /// When to plan and what a plan may cost.
    public struct Terms: Sendable {
        /// Steps of a window.
        public var windowSteps = 64
        /// Windows whose mean is expected next.
        public var windowCount = 4
        /// Balance (see `PlacementQuality.balancedness`) below which a plan is made.
        public var bound = 0.9
        /// By how much a plan must be better to be worth the change.
        public var gain = 0.02
        /// Slots beyond one for each expert; nil for one more on each rank.
        public var redundantExperts: Int?

        public init() {}
    }

    /// Indices in the model of the layers with experts.
    public let layers: [Int]
    public let expertCount: Int
    public let terms: Terms
    /// Ranks that take part.
    public private(set) var rankCount: Int
    /// Where the experts are.
    public private(set) var placement: ExpertPlacement
    /// Balance of the placement in force under the last loads; 1 before the first window has ended.
    public private(set) var balancedness = 1.0
    /// Work of each rank in the last window, in tokens times experts.
    public private(set) var rankLoads: [Double]
    public private(set) var rebalanceCount = 0
    /// Bytes of weights that ranks had not used before, of all changes together.
    public private(set) var movedBytes = 0

    private let bytesPerExpert: Int
    private var window: LoadWindow
    private var steps = 0
    /// The counts at the end of the last window.
    private var counted: [UInt64]

    /// - Throws: `usage` for terms that cannot be kept.
    public init(
        layers: [Int], expertCount: Int, bytesPerExpert: Int, rankCount: Int, terms: Terms = Terms()
    ) throws(FathomError) {
        guard terms.windowSteps > 0 else {
            throw FathomError(.usage, "a window of \(terms.windowSteps) steps; legal is 1 or more")
        }
        self.layers = layers
        self.expertCount = expertCount
        self.terms = terms
        self.rankCount = rankCount
        self.bytesPerExpert = max(bytesPerExpert, 1)
        placement = try Self.start(layers.count, expertCount, rankCount, terms)
        rankLoads = Array(repeating: 0, count: rankCount)
        window = try LoadWindow(capacity: terms.windowCount)
        counted = Array(repeating: 0, count: layers.count * expertCount)
    }

    /// Experts in order, again from the first where there are more slots.
    private static func start(
        _ layerCount: Int, _ expertCount: Int, _ rankCount: Int, _ terms: Terms
    ) throws(FathomError) -> ExpertPlacement {
        let redundant = rankCount == 1 ? 0 : terms.redundantExperts ?? rankCount
        return try .identity(
            layerCount: layerCount, expertCount: expertCount,
            shape: PlacementShape(replicaCount: expertCount + redundant, rankCount: rankCount))
    }

    /// Goes on with another number of ranks, experts in order.
    public mutating func change(rankCount: Int) throws(FathomError) {
        placement = try Self.start(layers.count, expertCount, rankCount, terms)
        self.rankCount = rankCount
        rankLoads = Array(repeating: 0, count: rankCount)
        balancedness = 1
        steps = 0
        // What lost ranks had counted is gone: the next window's counts are the new beginning.
        counted = []
    }

    /// Whether the next step is the last of a window, whose counts are asked for.
    package var endsWindow: Bool { steps + 1 >= terms.windowSteps && rankCount > 1 && !layers.isEmpty }

    /// Takes a step in.
    ///
    /// - Parameter counts: tokens that chose each expert of each layer since the start [layers, experts]; asked for at
    ///   the end of a window only.
    /// - Returns: whether the placement has changed.
    public mutating func finishStep(_ counts: () -> [UInt64]) throws(FathomError) -> Bool {
        steps += 1
        guard steps >= terms.windowSteps, rankCount > 1, !layers.isEmpty else { return false }
        steps = 0
        let now = counts()
        precondition(now.count == layers.count * expertCount, "counts are [layers, experts]")
        guard !counted.isEmpty else {
            counted = now
            return false
        }
        let loads = try ExpertLoads(
            layerCount: layers.count, expertCount: expertCount,
            values: zip(now, counted).map { Float($0 - $1) })
        counted = now
        let byLayer = try placement.rankLoads(under: loads)
        rankLoads = (0..<rankCount).map { rank in
            stride(from: rank, to: byLayer.count, by: rankCount).reduce(0) { $0 + byLayer[$1] }
        }
        try window.observe(loads)
        let expected = try window.predicted()
        balancedness = try placement.quality(under: expected).balancedness
        guard balancedness < terms.bound else { return false }
        let plan = try rebalanceExperts(
            expected, from: placement, terms: MigrationTerms(bytesPerExpert: bytesPerExpert),
            options: RebalanceOptions(separatesReplicas: true, swapLimit: 1024))
        guard plan.quality.balancedness >= balancedness + terms.gain else { return false }
        placement = plan.placement
        balancedness = plan.quality.balancedness
        rebalanceCount += 1
        movedBytes += plan.cost.bytes
        return true
    }
}
