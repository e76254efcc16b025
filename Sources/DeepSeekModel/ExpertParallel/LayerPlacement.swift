// SPDX-License-Identifier: MIT

internal import EPLB
package import Platform

/// Which members of a group compute which experts of one layer: every expert at least one, with replicas several.
///
/// Members are counted from 0. The member that a token uses depends on where the token is, so that replicas share an
/// expert's load. No choice changes a bit of a result: every replica multiplies with the same weights.
package struct LayerPlacement: Sendable, Equatable {
    /// For each member the experts that it holds, ascending.
    package let experts: [[Int]]
    /// For each expert the members that hold it, in the order of their slots, and its number there.
    private let holders: [[Holder]]

    private struct Holder: Sendable, Equatable {
        var member: Int
        /// The expert's index among the member's.
        var index: Int
    }

    /// Experts in ascending order, spread as evenly as their number allows; the first members have one more.
    package init(expertCount: Int, memberCount: Int) {
        precondition(memberCount > 0 && expertCount > 0)
        let shape = PlacementShape(replicaCount: expertCount, rankCount: memberCount)
        self.init(
            holders: (0..<expertCount).map { [shape.rank(ofSlot: $0)] }, memberCount: memberCount)
    }

    /// From a map of slots, as EPLB makes it; slots lie on members as on the ranks of `PlacementShape`.
    ///
    /// - Parameter experts: the expert of each slot.
    /// - Throws: `badData` for a slot with no such expert or an expert without a slot.
    package init(experts: [Int], expertCount: Int, memberCount: Int) throws(FathomError) {
        precondition(memberCount > 0)
        let shape = PlacementShape(replicaCount: experts.count, rankCount: memberCount)
        var holders = [[Int]](repeating: [], count: expertCount)
        for (slot, expert) in experts.enumerated() {
            guard holders.indices.contains(expert) else {
                throw FathomError(
                    .badData, "slot \(slot) holds expert \(expert); the layer has experts 0 to \(expertCount - 1)")
            }
            let member = shape.rank(ofSlot: slot)
            if !holders[expert].contains(member) { holders[expert].append(member) }
        }
        if let missing = holders.firstIndex(where: \.isEmpty) {
            throw FathomError(.badData, "expert \(missing) has no slot; every expert needs one")
        }
        self.init(holders: holders, memberCount: memberCount)
    }

    private init(holders: [[Int]], memberCount: Int) {
        var experts = [[Int]](repeating: [], count: memberCount)
        self.holders = holders.enumerated().map { expert, members in
            members.map { member in
                experts[member].append(expert)
                return Holder(member: member, index: experts[member].count - 1)
            }
        }
        self.experts = experts
    }

    /// The members that hold `expert`.
    package func members(of expert: Int) -> [Int] { holders[expert].map(\.member) }

    /// The member that computes `expert` for token `token` of member `source`: itself if it can, else replicas in turn;
    /// and the expert's index among those of that member.
    package func place(of expert: Int, token: Int, source: Int) -> (member: Int, index: Int) {
        let all = holders[expert]
        let holder =
            all.count == 1
            ? all[0] : all.first { $0.member == source } ?? all[(token + source) % all.count]
        return (holder.member, holder.index)
    }
}
