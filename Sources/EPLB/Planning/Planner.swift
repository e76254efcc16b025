// SPDX-License-Identifier: MIT

internal import Platform

/// Plans layer after layer with memory that is used again.
struct Planner {
    private let shape: PlacementShape
    private let expertCount: Int
    private let policy: PlacementPolicy
    private let options: RebalanceOptions
    private(set) var physicalToLogical: [Int32] = []
    private(set) var replicaIndices: [Int32] = []

    private var grouping = BalancedPacking()
    private var replication = Replication()
    private var packing = BalancedPacking()
    private var separation = SeparatedPacking()
    private var refinement = SwapRefinement()
    private let spread: NodeSpread?
    private var packs: [Int32] = []
    private var places: [Int32] = []

    /// - Parameter policy: `hierarchical` or `global`.
    init(
        shape: PlacementShape, expertCount: Int, policy: PlacementPolicy, options: RebalanceOptions
    ) throws(FathomError) {
        self.shape = shape
        self.expertCount = expertCount
        self.policy = policy
        self.options = options
        spread = options.spreadsOverNodes && policy == .global && shape.nodeCount > 1 ? NodeSpread(shape) : nil
        guard options.separatesReplicas else { return }
        let smallestGroup = expertCount / shape.groupCount
        for node in 0..<(policy == .global ? 1 : shape.nodeCount) {
            let ranks = policy == .global ? 0..<shape.rankCount : shape.ranks(ofNode: node)
            let slots = ranks.reduce(0) { $0 + shape.slots(ofRank: $1).count }
            let experts =
                policy == .global
                ? expertCount : smallestGroup * share(node, of: shape.nodeCount, total: shape.groupCount).count
            guard slots <= experts * ranks.count else {
                let place = policy == .global ? "\(ranks.count) gpus" : "the \(ranks.count) gpus of node \(node)"
                throw FathomError(
                    .usage,
                    "replicas: found \(shape.replicaCount); \(experts) experts on \(place) can fill \(slots) slots "
                        + "only with two replicas of one on a gpu; legal are at most "
                        + "\(experts * ranks.count) slots there, or replicas that need not be apart")
            }
        }
    }

    /// Plans one more layer.
    mutating func plan(_ loads: ArraySlice<Float>) {
        let base = physicalToLogical.count
        physicalToLogical.append(contentsOf: repeatElement(-1, count: shape.replicaCount))
        replicaIndices.append(contentsOf: repeatElement(0, count: shape.replicaCount))
        guard policy == .hierarchical, shape.nodeCount > 1 || shape.groupCount > 1 else {
            plan(Array(loads), experts: nil, ranks: 0..<shape.rankCount, base: base)
            if let spread { reorder(spread.order(physicalToLogical[base...], loads: loads), base: base) }
            return
        }
        for (node, experts) in expertsOfNodes(loads).enumerated() {
            let first = loads.startIndex
            plan(
                experts.map { loads[first + Int($0)] }, experts: experts, ranks: shape.ranks(ofNode: node), base: base)
        }
    }

    /// The experts of each node, group by group in the order in which the groups were dealt.
    private mutating func expertsOfNodes(_ loads: ArraySlice<Float>) -> [[Int32]] {
        let first = loads.startIndex
        let groupLoads = (0..<shape.groupCount).map { group in
            share(group, of: shape.groupCount, total: expertCount).reduce(Float(0)) { $0 + loads[first + $1] }
        }
        let room = (0..<shape.nodeCount).map { share($0, of: shape.nodeCount, total: shape.groupCount).count }
        // 1 for every node where nodes are equal, so that sums are compared unrounded.
        let largest = Float(shape.ranks(ofNode: 0).count)
        let strengths = (0..<shape.nodeCount).map { Float(shape.ranks(ofNode: $0).count) / largest }
        grouping.pack(groupLoads, room: room, strengths: strengths)
        var groups = room.map { [Int](repeating: 0, count: $0) }
        for group in 0..<shape.groupCount {
            groups[Int(grouping.packs[group])][Int(grouping.places[group])] = group
        }
        return groups.map { groups in
            groups.flatMap { share($0, of: shape.groupCount, total: expertCount).map { Int32($0) } }
        }
    }

    /// Fills the slots of `ranks` with the replicas of `experts` (nil: all), whose loads are `loads`.
    private mutating func plan(_ loads: [Float], experts: [Int32]?, ranks: Range<Int>, base: Int) {
        let room = ranks.map { shape.slots(ofRank: $0).count }
        let limit = options.separatesReplicas ? room.count { $0 > 0 } : Int(Int32.max)
        replication.replicate(loads, count: room.reduce(0, +), limit: limit)
        if options.separatesReplicas {
            separation.pack(replication.loads, experts: replication.experts, room: room)
            (packs, places) = (separation.packs, separation.places)
        } else {
            packing.pack(replication.loads, room: room)
            (packs, places) = (packing.packs, packing.places)
        }
        if options.swapLimit > 0 {
            refinement.refine(
                packs: &packs, places: &places, loads: replication.loads, experts: replication.experts, room: room,
                limit: options.swapLimit, separates: options.separatesReplicas)
        }
        for replica in replication.experts.indices {
            let slot = shape.slots(ofRank: ranks.lowerBound + Int(packs[replica])).lowerBound
            let index = base + slot + Int(places[replica])
            let expert = replication.experts[replica]
            physicalToLogical[index] = experts?[Int(expert)] ?? expert
            replicaIndices[index] = replication.indices[replica]
        }
    }

    /// Moves whole ranks of the last layer: the rank at each place becomes `order`'s.
    private mutating func reorder(_ order: [Int], base: Int) {
        let experts = Array(physicalToLogical[base...])
        let indices = Array(replicaIndices[base...])
        for (place, rank) in order.enumerated() {
            for (to, from) in zip(shape.slots(ofRank: place), shape.slots(ofRank: rank)) {
                physicalToLogical[base + to] = experts[from]
                replicaIndices[base + to] = indices[from]
            }
        }
    }
}
