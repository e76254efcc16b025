// SPDX-License-Identifier: MIT

public import Platform
internal import Simulation

/// Low-latency dispatch and combine of a whole group in one process, under virtual time and faults.
///
/// Checked: every rank finishes; every row arrives once, in order; every choice is summed once; no slot is read that
/// does not hold what it should, also where reading takes a while. With a death: the others go on without the dead
/// rank, each from when it learns of it, and agree on who is masked: in every operation all that remain act on the same
/// mask.
public enum LowLatencySimulation {
    /// What a run was.
    public struct Outcome: Sendable, Codable, Equatable {
        public var seed: UInt64
        public var ranks: Int
        /// Messages that arrived.
        public var messages: Int
        /// Virtual nanoseconds.
        public var duration: Int
        /// The rank that died.
        public var lostRank: Int?
        /// Ranks that went through all operations.
        public var finished: Int
    }

    /// What a timer is for.
    private enum Alarm: Int {
        /// Going on with the program.
        case proceed
        /// What takes a while is done.
        case done
        /// Learning that the dead rank is lost.
        case loss
        /// The membership goes on.
        case tick
    }

    /// The longest time that reading and working take, in virtual nanoseconds.
    private static let workLimit = 30_000
    /// The longest time until a death is known.
    private static let noticeLimit = 500_000

    /// Ticks of a rank at most: where nothing can be decided, it gives up.
    private static let tickLimit = 20

    /// Runs one schedule.
    ///
    /// - Parameter dies: whether a rank dies on the way.
    /// - Throws: `internal`, naming the seed and what was violated.
    public static func run(seed: UInt64, dies: Bool = false) throws(FathomError) -> Outcome {
        do throws(FathomError) {
            return try simulate(LowLatencyGroup(seed: seed, dies: dies), seed: seed)
        } catch {
            throw FathomError(error.code, "seed \(seed)\(dies ? ", with a death" : ""): \(error.message)")
        }
    }

    private static func simulate(_ group: LowLatencyGroup, seed: UInt64) throws(FathomError) -> Outcome {
        var network = SimulatedNetwork<LowLatencyMessage>(seed: seed ^ 0x11, faults: group.faults)
        var ranks = (0..<group.shape.placement.rankCount).map { LowLatencyRank(rank: $0, group: group) }
        for rank in ranks.indices {
            network.startTimer(Alarm.proceed.rawValue, node: rank, after: network.random.number(below: 100_000))
        }
        var messages = 0
        var isDead = false
        while let occurrence = network.next() {
            if let death = group.death, !isDead, network.now >= death.time {
                isDead = true
                network.kill(death.rank)
                for rank in ranks.indices where rank != death.rank {
                    network.startTimer(
                        Alarm.loss.rawValue, node: rank, after: network.random.number(below: noticeLimit))
                }
            }
            let node: Int
            switch occurrence {
            case .message(let message, let sender, let rank):
                node = rank
                messages += 1
                ranks[rank].receive(message, from: sender)
            case .timer(let timer, let rank):
                node = rank
                if timer == Alarm.done.rawValue {
                    var reader = ranks[rank]
                    try reader.read { ranks[$0].memory }
                    ranks[rank] = reader
                } else if timer == Alarm.loss.rawValue, let death = group.death {
                    ranks[rank].lose(death.rank, isCertain: group.deathIsCertain)
                } else if timer == Alarm.tick.rawValue {
                    ranks[rank].tick()
                }
            }
            if network.isDead(node) { continue }
            if try proceed(&ranks[node]) {
                network.startTimer(
                    Alarm.done.rawValue, node: node, after: network.random.number(below: workLimit))
            }
            if ranks[node].membership.isBusy, !ranks[node].isTicking, ranks[node].ticks < tickLimit {
                ranks[node].isTicking = true
                let delay = 300_000 + network.random.number(below: 400_000 * (node + 1))
                network.startTimer(Alarm.tick.rawValue, node: node, after: delay << min(ranks[node].ticks, 6))
            }
            for (to, message) in ranks[node].takeOutbox() {
                if case .signal(let leg, _) = message {
                    network.send(message, from: node, to: to, order: .behind(lane: leg.rawValue))
                } else {
                    network.send(message, from: node, to: to)
                }
            }
        }
        try check(ranks, group)
        return Outcome(
            seed: seed, ranks: ranks.count, messages: messages, duration: network.now, lostRank: group.death?.rank,
            finished: ranks.count(where: \.isFinished))
    }

    /// Everybody is through but the dead, if a rank is; those that can decide nothing may be held up.
    private static func check(_ ranks: [LowLatencyRank], _ group: LowLatencyGroup) throws(FathomError) {
        let alive = ranks.filter { $0.rank != group.death?.rank }
        let canDecide =
            group.deathIsCertain
            || MembershipView.everyone(rankCount: ranks.count).isMajority(Set(alive.map(\.rank)))
        for rank in alive where !rank.isFinished && canDecide {
            throw FathomError(.internal, "deadlock: rank \(rank.rank) waits for \(rank.awaited)")
        }
        for operation in group.selections.indices {
            let masks = alive.compactMap { $0.masks.count > operation ? $0.masks[operation] : nil }
            guard masks.allSatisfy({ $0 == masks[0] }) else {
                throw FathomError(.internal, "operation \(operation + 1) has masks \(masks)")
            }
        }
    }

    /// Lets a rank go on; whether it does something that takes a while.
    private static func proceed(_ rank: inout LowLatencyRank) throws(FathomError) -> Bool {
        guard !rank.isWorking else { return false }
        guard case .works = try rank.proceed() else { return false }
        rank.isWorking = true
        return true
    }
}
