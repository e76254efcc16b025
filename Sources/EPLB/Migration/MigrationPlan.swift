// SPDX-License-Identifier: MIT

public import Platform

/// A placement that was made for new loads out of the one in force.
public struct MigrationPlan: Sendable, Equatable {
    public var placement: ExpertPlacement
    /// What moves.
    public var cost: MigrationCost
    /// How good the placement is under the new loads.
    public var quality: PlacementQuality
    /// How good the placement in force would be.
    public var previousQuality: PlacementQuality
    /// How good a plan made from nothing would be, and what it would move.
    public var freshQuality: PlacementQuality
    public var freshCost: MigrationCost
}

/// Decides how the placement in force is changed for new loads, so that few weights move.
///
/// For each layer, in this order: nothing, where the fullest rank is within the slack of a plan made from nothing;
/// otherwise the cheaper of two ways to come within the slack, single steps from the placement in force or the new
/// plan with its ranks renamed. Where neither does within the bytes that may move, the one with the smallest load.
///
/// - Throws: `usage` for an impossible shape, options or terms, or where loads and placement differ in extents.
public func rebalanceExperts(
    _ loads: ExpertLoads, from previous: ExpertPlacement, groupCount: Int = 1, terms: MigrationTerms = .init(),
    options: RebalanceOptions = .init()
) throws(FathomError) -> MigrationPlan {
    try terms.validate()
    var shape = previous.shape
    shape.groupCount = groupCount
    let fresh = try rebalanceExperts(loads, on: shape, options: options)
    let previousQuality = try previous.quality(under: loads)
    let freshQuality = try fresh.quality(under: loads)
    let excess = zip(previousQuality.largestLoads, freshQuality.largestLoads).map { $0 - $1 }
    var left = terms.maximumBytes.map { $0 / terms.bytesPerExpert } ?? .max
    var rows = (0..<loads.layerCount).map { Array(previous.experts(inLayer: $0)) }
    for layer in rows.indices.sorted(by: { (-excess[$0], $0) < (-excess[$1], $1) }) {
        let choice = LayerChoice(
            shape: shape, policy: fresh.policy, separates: options.separatesReplicas, loads: loads.layer(layer),
            previous: rows[layer], fresh: fresh.experts(inLayer: layer),
            bound: freshQuality.largestLoads[layer] * (1 + terms.slack), copyLimit: left)
        let chosen = choice.best()
        left -= chosen.copies
        rows[layer] = chosen.experts
    }
    let placement = try ExpertPlacement(
        expertCount: loads.expertCount, shape: shape, policy: fresh.policy,
        physicalToLogical: rows.map { $0.map { Int($0) } })
    return MigrationPlan(
        placement: placement, cost: try placement.migration(from: previous, bytesPerExpert: terms.bytesPerExpert),
        quality: try placement.quality(under: loads), previousQuality: previousQuality, freshQuality: freshQuality,
        freshCost: try fresh.migration(from: previous, bytesPerExpert: terms.bytesPerExpert))
}

/// The ways for one layer.
private struct LayerChoice {
    var shape: PlacementShape
    var policy: PlacementPolicy
    var separates: Bool
    var loads: ArraySlice<Float>
    /// The experts in the slots now.
    var previous: [Int32]
    /// Those of a plan made from nothing.
    var fresh: ArraySlice<Int32>
    /// The load that is good enough.
    var bound: Double
    var copyLimit: Int

    struct Candidate {
        var experts: [Int32]
        var copies: Int
        var largestLoad: Double
    }

    func best() -> Candidate {
        var steps = LayerMigration(shape: shape, policy: policy, loads: loads, experts: previous[...])
        let kept = Candidate(experts: previous, copies: 0, largestLoad: steps.largestLoad)
        var candidates: [Candidate] = []
        if isLegal(previous) {
            candidates.append(kept)
            // Sums in another order round differently.
            if kept.largestLoad <= bound * (1 + 1e-12) { return kept }
            steps.lower(to: bound, copyLimit: copyLimit)
            candidates.append(
                Candidate(experts: steps.experts, copies: steps.copies, largestLoad: steps.largestLoad))
        }
        let renamed = Relabelling(
            shape: shape, policy: policy, expertCount: loads.count, previous: previous[...], plan: fresh
        ).experts()
        let state = LayerMigration(shape: shape, policy: policy, loads: loads, experts: renamed[...])
        candidates.append(
            Candidate(
                experts: renamed, copies: LayerMigration.copies(from: previous, to: renamed, shape),
                largestLoad: state.largestLoad))
        candidates.removeAll { $0.copies > copyLimit }
        let good = candidates.filter { $0.largestLoad <= bound * (1 + 1e-12) }
        if let cheapest = good.min(by: { ($0.copies, $0.largestLoad) < ($1.copies, $1.largestLoad) }) {
            return cheapest
        }
        return candidates.min { ($0.largestLoad, $0.copies) < ($1.largestLoad, $1.copies) } ?? kept
    }

    /// Whether the experts lie as the options ask: replicas apart, groups on one node.
    private func isLegal(_ experts: [Int32]) -> Bool {
        if separates {
            for rank in 0..<shape.rankCount {
                if hasRepetition(experts[shape.slots(ofRank: rank)]) { return false }
            }
        }
        guard policy == .hierarchical else { return true }
        var nodeOfGroup = [Int](repeating: -1, count: shape.groupCount)
        for node in 0..<shape.nodeCount {
            for expert in experts[shape.slots(ofNode: node)] {
                let group = shareIndex(of: Int(expert), shares: shape.groupCount, total: loads.count)
                if nodeOfGroup[group] >= 0, nodeOfGroup[group] != node { return false }
                nodeOfGroup[group] = node
            }
        }
        return true
    }
}
