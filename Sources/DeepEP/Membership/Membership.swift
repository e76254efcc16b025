// SPDX-License-Identifier: MIT

public import Platform
public import Ranks

/// Who of a group still takes part, agreed on by all that remain: a lost rank costs its experts and not the job.
///
/// All ranks make one, and go through steps together, numbered from 1; in a step each hears from every other member. A
/// rank that is lost, which `Ranks` says, or which `lose` says of one that does not come, is masked from a later step
/// on: the same one and the same mask at all ranks. A rank that the others have gone on without learns it in `begin`.
///
/// Ranks answer each other whenever they wait in `begin` or in an exchange that this was given to, or call `look`.
public final class Membership {
    /// Steps that a rank can have begun and not completed.
    public let stepsUnderWay: Int
    /// How long `begin` waits for the others to agree.
    public var timeoutMilliseconds: Int

    let group: RankGroup
    private(set) var machine: MembershipProtocol
    private let region: SymmetricRegion
    /// By rank: messages taken from it, and sent to it.
    private var taken: [Int]
    private var sent: [Int]
    private var nextTick: ContinuousClock.Instant?
    private var ticks = 0

    /// Messages between two ranks that have not been taken at most; what does not fit is said again later.
    private static let mailboxCount = 16
    /// From a try to agree to the next one; each waits twice as long, a few times.
    private static let tickMilliseconds = 20
    private static let maximumDoublings = 5

    /// Makes a membership of everybody; all ranks of the group call it.
    ///
    /// - Throws: `unavailable` without memory or where a rank does not come.
    public init(
        group: RankGroup, stepsUnderWay: Int = 2, timeoutMilliseconds: Int = 30_000
    ) throws(FathomError) {
        precondition(stepsUnderWay >= 1)
        self.group = group
        self.stepsUnderWay = stepsUnderWay
        self.timeoutMilliseconds = timeoutMilliseconds
        let count = group.rankCount
        machine = MembershipProtocol(rankCount: count, rank: group.rank, stepsUnderWay: stepsUnderWay)
        taken = Array(repeating: 0, count: count)
        sent = taken
        region = try group.symmetricRegion(
            byteCount: count * Self.mailboxCount * MembershipMessage.byteCount(rankCount: count),
            signalCount: 3 * count)
    }

    /// What was agreed on last.
    public var view: MembershipView { machine.view }
    /// Whether the others have gone on without this rank.
    public var isExpelled: Bool { machine.isExpelled }
    /// By rank, whether nothing is expected of it here any more.
    public var isLost: [Bool] { machine.isLost }

    // MARK: Signal words

    /// How many messages `from` has put here; how many of the own ones `to` has taken; the view that `from` knew when
    /// it began its last step.
    private func mailWord(from: Int) -> Int { from }
    private func takenWord(by rank: Int) -> Int { group.rankCount + rank }
    private func viewWord(of rank: Int) -> Int { 2 * group.rankCount + rank }

    // MARK: Steps

    /// Begins a step, once everybody who remains agrees on who that is.
    ///
    /// - Returns: the view that holds in the step, at all ranks.
    /// - Throws: `unavailable` if the others have gone on without this rank, or do not agree in time: too few remain.
    public func begin(_ step: Int) throws(FathomError) -> MembershipView {
        let deadline = ContinuousClock.now + .milliseconds(timeoutMilliseconds)
        look()
        while !machine.mayBegin {
            guard !isExpelled else {
                throw FathomError(
                    .unavailable,
                    "rank \(group.rank) is masked from step \(view.firstStep) on: the others took it for lost")
            }
            guard ContinuousClock.now < deadline else {
                throw FathomError(
                    .unavailable,
                    """
                    rank \(group.rank) waited \(timeoutMilliseconds) ms before step \(step) for the others to agree on \
                    who is left: \(machine.state)
                    """)
            }
            _ = try group.wait(
                timeoutMilliseconds: Self.tickMilliseconds, watching: EmptyCollection(), for: "an agreement",
                until: { hasMail })
            look()
        }
        machine.begin(step)
        for other in 0..<group.rankCount where other != group.rank {
            region.signal(other, viewWord(of: group.rank), UInt64(view.number))
        }
        return machine.view(at: step)
    }

    /// Gives a rank up that does not come. It is masked once the others agree.
    public func lose(_ rank: Int) {
        machine.lose(rank, isCertain: false)
        deliver()
    }

    /// Takes what the others say, and notices who is lost.
    public func look() {
        for lost in group.lostRanks() where lost.rank != group.rank {
            machine.lose(lost.rank, isCertain: group.isGone(lost.rank))
        }
        for other in 0..<group.rankCount where other != group.rank { read(from: other) }
        for other in 0..<group.rankCount where other != group.rank {
            machine.hear(view: Int(region.value(viewWord(of: other))), from: other)
        }
        tick()
        deliver()
    }

    /// Whether somebody has said something that `look` would take.
    var hasMail: Bool {
        (0..<group.rankCount).contains { Int(region.value(mailWord(from: $0))) > taken[$0] }
    }

    // MARK: Messages

    private func offset(from rank: Int, _ number: Int) -> Int {
        (rank * Self.mailboxCount + number % Self.mailboxCount)
            * MembershipMessage.byteCount(rankCount: group.rankCount)
    }

    private func read(from other: Int) {
        let count = Int(region.value(mailWord(from: other)))
        while taken[other] < count {
            // SAFETY: a mailbox lies in the region, and its sender writes it again only when it has been taken.
            let bytes = UnsafeRawBufferPointer(
                start: region.local + offset(from: other, taken[other]),
                count: MembershipMessage.byteCount(rankCount: group.rankCount))
            let message = MembershipMessage(bytes, rankCount: group.rankCount)
            taken[other] += 1
            region.signal(other, takenWord(by: group.rank), UInt64(taken[other]))
            if let message { machine.receive(message, from: other) }
        }
    }

    /// Sends what the machine has to say.
    private func deliver() {
        for (to, message) in machine.takeOutbox() {
            guard sent[to] - Int(region.value(takenWord(by: to))) < Self.mailboxCount else { continue }
            // SAFETY: the bytes are copied within the call.
            message.bytes(rankCount: group.rankCount).withUnsafeBytes {
                region.put($0, to: to, at: offset(from: group.rank, sent[to]))
            }
            sent[to] += 1
            region.signal(to, mailWord(from: group.rank), UInt64(sent[to]))
        }
    }

    /// Lets the machine try again where nothing comes of what was said.
    private func tick() {
        guard machine.isBusy else {
            nextTick = nil
            ticks = 0
            return
        }
        let now = ContinuousClock.now
        if let nextTick, now >= nextTick {
            machine.tick()
            ticks += 1
            self.nextTick = nil
        }
        if nextTick == nil {
            // Ranks that try at the same time keep each other from it: each waits for another time.
            let delay = Self.tickMilliseconds << min(ticks, Self.maximumDoublings)
            nextTick = now + .milliseconds(delay * (group.rank + 1))
        }
    }
}
