// SPDX-License-Identifier: MIT

public import Platform
internal import Simulation

/// Ranks that go through steps together and agree on who takes part, under virtual time and faults.
///
/// In a step every rank hears from every member that it has not lost. Checked: all that remain act on the same view in
/// the same step, whatever dies or is thought to be lost and when; and where those that remain can decide, all of them
/// go through all steps.
public enum MembershipSimulation {
    /// What a run was.
    public struct Outcome: Sendable, Codable, Equatable {
        public var seed: UInt64
        public var ranks: Int
        /// Ranks that died, and ranks that were thought to be lost and were not.
        public var deaths: Int
        public var errors: Int
        /// Views that were decided.
        public var views: Int
        /// Ranks that went through all steps, and ranks that the others left behind.
        public var finished: Int
        public var expelled: Int
        /// Messages that arrived.
        public var messages: Int
    }

    enum Message: Sendable {
        /// The sender has begun a step in the knowledge of a view.
        case step(Int, view: Int)
        case membership(MembershipMessage)
    }

    /// What happens at a rank by itself.
    enum Alarm: Sendable {
        case proceed, tick
        case loss(Int, isCertain: Bool)
        case death
    }

    static let messageLimit = 200_000
    static let stepCount = 12
    /// Ticks of a rank at most: a group that cannot decide gives up.
    static let tickLimit = 30

    /// Runs one schedule.
    ///
    /// - Parameter errs: whether ranks that live are thought to be lost, and deaths are not certain.
    /// - Throws: `internal`, naming the seed and what was violated.
    public static func run(seed: UInt64, errs: Bool = false) throws(FathomError) -> Outcome {
        do throws(FathomError) {
            var run = MembershipRun(seed: seed, errs: errs)
            return try run.simulate()
        } catch {
            throw FathomError(error.code, "seed \(seed)\(errs ? ", with errors" : ""): \(error.message)")
        }
    }
}

/// A run under way.
private struct MembershipRun {
    typealias Message = MembershipSimulation.Message
    typealias Alarm = MembershipSimulation.Alarm

    let seed: UInt64
    let errs: Bool
    var random: SimulationRandom
    var network: SimulatedNetwork<Message>
    var alarms: [Alarm] = []
    var ranks: [MembershipMember]
    var deaths: Set<Int> = []
    var errors = 0
    var messages = 0

    init(seed: UInt64, errs: Bool) {
        self.seed = seed
        self.errs = errs
        var random = SimulationRandom(seed: seed)
        let count = 1 + random.number(below: 7)
        let underWay = 1 + random.number(below: 2)
        network = SimulatedNetwork(seed: seed ^ 0x3B, faults: .reliable(&random))
        ranks = (0..<count).map { MembershipMember(rank: $0, rankCount: count, stepsUnderWay: underWay) }
        self.random = random
    }

    mutating func start(_ alarm: Alarm, at rank: Int, after delay: Int) {
        alarms.append(alarm)
        network.startTimer(alarms.count - 1, node: rank, after: delay)
    }

    mutating func simulate() throws(FathomError) -> MembershipSimulation.Outcome {
        plan()
        while let occurrence = network.next() {
            let node: Int
            switch occurrence {
            case .message(let message, let sender, let rank):
                node = rank
                messages += 1
                ranks[rank].receive(message, from: sender)
            case .timer(let index, let rank):
                node = rank
                handle(alarms[index], at: rank)
            }
            guard messages < MembershipSimulation.messageLimit else {
                throw FathomError(.internal, "\(messages) messages and no end")
            }
            guard !deaths.contains(node) else { continue }
            ranks[node].proceed()
            // What is said of steps stays in order, as signals do.
            for (to, message) in ranks[node].takeOutbox() {
                if case .step = message {
                    network.send(message, from: node, to: to, order: .behind(lane: 0))
                } else {
                    network.send(message, from: node, to: to)
                }
            }
            if ranks[node].machine.isBusy, !ranks[node].isTicking, ranks[node].ticks < MembershipSimulation.tickLimit {
                ranks[node].isTicking = true
                let delay = 300_000 + network.random.number(below: 400_000 * (node + 1))
                // A ballot needs time for its answers: the next one waits longer.
                start(.tick, at: node, after: delay << min(ranks[node].ticks, 6))
            }
        }
        return try check()
    }

    /// Ranks begin at different times; some die or are thought to be lost on the way, several at almost the same time.
    private mutating func plan() {
        let moment = random.number(below: 400_000)
        for rank in ranks.indices { start(.proceed, at: rank, after: random.number(below: 100_000)) }
        for rank in ranks.indices where random.number(below: 3) == 0 {
            let time =
                random.number(below: 2) == 0 ? moment + random.number(below: 60_000) : random.number(below: 900_000)
            start(.death, at: rank, after: time)
        }
        guard errs else { return }
        for rank in ranks.indices where random.number(below: 3) == 0 {
            let other = random.number(below: ranks.count)
            guard other != rank else { continue }
            errors += 1
            start(.loss(other, isCertain: false), at: rank, after: random.number(below: 900_000))
        }
    }

