// SPDX-License-Identifier: MIT

public import Platform

/// How good a placement is under some loads, of which an expert's replicas have equal parts.
public struct PlacementQuality: Sendable, Equatable, Codable {
    /// The load of the fullest rank of each layer, in the unit of the loads.
    public var largestLoads: [Double]
    /// The load of a rank on average, for each layer.
    public var meanLoads: [Double]
    /// Mean load of a rank divided by the largest, each added over the layers: 1 where no rank waits for another, in
    /// any layer; the fraction of time that ranks work.
    public var balancedness: Double
    /// The same of the worst layer.
    public var worstBalancedness: Double
    /// The worst layer.
    public var worstLayer: Int
    /// Pairs of layer and rank with two replicas or more of one expert.
    public var crowdedRankCount: Int
    /// The part of the load, 0…1, for whose expert a token finds a replica on its own node, where tokens come from
    /// all nodes alike.
    public var nodeLocality: Double
}

extension ExpertPlacement {
    /// The load of each rank: [layers, ranks].
    ///
    /// - Throws: `usage` where the loads are of other extents.
    public func rankLoads(under loads: ExpertLoads) throws(FathomError) -> [Double] {
        try check(loads)
        let counts = replicaCounts
        var result = [Double](repeating: 0, count: layerCount * shape.rankCount)
        for layer in 0..<layerCount {
            let base = layer * shape.replicaCount
            for rank in 0..<shape.rankCount {
                for slot in shape.slots(ofRank: rank) {
                    let expert = layer * expertCount + Int(physicalToLogical[base + slot])
                    result[layer * shape.rankCount + rank] += Double(loads.values[expert]) / Double(counts[expert])
                }
            }
        }
        return result
    }

    /// How good the placement is.
    ///
    /// - Throws: `usage` where the loads are of other extents.
    public func quality(under loads: ExpertLoads) throws(FathomError) -> PlacementQuality {
        let rankLoads = try rankLoads(under: loads)
        var quality = PlacementQuality(
            largestLoads: [], meanLoads: [], balancedness: 1, worstBalancedness: 1, worstLayer: 0,
            crowdedRankCount: 0, nodeLocality: 1)
        var total = 0.0
        var local = 0.0
        for layer in 0..<layerCount {
            let row = rankLoads[layer * shape.rankCount..<(layer + 1) * shape.rankCount]
            let largest = row.max() ?? 0
            let mean = row.reduce(0, +) / Double(shape.rankCount)
            quality.largestLoads.append(largest)
            quality.meanLoads.append(mean)
            if largest > 0, mean / largest < quality.worstBalancedness {
                quality.worstBalancedness = mean / largest
                quality.worstLayer = layer
            }
            total += loads.layer(layer).reduce(0) { $0 + Double($1) }
            local += localLoad(loads.layer(layer), layer)
            quality.crowdedRankCount += crowdedRankCount(inLayer: layer)
        }
        let largest = quality.largestLoads.reduce(0, +)
        if largest > 0 { quality.balancedness = quality.meanLoads.reduce(0, +) / largest }
        if total > 0 { quality.nodeLocality = local / total }
        return quality
    }

    func check(_ loads: ExpertLoads) throws(FathomError) {
        guard loads.layerCount == layerCount, loads.expertCount == expertCount else {
            throw FathomError(
                .usage,
                "weight: found \(loads.layerCount) layers of \(loads.expertCount) experts; legal are \(layerCount) of "
                    + "\(expertCount), as in the placement")
        }
    }

    /// The load that arises on nodes with a replica of its expert.
    private func localLoad(_ loads: ArraySlice<Float>, _ layer: Int) -> Double {
        var nodeCounts = [Int](repeating: 0, count: expertCount)
        var lastNodes = [Int](repeating: -1, count: expertCount)
        for node in 0..<shape.nodeCount {
            for expert in physicalToLogical[slots(shape.slots(ofNode: node), inLayer: layer)]
            where lastNodes[Int(expert)] != node {
                lastNodes[Int(expert)] = node
                nodeCounts[Int(expert)] += 1
            }
        }
        return zip(loads, nodeCounts).reduce(0) { $0 + Double($1.0) * Double($1.1) } / Double(shape.nodeCount)
    }

    private func crowdedRankCount(inLayer layer: Int) -> Int {
        (0..<shape.rankCount).count { rank in
            hasRepetition(physicalToLogical[slots(shape.slots(ofRank: rank), inLayer: layer)])
        }
    }

    /// Where a layer's slots are in the maps.
    func slots(_ slots: Range<Int>, inLayer layer: Int) -> Range<Int> {
        let base = layer * shape.replicaCount
        return base + slots.lowerBound..<base + slots.upperBound
    }
}

/// Whether an expert is there twice. A rank has few slots, so that looking is faster than a set.
func hasRepetition(_ experts: ArraySlice<Int32>) -> Bool {
    experts.indices.contains { index in experts[..<index].contains(experts[index]) }
}
