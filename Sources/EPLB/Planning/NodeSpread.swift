// SPDX-License-Identifier: MIT

/// Deals the ranks of a global plan to nodes so that the replicas of an expert are on different nodes.
///
/// What a rank has to do stays the same, whatever node it is on; how many tokens find their expert on their own node
/// does not.
struct NodeSpread {
    private let shape: PlacementShape
    /// The node of each rank.
    private let nodes: [Int]
    private let room: [Int]

    init(_ shape: PlacementShape) {
        self.shape = shape
        nodes = (0..<shape.rankCount).map { shape.node(ofRank: $0) }
        room = (0..<shape.rankCount).map { shape.slots(ofRank: $0).count }
    }

    /// For each place of a rank, the rank of the plan that goes there, one with as many slots.
    ///
    /// - Parameters:
    ///   - experts: of the layer's slots.
    ///   - loads: of the layer's experts.
    func order(_ experts: ArraySlice<Int32>, loads: ArraySlice<Float>) -> [Int] {
        let base = experts.startIndex
        var counts = [Int](repeating: 0, count: loads.count)
        for expert in experts { counts[Int(expert)] += 1 }
        // Only experts with several replicas can meet themselves on a node.
        let replicated = (0..<shape.rankCount).map { rank in
            shape.slots(ofRank: rank).map { Int(experts[base + $0]) }.filter { counts[$0] > 1 }
        }
        let importance = replicated.map { experts in
            experts.reduce(Float(0)) { $0 + loads[loads.startIndex + $1] }
        }
        var present = [[Bool]](repeating: [], count: shape.nodeCount)
        for node in present.indices { present[node] = [Bool](repeating: false, count: loads.count) }
        var places = [Int](repeating: -1, count: shape.rankCount)
        for key in (0..<shape.rankCount).map({ UInt64(descending: importance[$0], $0) }).sorted() {
            let rank = key.keyIndex
            var best: (loss: Float, place: Int)?
            for node in 0..<shape.nodeCount {
                let free = shape.ranks(ofNode: node).first { places[$0] < 0 && room[$0] == room[rank] }
                guard let free else { continue }
                let loss = replicated[rank].reduce(Float(0)) { sum, expert in
                    present[node][expert] ? sum + loads[loads.startIndex + expert] : sum
                }
                if loss < best?.loss ?? .infinity { best = (loss, free) }
            }
            let place = best?.place ?? rank
            places[place] = rank
            for expert in replicated[rank] { present[nodes[place]][expert] = true }
        }
        return places
    }
}
