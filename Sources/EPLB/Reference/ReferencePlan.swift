// SPDX-License-Identifier: MIT

/// The definition of the original's plan, for counts that divide, with scans where the planner has heaps.
///
/// - Returns: for each slot its logical expert, and which replica of it the slot holds.
package func referencePlan(_ loads: [Float], on shape: PlacementShape) -> [(expert: Int, replica: Int)] {
    let isHierarchical = shape.groupCount.isMultiple(of: shape.nodeCount)
    let groupCount = isHierarchical ? shape.groupCount : 1
    let nodeCount = isHierarchical ? shape.nodeCount : 1
    let groupSize = loads.count / groupCount

    // Groups to nodes; experts are numbered node by node then.
    let groupLoads = (0..<groupCount).map { group in
        loads[group * groupSize..<(group + 1) * groupSize].reduce(Float(0), +)
    }
    let nodes = referencePacking(groupLoads, packCount: nodeCount)
    return nodes.flatMap { groups in
        let experts = groups.flatMap { Array($0 * groupSize..<($0 + 1) * groupSize) }
        let replicas = referenceReplicas(experts.map { loads[$0] }, count: shape.replicaCount / nodeCount)
        let replicaLoads = replicas.map { replica in
            loads[experts[replica.expert]] / Float(replicas.count { $0.expert == replica.expert })
        }
        let ranks = referencePacking(replicaLoads, packCount: shape.rankCount / nodeCount)
        return ranks.joined().map { (experts[replicas[$0].expert], replicas[$0].replica) }
    }
}

/// The items of each pack: heaviest first to the lightest pack with room, ties by index; in order where a pack has room
/// for one only.
private func referencePacking(_ loads: [Float], packCount: Int) -> [[Int]] {
    let room = loads.count / packCount
    guard room > 1 else { return loads.indices.map { [$0] } }
    var packs = [[Int]](repeating: [], count: packCount)
    var sums = [Float](repeating: 0, count: packCount)
    for item in loads.indices.sorted(by: { (-loads[$0], $0) < (-loads[$1], $1) }) {
        let open = packs.indices.filter { packs[$0].count < room }
        let pack = open.reduce(open[0]) { sums[$1] < sums[$0] ? $1 : $0 }
        packs[pack].append(item)
        sums[pack] += loads[item]
    }
    return packs
}

/// Each expert once, then one more replica for the expert with the most load per replica, ties by index.
private func referenceReplicas(_ loads: [Float], count: Int) -> [(expert: Int, replica: Int)] {
    var counts = [Int](repeating: 1, count: loads.count)
    var replicas = loads.indices.map { (expert: $0, replica: 0) }
    while replicas.count < count {
        let shares = loads.indices.map { loads[$0] / Float(counts[$0]) }
        let expert = shares.indices.reduce(0) { shares[$1] > shares[$0] ? $1 : $0 }
        replicas.append((expert, counts[expert]))
        counts[expert] += 1
    }
    return replicas
}
