// SPDX-License-Identifier: MIT

/// Renames the ranks of a layer's plan, and the nodes where the plan is hierarchical, so that many experts stay where
/// they are. Loads do not change: a rank keeps its experts, and only its number is another.
struct Relabelling {
    let shape: PlacementShape
    let policy: PlacementPolicy
    /// The experts in the slots now.
    let previous: ArraySlice<Int32>
    /// The experts in the slots of the plan.
    let plan: ArraySlice<Int32>

    /// The experts in the slots of the renamed plan; those that stay on a rank stay in their slots.
    func experts() -> [Int32] {
        var result = [Int32](repeating: 0, count: plan.count)
        for (target, source) in rankMatches() { fill(&result, target, from: source) }
        return result
    }

    /// For each rank the rank of the plan that takes its place.
    private func rankMatches() -> [(target: Int, source: Int)] {
        guard policy == .hierarchical else {
            return match(Array(0..<shape.rankCount), Array(0..<shape.rankCount), score: rankScore, rankFits)
        }
        let nodes = Array(0..<shape.nodeCount)
        let nodeMatches = match(nodes, nodes, score: nodeScore) { target, source in
            let (a, b) = (shape.ranks(ofNode: target), shape.ranks(ofNode: source))
            return a.count == b.count && zip(a, b).allSatisfy { rankFits($0, $1) }
        }
        return nodeMatches.flatMap { node in
            match(
                Array(shape.ranks(ofNode: node.target)), Array(shape.ranks(ofNode: node.source)), score: rankScore,
                rankFits)
        }
    }

    /// Pairs every target with a source that fits: the best pairs first, ties by number.
    private func match(
        _ targets: [Int], _ sources: [Int], score: (Int, Int) -> Int, _ fits: (Int, Int) -> Bool
    ) -> [(target: Int, source: Int)] {
        var pairs: [(score: Int, target: Int, source: Int)] = []
        for target in targets {
            for source in sources where fits(target, source) {
                let score = score(target, source)
                if score > 0 { pairs.append((score, target, source)) }
            }
        }
        pairs.sort { ($1.score, $0.target, $0.source) < ($0.score, $1.target, $1.source) }
        var freeTargets = Set(targets)
        var freeSources = Set(sources)
        var result: [(target: Int, source: Int)] = []
        for pair in pairs where freeTargets.contains(pair.target) && freeSources.contains(pair.source) {
            freeTargets.remove(pair.target)
            freeSources.remove(pair.source)
            result.append((pair.target, pair.source))
        }
        for target in targets where freeTargets.contains(target) {
            guard let source = sources.first(where: { freeSources.contains($0) && fits(target, $0) }) else {
                preconditionFailure("what fits comes in pairs")
            }
            freeSources.remove(source)
            result.append((target, source))
        }
        return result
    }

    private func rankFits(_ target: Int, _ source: Int) -> Bool {
        shape.slots(ofRank: target).count == shape.slots(ofRank: source).count
    }

    /// Experts that stay on the rank.
    private func rankScore(_ target: Int, _ source: Int) -> Int {
        common(shape.slots(ofRank: target), shape.slots(ofRank: source))
    }

    /// Experts that stay on the node.
    private func nodeScore(_ target: Int, _ source: Int) -> Int {
        common(shape.slots(ofNode: target), shape.slots(ofNode: source))
    }

    private func common(_ target: Range<Int>, _ source: Range<Int>) -> Int {
        let before = previous[slice(target, previous)]
        return plan[slice(source, plan)].reduce(0) { $0 + (before.contains($1) ? 1 : 0) }
    }

    private func slice(_ slots: Range<Int>, _ values: ArraySlice<Int32>) -> Range<Int> {
        values.startIndex + slots.lowerBound..<values.startIndex + slots.upperBound
    }

    private func fill(_ result: inout [Int32], _ target: Int, from source: Int) {
        var rest = Array(plan[slice(shape.slots(ofRank: source), plan)])
        var open: [Int] = []
        for slot in shape.slots(ofRank: target) {
            let expert = previous[previous.startIndex + slot]
            if let index = rest.firstIndex(of: expert) {
                rest.remove(at: index)
                result[slot] = expert
            } else {
                open.append(slot)
            }
        }
        for (slot, expert) in zip(open, rest) { result[slot] = expert }
    }
}
