// SPDX-License-Identifier: MIT

public import Platform
internal import Simulation

/// Normal dispatch and combine of a whole group in one process, under virtual time and faults.
///
/// Checked: every rank finishes; every token arrives once, in order, and every sum has its parts once, in order; no
/// slot is read that does not hold what it should. With a death: nobody is held up but, in the end, by the dead rank.
public enum ExchangeSimulation {
    /// What a run was.
    public struct Outcome: Sendable, Codable, Equatable {
        public var seed: UInt64
        public var ranks: Int
        public var twoHop: Bool
        /// Messages that arrived.
        public var messages: Int
        /// Virtual nanoseconds.
        public var duration: Int
        /// The rank that died.
        public var lostRank: Int?
        /// Ranks that went through all exchanges.
        public var finished: Int
    }

    /// Messages of a run at most: far more than any group of this size sends, so that a protocol that chatters for
    /// ever is found.
    static let messageLimit = 2_000_000

    /// Runs one schedule.
    ///
    /// - Parameter dies: whether a rank dies on the way.
    /// - Throws: `internal`, naming the seed and what was violated.
    public static func run(seed: UInt64, dies: Bool = false) throws(FathomError) -> Outcome {
        do throws(FathomError) {
            return try simulate(seed: seed, dies: dies)
        } catch {
            throw FathomError(error.code, "seed \(seed)\(dies ? ", with a death" : ""): \(error.message)")
        }
    }

    private static func simulate(seed: UInt64, dies: Bool) throws(FathomError) -> Outcome {
        let group = try SimulatedGroup(seed: seed, dies: dies)
        var network = SimulatedNetwork<SimulatedMessage>(seed: seed ^ 0xE9, faults: group.faults)
        var ranks = (0..<group.placement.rankCount).map { SimulatedRank(rank: $0, group: group) }
        // Ranks enter at different times.
        for rank in ranks.indices { network.startTimer(0, node: rank, after: network.random.number(below: 200_000)) }
        var messages = 0
        while let occurrence = network.next() {
            let node: Int
            switch occurrence {
            case .timer(_, let rank):
                node = rank
                try ranks[rank].enterNext()
            case .message(let message, let sender, let rank):
                node = rank
                messages += 1
                try ranks[rank].receive(message, from: sender)
            }
            guard messages < messageLimit else { throw FathomError(.internal, "\(messages) messages and no end") }
            if let death = group.death, network.now >= death.time { network.kill(death.rank) }
            for (to, message) in ranks[node].takeOutbox() {
                if case .signal(let word, _) = message {
                    network.send(message, from: node, to: to, order: .behind(lane: word))
                } else {
                    network.send(message, from: node, to: to)
                }
            }
        }
        try checkEnd(ranks, lost: group.death?.rank)
        return Outcome(
            seed: seed, ranks: ranks.count, twoHop: group.twoHop, messages: messages, duration: network.now,
            lostRank: group.death?.rank, finished: ranks.count { $0.isFinished })
    }

    /// Everybody is through, or waits for somebody who is not; and the dead rank is among those waited for.
    private static func checkEnd(_ ranks: [SimulatedRank], lost: Int?) throws(FathomError) {
        let held = ranks.filter { !$0.isFinished && $0.rank != lost }
        guard !held.isEmpty else { return }
        guard let lost else {
            let text = held.map { "rank \($0.rank) waits for \($0.awaited)" }.joined(separator: ", ")
            throw FathomError(.internal, "deadlock: \(text)")
        }
        for rank in held where rank.awaited.isEmpty {
            throw FathomError(.internal, "rank \(rank.rank) is held up and waits for nobody")
        }
        guard held.contains(where: { $0.awaited.contains(lost) }) else {
            throw FathomError(.internal, "rank \(lost) is dead and nobody waits for it")
        }
    }
}
