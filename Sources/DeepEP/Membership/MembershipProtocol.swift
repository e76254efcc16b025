// SPDX-License-Identifier: MIT

/// One rank's part in agreeing on who takes part: a state machine without clock or network.
///
/// Each view is decided by one run of Paxos among the members of the view before. Two rules tie it to the steps of the
/// group, in which every member hears from every other:
///
/// - who has promised to take part in a ballot begins no step until the view is decided;
/// - who has lost a rank, or has heard from a member that knows a later view, begins no step until its view says so.
///
/// A step is begun only when the one `stepsUnderWay` before it has been completed, with a word from every member that
/// is not lost. So when the members of a quorum have begun step s at most, nobody can have begun a step beyond
/// s + `stepsUnderWay` without having heard from one of them after the decision; the new view holds from the step after
/// that on, and all who begin that step know it.
///
/// A quorum is a majority of the members (or half with the lowest), so of two parts that have lost each other at most
/// one goes on; or it is every member that is not certainly gone, so that after deaths of which the system tells even
/// one rank alone goes on. Ranks that are certainly gone are named when a promise or an acceptance is asked for, and
/// whoever hears it takes no more messages from them: what they sent last cannot undo what the others agree on.
struct MembershipProtocol: Sendable {
    private enum Role: Sendable {
        case none
        case preparing(promises: [Int: MembershipMessage])
        case accepting(MembershipProposal, by: Set<Int>)
    }

    let rankCount: Int
    let rank: Int
    let stepsUnderWay: Int
    /// All views that were decided, and what was decided of each after the first.
    private(set) var views: [MembershipView]
    private var decisions: [MembershipProposal] = []
    /// The last step begun.
    private(set) var begun = 0
    /// By rank, whether nothing is expected of it any more; and whether that is certain.
    private(set) var isLost: [Bool]
    private(set) var isGone: [Bool]
    /// By rank, whether another member has lost it.
    private var isReported: [Bool]
    /// The latest view that a member is known to know.
    private var heard = 0
    /// Of the next view: the ballot that was promised, what was accepted, the highest ballot seen.
    private var promised = 0
    private var accepted: MembershipProposal?
    private var highest = 0
    private var role = Role.none
    /// Who was certainly gone when the own ballot began, and its number.
    private var goneAtBallot: [Bool] = []
    private var ballot = 0
    private var toSelf: [MembershipMessage] = []
    private(set) var outbox: [(to: Int, message: MembershipMessage)] = []

    init(rankCount: Int, rank: Int, stepsUnderWay: Int) {
        self.rankCount = rankCount
        self.rank = rank
        self.stepsUnderWay = stepsUnderWay
        views = [.everyone(rankCount: rankCount)]
        isLost = Array(repeating: false, count: rankCount)
        isGone = isLost
        isReported = isLost
    }

    var view: MembershipView { views[views.count - 1] }

    /// The view that holds in a step.
    func view(at step: Int) -> MembershipView { views.last { $0.firstStep <= step } ?? views[0] }

    /// Whether the others have decided to go on without this rank.
    var isExpelled: Bool { view.isMasked[rank] }

    /// Takes what is to be sent.
    mutating func takeOutbox() -> [(to: Int, message: MembershipMessage)] {
        defer { outbox = [] }
        return outbox
    }

    // MARK: Steps

    /// Whether the next step may be begun.
    var mayBegin: Bool { !isExpelled && promised == 0 && heard <= view.number && uncovered.isEmpty }

    /// Begins a step.
    mutating func begin(_ step: Int) {
        precondition(mayBegin && step > begun)
        begun = step
    }

    /// A member has begun a step in the knowledge of a view.
    mutating func hear(view number: Int, from other: Int) {
        guard number > heard, !isLost[other], !view.isMasked[other] else { return }
        heard = number
        guard number > view.number else { return }
        send(MembershipMessage(kind: .ask, number: view.number + 1), to: other)
    }

    /// Ranks that are lost and not masked yet.
    private var uncovered: [Int] { isLost.indices.filter { isLost[$0] && !view.isMasked[$0] } }

    /// What a rank that cannot go on waits for, for messages.
    var state: String {
        "view \(view.number) known and \(heard) heard of, promised \(promised), lost and not masked \(uncovered)"
    }

    // MARK: What happens

    /// A rank is lost to this one.
    ///
    /// - Parameter isCertain: whether it is certain that the rank does nothing any more.
    mutating func lose(_ other: Int, isCertain: Bool) {
        guard other != rank, !isLost[other] || (isCertain && !isGone[other]) else { return }
        isLost[other] = true
        if isCertain { isGone[other] = true }
        // The quorum of an own ballot counts those who were gone when it began.
        if isCertain, isProposing { propose() } else { pursue() }
        drain()
    }

    /// A while has passed without progress.
    mutating func tick() {
        if isProposing { propose() } else { pursue() }
        if promised > 0 || heard > view.number {
            for other in view.members where other != rank {
                send(MembershipMessage(kind: .ask, number: view.number + 1), to: other)
            }
        }
        drain()
    }

    /// Whether `tick` is of use.
    var isBusy: Bool { !isExpelled && !mayBegin }

    mutating func receive(_ message: MembershipMessage, from other: Int) {
        guard !isGone[other] else { return }
        handle(message, from: other)
        drain()
    }

    private mutating func drain() {
        while !toSelf.isEmpty { handle(toSelf.removeFirst(), from: rank) }
    }

    private mutating func send(_ message: MembershipMessage, to other: Int) {
        if other == rank { toSelf.append(message) } else { outbox.append((other, message)) }
    }

