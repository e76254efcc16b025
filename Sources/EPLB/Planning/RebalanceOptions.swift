// SPDX-License-Identifier: MIT

/// What a plan is held to beyond the original's.
public struct RebalanceOptions: Sendable, Equatable {
    /// Where replicas may go.
    public var policy: PlacementPolicy
    /// No rank gets two replicas of one expert.
    public var separatesReplicas: Bool
    /// Pairs of replicas exchanged per layer (and node, if hierarchical) at most, after packing, each of which lowers
    /// the load of the fullest rank; 0 leaves the packing as it is.
    public var swapLimit: Int
    /// Under the global policy, whole ranks are dealt to nodes so that replicas of an expert are on different nodes;
    /// the ranks' loads stay the same.
    public var spreadsOverNodes: Bool

    /// - Parameters: as the properties; the defaults are the original's plan, slot for slot.
    public init(
        policy: PlacementPolicy = .automatic, separatesReplicas: Bool = false, swapLimit: Int = 0,
        spreadsOverNodes: Bool = false
    ) {
        self.policy = policy
        self.separatesReplicas = separatesReplicas
        self.swapLimit = swapLimit
        self.spreadsOverNodes = spreadsOverNodes
    }

    /// The best placement that is made here: replicas apart and spread, and up to 1024 exchanges.
    public static let best = RebalanceOptions(separatesReplicas: true, swapLimit: 1024, spreadsOverNodes: true)
}