    private mutating func handle(_ alarm: Alarm, at rank: Int) {
        switch alarm {
        case .proceed: break
        case .tick:
            ranks[rank].isTicking = false
            ranks[rank].ticks += 1
            ranks[rank].machine.tick()
        case .loss(let other, let isCertain): ranks[rank].machine.lose(other, isCertain: isCertain)
        case .death:
            deaths.insert(rank)
            network.kill(rank)
            for other in ranks.indices where other != rank {
                let isCertain = !errs || random.number(below: 2) == 0
                start(.loss(rank, isCertain: isCertain), at: other, after: random.number(below: 400_000))
            }
        }
    }

    private func check() throws(FathomError) -> MembershipSimulation.Outcome {
        let alive = ranks.filter { !deaths.contains($0.rank) }
        let latest = alive.map(\.machine.view).max { $0.number < $1.number }
        let remaining = alive.filter { latest?.isMasked[$0.rank] == false }
        for step in 1...MembershipSimulation.stepCount {
            let views = remaining.compactMap { $0.viewOfStep[step] }
            for view in views where view.isMasked != views[0].isMasked {
                throw FathomError(.internal, "step \(step): views \(views.map(\.number)) among those that remain")
            }
        }
        // Numbers decide the same everywhere, also with those that are left behind.
        for number in 0...(latest?.number ?? 0) {
            let views = alive.compactMap { $0.machine.views.count > number ? $0.machine.views[number] : nil }
            guard views.allSatisfy({ $0 == views[0] }) else {
                throw FathomError(.internal, "view \(number) was decided twice: \(views)")
            }
        }
        if !errs {
            for rank in remaining where !rank.isFinished {
                throw FathomError(
                    .internal, "rank \(rank.rank) is held up at step \(rank.machine.begun): \(rank.machine.state)")
            }
            guard remaining.count == alive.count else { throw FathomError(.internal, "a rank that lives is masked") }
        }
        return MembershipSimulation.Outcome(
            seed: seed, ranks: ranks.count, deaths: deaths.count, errors: errors, views: latest?.number ?? 0,
            finished: remaining.count(where: \.isFinished), expelled: alive.count - remaining.count,
            messages: messages)
    }
}

/// A rank that goes through steps.
private struct MembershipMember {
    let rank: Int
    var machine: MembershipProtocol
    /// By rank, the last step that it is known to have begun.
    private var reached: [Int]
    private(set) var viewOfStep: [Int: MembershipView] = [:]
    private var outbox: [(to: Int, message: MembershipSimulation.Message)] = []
    var isTicking = false
    var ticks = 0

    init(rank: Int, rankCount: Int, stepsUnderWay: Int) {
        self.rank = rank
        machine = MembershipProtocol(rankCount: rankCount, rank: rank, stepsUnderWay: stepsUnderWay)
        reached = Array(repeating: 0, count: rankCount)
    }

    var isFinished: Bool { hasCompleted(MembershipSimulation.stepCount) }

    /// Whether everybody who is to be heard from in a step has been.
    private func hasCompleted(_ step: Int) -> Bool {
        guard step > 0 else { return true }
        guard let view = viewOfStep[step] else { return false }
        return reached.indices.allSatisfy { reached[$0] >= step || view.isMasked[$0] || machine.isLost[$0] }
    }

    mutating func receive(_ message: MembershipSimulation.Message, from sender: Int) {
        switch message {
        case .step(let step, let view):
            reached[sender] = max(reached[sender], step)
            machine.hear(view: view, from: sender)
        case .membership(let message): machine.receive(message, from: sender)
        }
    }

    /// Begins all steps that can be begun.
    mutating func proceed() {
        while machine.begun < MembershipSimulation.stepCount, machine.mayBegin,
            hasCompleted(machine.begun + 1 - machine.stepsUnderWay)
        {
            let step = machine.begun + 1
            machine.begin(step)
            let view = machine.view(at: step)
            viewOfStep[step] = view
            reached[rank] = step
            for other in reached.indices where other != rank && !view.isMasked[other] && !machine.isLost[other] {
                outbox.append((other, .step(step, view: machine.view.number)))
            }
        }
    }

    mutating func takeOutbox() -> [(to: Int, message: MembershipSimulation.Message)] {
        defer { outbox = [] }
        return outbox + machine.takeOutbox().map { ($0.to, .membership($0.message)) }
    }
}
