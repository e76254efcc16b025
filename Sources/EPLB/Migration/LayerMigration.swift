// SPDX-License-Identifier: MIT

/// A layer's slots while they are changed step by step, away from a placement in force.
///
/// A step takes load off the fullest rank: it exchanges one of its replicas for one of another rank, or gives one of
/// its experts a further replica in a slot whose expert has others. Under the hierarchical policy both ranks are on
/// one node.
struct LayerMigration {
    /// A step must lower the load by more than this fraction: less is rounding.
    private static let leastGain = 1e-6
    /// Steps for each slot at most.
    private static let stepsPerSlot = 2

    private let shape: PlacementShape
    private let policy: PlacementPolicy
    private let loads: [Double]
    private let previous: [Int32]
    private let rankOfSlot: [Int]
    private let slotsOfRank: [Range<Int>]
    /// The experts in the slots.
    private(set) var experts: [Int32]
    private var counts: [Int]
    private var sums: [Double] = []

    init(shape: PlacementShape, policy: PlacementPolicy, loads: ArraySlice<Float>, experts: ArraySlice<Int32>) {
        self.shape = shape
        self.policy = policy
        self.loads = loads.map { Double($0) }
        previous = Array(experts)
        self.experts = previous
        slotsOfRank = (0..<shape.rankCount).map { shape.slots(ofRank: $0) }
        rankOfSlot = experts.indices.map { shape.rank(ofSlot: $0 - experts.startIndex) }
        counts = [Int](repeating: 0, count: loads.count)
        for expert in experts { counts[Int(expert)] += 1 }
        sums = (0..<shape.rankCount).map { sum(ofRank: $0) }
    }

    /// The load of the fullest rank.
    var largestLoad: Double { sums.max() ?? 0 }

    /// Experts that ranks have to receive.
    var copies: Int { Self.copies(from: previous, to: experts, shape) }

    static func copies(from previous: [Int32], to experts: [Int32], _ shape: PlacementShape) -> Int {
        (0..<shape.rankCount).reduce(0) { total, rank in
            let slots = shape.slots(ofRank: rank)
            return total
                + slots.count { slot in
                    !previous[slots].contains(experts[slot])
                        && !experts[slots.lowerBound..<slot].contains(experts[slot])
                }
        }
    }

    /// Takes steps until the fullest rank has at most `bound` to do, no step helps, or `limit` experts were copied.
    mutating func lower(to bound: Double, copyLimit limit: Int) {
        for _ in 0..<Self.stepsPerSlot * experts.count {
            guard largestLoad > bound else { return }
            let left = limit - copies
            guard let step = bestStep(copyLimit: left) else { return }
            apply(step)
        }
    }

    // MARK: Steps

    private enum Step {
        case exchange(Int, Int)
        case replicate(Int32, slot: Int)
    }

    private mutating func apply(_ step: Step) {
        switch step {
        case .exchange(let a, let b):
            experts.swapAt(a, b)
            for slot in [a, b] { sums[rankOfSlot[slot]] = sum(ofRank: rankOfSlot[slot]) }
        case .replicate(let expert, let slot):
            counts[Int(expert)] += 1
            counts[Int(experts[slot])] -= 1
            experts[slot] = expert
            for rank in sums.indices { sums[rank] = sum(ofRank: rank) }
        }
    }

    private func sum(ofRank rank: Int) -> Double {
        slotsOfRank[rank].reduce(0) { $0 + loads[Int(experts[$1])] / Double(counts[Int(experts[$1])]) }
    }

    private func share(_ expert: Int32) -> Double { loads[Int(expert)] / Double(counts[Int(expert)]) }

    /// The step that takes most off the fullest rank for a copy. A step without copies counts as half a copy.
    private func bestStep(copyLimit: Int) -> Step? {
        let fullest = sums.indices.reduce(0) { sums[$1] > sums[$0] ? $1 : $0 }
        let ranks = policy == .global ? 0..<shape.rankCount : shape.ranks(ofNode: shape.node(ofRank: fullest))
        var best: (score: Double, step: Step)?
        func offer(_ value: Double, copies: Int, _ step: Step) {
            let score = (sums[fullest] - value) / max(Double(copies), 0.5)
            if copies <= copyLimit, score > best?.score ?? 0 { best = (score, step) }
        }
        let bound = sums[fullest] * (1 - Self.leastGain)
        for given in slotsOfRank[fullest] {
            for rank in ranks where rank != fullest && !holds(rank, experts[given], in: experts) {
                let here = holds(rank, experts[given], in: previous) ? 0 : 1
                for taken in slotsOfRank[rank] {
                    if let value = loadAfterReplicating(experts[given], slot: taken, fullest, bound) {
                        offer(value, copies: here, .replicate(experts[given], slot: taken))
                    }
                    let gain = share(experts[given]) - share(experts[taken])
                    let value = max(sums[fullest] - gain, sums[rank] + gain)
                    guard value < bound, !holds(fullest, experts[taken], in: experts) else { continue }
                    let there = holds(fullest, experts[taken], in: previous) ? 0 : 1
                    offer(value, copies: here + there, .exchange(given, taken))
                }
            }
        }
        return best?.step
    }

    private func holds(_ rank: Int, _ expert: Int32, in experts: [Int32]) -> Bool {
        for slot in slotsOfRank[rank] where experts[slot] == expert { return true }
        return false
    }

    /// The largest load of the ranks that a further replica of `expert` in `slot` makes fuller, and of the fullest;
    /// nil where it is not below `bound`, or the slot's expert has no other replica.
    private func loadAfterReplicating(_ expert: Int32, slot: Int, _ fullest: Int, _ bound: Double) -> Double? {
        let dropped = experts[slot]
        guard counts[Int(dropped)] > 1 else { return nil }
        let newShare = loads[Int(expert)] / Double(counts[Int(expert)] + 1)
        let droppedShare = loads[Int(dropped)] / Double(counts[Int(dropped)] - 1)
        guard sums[rankOfSlot[slot]] - share(dropped) + newShare < bound else { return nil }
        var value = 0.0
        var isLower = true
        func look(_ rank: Int) {
            var sum = 0.0
            for other in slotsOfRank[rank] {
                let held = other == slot ? expert : experts[other]
                sum += held == expert ? newShare : held == dropped ? droppedShare : share(held)
            }
            value = max(value, sum)
            if sum >= bound { isLower = false }
        }
        look(fullest)
        look(rankOfSlot[slot])
        for other in experts.indices where isLower && experts[other] == dropped { look(rankOfSlot[other]) }
        return isLower ? value : nil
    }
}
