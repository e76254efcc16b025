// SPDX-License-Identifier: MIT

#if canImport(Glibc)
internal import Glibc
#elseif canImport(Musl)
internal import Musl
#endif

/// The definition of `ExpertRouting` for one token, in Double, from its logits. For tests.
///
/// - Parameters:
///   - logits: one per expert.
///   - bias: one per expert, or nil.
///   - given: experts that are taken instead of the best ones, −1 for none.
/// - Returns: experts and weights in the routing's order, without shared ones.
public func referenceGate(
    logits: [Double], bias: [Double]? = nil, given: [Int]? = nil, _ routing: ExpertRouting
) -> [(expert: Int, weight: Double)] {
    let peak = logits.max() ?? 0
    let powers = logits.map { exp($0 - peak) }
    let scores = logits.indices.map { expert in
        switch routing.scoring {
        case .identity: logits[expert]
        case .sigmoid: 1 / (1 + exp(-logits[expert]))
        case .sqrtSoftplus: (max(logits[expert], 0) + log1p(exp(-abs(logits[expert])))).squareRoot()
        case .softmax: powers[expert] / powers.reduce(0, +)
        }
    }
    let ranking = scores.indices.map { scores[$0] + (bias?[$0] ?? 0) }
    // Swift's sort is stable: of equals the lower index comes first.
    func best(_ count: Int, among indices: [Int], by value: (Int) -> Double) -> [Int] {
        Array(indices.sorted { value($0) > value($1) }.prefix(count))
    }
    var candidates = Array(scores.indices)
    if let groups = routing.groups {
        let size = scores.count / groups.count
        let kept = best(groups.kept, among: Array(0..<groups.count)) { group in
            let members = ranking[group * size..<(group + 1) * size].sorted(by: >)
            return members.prefix(groups.score == .largest ? 1 : 2).reduce(0, +)
        }
        candidates = candidates.filter { kept.contains($0 / size) }
    }
    var chosen = given ?? best(routing.expertsPerToken, among: candidates) { ranking[$0] }
    if given == nil, routing.order == .ascendingExpert { chosen.sort() }
    let sum = chosen.reduce(0) { $0 + ($1 < 0 ? 0 : scores[$1]) }
    let factor = Double(routing.scalingFactor) / (routing.normalizes ? sum + 1e-20 : 1)
    return chosen.map { ($0, $0 < 0 ? 0 : scores[$0] * factor) }
}
