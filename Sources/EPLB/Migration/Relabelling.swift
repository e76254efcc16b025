// SPDX-License-Identifier: MIT

/// Renames the ranks of a layer's plan, and the nodes where the plan is hierarchical, so that many experts stay where
/// they are. Loads do not change: a rank keeps its experts, and only its number is another.
struct Relabelling {
    let shape: PlacementShape
    let policy: PlacementPolicy
    /// Experts of a layer.
    let expertCount: Int
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
        let holders = rankHolders()
        let ranks = 0..<shape.rankCount
        guard policy == .hierarchical else { return rankMatches(ranks, ranks, holders) }
        let nodes = 0..<shape.nodeCount
        return match(nodes, nodes, nodeOverlaps()) { target, source in
            let (a, b) = (shape.ranks(ofNode: target), shape.ranks(ofNode: source))
            return a.count == b.count && zip(a, b).allSatisfy { rankFits($0, $1) }
        }.flatMap { node in
            rankMatches(shape.ranks(ofNode: node.target), shape.ranks(ofNode: node.source), holders)
        }
    }

    /// Pairs ranks; `holders` are the ranks of each expert now.
    private func rankMatches(
        _ targets: Range<Int>, _ sources: Range<Int>, _ holders: [[Int]]
    ) -> [(target: Int, source: Int)] {
        var overlaps = [Int](repeating: 0, count: targets.count * sources.count)
        for source in sources {
            for expert in plan[slice(shape.slots(ofRank: source), plan)] {
                for target in holders[Int(expert)] where targets.contains(target) {
                    overlaps[(target - targets.lowerBound) * sources.count + source - sources.lowerBound] += 1
                }
            }
        }
        return match(targets, sources, overlaps, rankFits)
    }

    /// Pairs every target with a source that fits: those with most in common first, ties by number.
    ///
    /// - Parameter overlaps: what they have in common: [targets, sources].
    private func match(
        _ targets: Range<Int>, _ sources: Range<Int>, _ overlaps: [Int], _ fits: (Int, Int) -> Bool
    ) -> [(target: Int, source: Int)] {
        var takenTargets = [Bool](repeating: false, count: targets.count)
        var takenSources = [Bool](repeating: false, count: sources.count)
        var result: [(target: Int, source: Int)] = []
        func pair(_ target: Int, _ source: Int) {
            takenTargets[target] = true
            takenSources[source] = true
            result.append((targets.lowerBound + target, sources.lowerBound + source))
        }
        let keys = overlaps.indices.filter { overlaps[$0] > 0 }.map { UInt64(descending: Float(overlaps[$0]), $0) }
        for key in keys.sorted() {
            let (target, source) = key.keyIndex.quotientAndRemainder(dividingBy: sources.count)
            guard !takenTargets[target], !takenSources[source] else { continue }
            if fits(targets.lowerBound + target, sources.lowerBound + source) { pair(target, source) }
        }
        for target in takenTargets.indices where !takenTargets[target] {
            let source = takenSources.indices.first { source in
                !takenSources[source] && fits(targets.lowerBound + target, sources.lowerBound + source)
            }
            guard let source else { preconditionFailure("what fits comes in pairs") }
            pair(target, source)
        }
        return result
    }

    private func rankFits(_ target: Int, _ source: Int) -> Bool {
        shape.slots(ofRank: target).count == shape.slots(ofRank: source).count
    }

    /// The ranks that hold each expert now, each once.
    private func rankHolders() -> [[Int]] {
        var holders = [[Int]](repeating: [], count: expertCount)
        for rank in 0..<shape.rankCount {
            for expert in previous[slice(shape.slots(ofRank: rank), previous)]
            where holders[Int(expert)].last != rank {
                holders[Int(expert)].append(rank)
            }
        }
        return holders
    }

    /// Replicas of the plan's nodes whose experts are on a node now: [nodes, nodes].
    private func nodeOverlaps() -> [Int] {
        var overlaps: [Int] = []
        for target in 0..<shape.nodeCount {
            var isHere = [Bool](repeating: false, count: expertCount)
            for expert in previous[slice(shape.slots(ofNode: target), previous)] { isHere[Int(expert)] = true }
            for source in 0..<shape.nodeCount {
                overlaps.append(plan[slice(shape.slots(ofNode: source), plan)].count { isHere[Int($0)] })
            }
        }
        return overlaps
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
