// SPDX-License-Identifier: MIT

internal import EPLB
package import Platform

/// Which ranks compute which experts of one layer: every expert at least one, with replicas several.
///
/// The rank that a token uses depends on where the token is, so that replicas share an expert's load. No choice changes
/// a bit of a result: every replica multiplies with the same weights.
package struct LayerPlacement: Sendable, Equatable {
    /// For each expert the ranks that hold it, in the order of their slots.
    package let ranks: [[Int]]

    /// Experts in ascending order, spread as evenly as their number allows; the first ranks have one more.
    package init(expertCount: Int, ranks: [Int]) {
        precondition(!ranks.isEmpty && expertCount > 0)
        let (share, rest) = expertCount.quotientAndRemainder(dividingBy: ranks.count)
        self.ranks = ranks.enumerated().flatMap { index, rank in
            Array(repeating: [rank], count: share + (index < rest ? 1 : 0))
        }
    }

    /// From a map of slots, as EPLB makes it; slots lie on ranks as in `PlacementShape`.
    ///
    /// - Parameters:
    ///   - experts: the expert of each slot.
    ///   - ranks: the ranks in the order of their slots.
    /// - Throws: `badData` for a slot with no such expert or an expert without a slot.
    package init(experts: [Int], expertCount: Int, ranks: [Int]) throws(FathomError) {
        precondition(!ranks.isEmpty)
        let shape = PlacementShape(replicaCount: experts.count, rankCount: ranks.count)
        var holders = [[Int]](repeating: [], count: expertCount)
        for (slot, expert) in experts.enumerated() {
            guard holders.indices.contains(expert) else {
                throw FathomError(
                    .badData, "slot \(slot) holds expert \(expert); the layer has experts 0 to \(expertCount - 1)")
            }
            let rank = ranks[shape.rank(ofSlot: slot)]
            if !holders[expert].contains(rank) { holders[expert].append(rank) }
        }
        if let missing = holders.firstIndex(where: \.isEmpty) {
            throw FathomError(.badData, "expert \(missing) has no slot; every expert needs one")
        }
        self.ranks = holders
    }

    /// The rank that computes `expert` for token `token` of rank `source`: its own if it can, else replicas in turn.
    package func rank(of expert: Int, token: Int, source: Int) -> Int {
        let holders = ranks[expert]
        if holders.count == 1 { return holders[0] }
        return holders.contains(source) ? source : holders[(token + source) % holders.count]
    }

    /// Experts that `rank` holds, ascending.
    package func experts(on rank: Int) -> [Int] { ranks.indices.filter { ranks[$0].contains(rank) } }
}