    private mutating func handle(_ message: MembershipMessage, from other: Int) {
        guard message.number == view.number + 1 else {
            // Who is behind learns what was decided; who is ahead is asked, when it matters.
            if message.number <= view.number, message.kind != .decided {
                send(
                    MembershipMessage(
                        kind: .decided, number: message.number, proposal: decisions[message.number - 1]), to: other)
            }
            return
        }
        highest = max(highest, message.ballot)
        switch message.kind {
        case .ask: break
        case .suspect: takeReport(message.ranks, from: other)
        case .prepare: promise(message, to: other)
        case .promise: takePromise(message, from: other)
        case .accept: accept(message, of: other)
        case .accepted: takeAcceptance(message, from: other)
        case .refused: break
        case .decided: if let proposal = message.proposal { learn(proposal) }
        }
    }

    // MARK: Proposing

    private var isProposing: Bool { if case .none = role { false } else { true } }

    /// Sees to it that lost ranks are masked: proposes, or tells the member that is to.
    private mutating func pursue() {
        guard !isExpelled else { return }
        let wanted = (0..<rankCount).filter { (isLost[$0] || isReported[$0]) && !view.isMasked[$0] }
        guard !wanted.isEmpty, let leader = view.members.first(where: { !isLost[$0] && !isReported[$0] }) else {
            return
        }
        if leader == rank {
            if !isProposing { propose() }
        } else if !uncovered.isEmpty {
            send(MembershipMessage(kind: .suspect, number: view.number + 1, ranks: isLost), to: leader)
        }
    }

    /// What another member has lost. Who is lost itself is not believed.
    private mutating func takeReport(_ ranks: [Bool], from other: Int) {
        guard !isLost[other], !isReported[other], !view.isMasked[other] else { return }
        for lost in ranks.indices where ranks[lost] && lost != rank { isReported[lost] = true }
        pursue()
    }

    /// Begins a ballot.
    private mutating func propose() {
        guard !isExpelled else { return }
        ballot = (highest / rankCount + 1) * rankCount + rank
        highest = ballot
        goneAtBallot = isGone
        role = .preparing(promises: [:])
        for other in view.members where !isGone[other] {
            send(
                MembershipMessage(kind: .prepare, number: view.number + 1, ballot: ballot, ranks: isGone), to: other)
        }
    }

    /// Whether these ranks decide.
    private func isQuorum(_ ranks: Set<Int>) -> Bool {
        view.isMajority(ranks) || view.members.allSatisfy { goneAtBallot[$0] || ranks.contains($0) }
    }

    private mutating func takePromise(_ message: MembershipMessage, from other: Int) {
        guard case .preparing(var promises) = role, message.ballot == ballot else { return }
        promises[other] = message
        role = .preparing(promises: promises)
        guard isQuorum(Set(promises.keys)) else { return }
        let proposal: MembershipProposal
        if let earlier = promises.values.compactMap(\.proposal).max(by: { $0.ballot < $1.ballot }) {
            proposal = MembershipProposal(ballot: ballot, view: earlier.view)
        } else {
            var next = view
            next.number += 1
            for lost in 0..<rankCount where (isLost[lost] || isReported[lost]) && lost != rank {
                next.isMasked[lost] = true
            }
            let last = promises.values.map(\.begun).max() ?? begun
            next.firstStep = max(view.firstStep, last + stepsUnderWay + 1)
            proposal = MembershipProposal(ballot: ballot, view: next)
        }
        role = .accepting(proposal, by: [])
        for other in view.members where !goneAtBallot[other] {
            send(
                MembershipMessage(
                    kind: .accept, number: view.number + 1, ballot: ballot, proposal: proposal, ranks: goneAtBallot),
                to: other)
        }
    }

    private mutating func takeAcceptance(_ message: MembershipMessage, from other: Int) {
        guard case .accepting(let proposal, var ranks) = role, message.ballot == ballot else { return }
        ranks.insert(other)
        role = .accepting(proposal, by: ranks)
        guard isQuorum(ranks) else { return }
        let number = view.number + 1
        for other in 0..<rankCount where other != rank {
            send(MembershipMessage(kind: .decided, number: number, proposal: proposal), to: other)
        }
        learn(proposal)
    }

    // MARK: Taking part

    /// Those of whom another member is certain that they are gone.
    private mutating func bury(_ ranks: [Bool]) {
        for other in ranks.indices where ranks[other] && other != rank {
            isLost[other] = true
            isGone[other] = true
        }
    }

    private mutating func promise(_ message: MembershipMessage, to other: Int) {
        guard message.ballot >= promised else { return refuse(other) }
        bury(message.ranks)
        promised = message.ballot
        send(
            MembershipMessage(
                kind: .promise, number: message.number, ballot: message.ballot, begun: begun, proposal: accepted),
            to: other)
    }

    private mutating func accept(_ message: MembershipMessage, of other: Int) {
        guard message.ballot >= promised else { return refuse(other) }
        bury(message.ranks)
        promised = message.ballot
        accepted = message.proposal
        send(MembershipMessage(kind: .accepted, number: message.number, ballot: message.ballot), to: other)
    }

    private mutating func refuse(_ other: Int) {
        send(MembershipMessage(kind: .refused, number: view.number + 1, ballot: promised), to: other)
    }

    private mutating func learn(_ proposal: MembershipProposal) {
        views.append(proposal.view)
        decisions.append(proposal)
        promised = 0
        accepted = nil
        highest = 0
        role = .none
        for other in 0..<rankCount where proposal.view.isMasked[other] && other != rank { isLost[other] = true }
        pursue()
    }
}
