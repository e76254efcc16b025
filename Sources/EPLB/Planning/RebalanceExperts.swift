// SPDX-License-Identifier: MIT

public import Platform
internal import Telemetry

/// Decides which experts get replicas and where every replica goes, so that the fullest rank has little to do.
///
/// With the default options the result is that of the original's `rebalance_experts`, slot for slot, ties included.
///
/// - Throws: `usage` for an impossible shape, or where `options` ask for what is impossible.
public func rebalanceExperts(
    _ loads: ExpertLoads, on shape: PlacementShape, options: RebalanceOptions = .init()
) throws(FathomError) -> ExpertPlacement {
    let span = Spans.begin()
    defer { Spans.end(span, .plan, loads.layerCount, loads.expertCount, shape.replicaCount) }
    try shape.validate(expertCount: loads.expertCount)
    let policy = try options.policy.resolved(for: shape, expertCount: loads.expertCount)
    var planner = try Planner(shape: shape, expertCount: loads.expertCount, policy: policy, options: options)
    for layer in 0..<loads.layerCount { planner.plan(loads.layer(layer)) }
    return ExpertPlacement(
        layerCount: loads.layerCount, expertCount: loads.expertCount, shape: shape, policy: policy,
        physicalToLogical: planner.physicalToLogical, replicaIndices: planner.replicaIndices)
}
