// SPDX-License-Identifier: MIT

/// Who takes part in a group's steps, from a certain step on.
///
/// Views are decided one after another and only ever mask more ranks. In a step the last view holds whose `firstStep`
/// has come; number 0, of which everybody is a member, holds from the beginning.
public struct MembershipView: Sendable, Hashable {
    public var number: Int
    /// The first step that it holds in.
    public var firstStep: Int
    /// By rank, whether it takes no part.
    public var isMasked: [Bool]

    /// The view of which everybody is a member.
    static func everyone(rankCount: Int) -> MembershipView {
        MembershipView(number: 0, firstStep: 0, isMasked: Array(repeating: false, count: rankCount))
    }

    var members: [Int] { isMasked.indices.filter { !isMasked[$0] } }

    /// Whether any two such sets of members have one in common: more than half of them, or half with the lowest.
    func isMajority(_ ranks: Set<Int>) -> Bool {
        let members = members
        let count = members.count(where: ranks.contains)
        return 2 * count > members.count || (2 * count == members.count && ranks.contains(members[0]))
    }
}

/// A view that somebody proposes.
struct MembershipProposal: Sendable, Equatable {
    var ballot: Int
    var view: MembershipView
}

/// What ranks tell each other to agree on a view.
struct MembershipMessage: Sendable, Equatable {
    enum Kind: UInt8, Sendable, CaseIterable {
        /// To the rank that proposes: `ranks` are lost to the sender.
        case suspect
        /// Asks for the promise to take part in no lower ballot, and to begin no step until the view is decided.
        case prepare
        case promise
        case accept
        case accepted
        /// A higher ballot was promised: `ballot` is that one.
        case refused
        case decided
        /// Asks for the decision.
        case ask
    }

    var kind: Kind
    /// The number of the view that this is about.
    var number: Int
    var ballot = 0
    /// The last step that the sender of a promise has begun.
    var begun = 0
    /// What was accepted before, in a promise; what is to be accepted, or was decided.
    var proposal: MembershipProposal?
    /// By rank: who is lost (`suspect`), or certainly gone (`prepare`, `accept`).
    var ranks: [Bool] = []
}
