// SPDX-License-Identifier: MIT

/// Nodes that send each other messages under virtual time, with the faults that a seed chooses.
///
/// The caller keeps the nodes' state machines. It asks `next()` what happens, gives that to a machine, and hands the
/// machine's messages to `send`. The same seed replays the same run.
public struct SimulatedNetwork<Message: Sendable>: Sendable {
    /// What happens at a node.
    public enum Occurrence: Sendable {
        case message(Message, from: Int, to: Int)
        /// A timer that `startTimer` started.
        case timer(Int, node: Int)
    }

    /// How a message keeps to the order of sending.
    public enum Order: Sendable {
        /// Overtakes and is overtaken.
        case free
        /// Arrives after all earlier free messages from this sender to this receiver, and after earlier ones of the
        /// same lane: a signal behind one-sided puts.
        case behind(lane: Int)
    }

    private struct Lane: Hashable {
        var from: Int
        var to: Int
        var lane: Int
    }

    public var random: SimulationRandom
    public let faults: NetworkFaults
    private var queue = VirtualTimeQueue<Occurrence>()
    /// The latest arrival of a pair's free messages (lane −1) and of each lane.
    private var latest: [Lane: Int] = [:]
    private var stalledUntil: [Int: Int] = [:]
    private var dead: Set<Int> = []

    public init(seed: UInt64, faults: NetworkFaults) {
        random = SimulationRandom(seed: seed)
        self.faults = faults
    }

    /// Virtual nanoseconds since the start.
    public var now: Int { queue.now }

    /// Sends a message; from or to a dead node it vanishes.
    public mutating func send(_ message: Message, from: Int, to: Int, order: Order = .free) {
        guard !dead.contains(from), !dead.contains(to) else { return }
        if random.happens(onceIn: faults.loseOnceIn) { return }
        let copies = random.happens(onceIn: faults.duplicateOnceIn) ? 2 : 1
        for _ in 0..<copies {
            var time = now + faults.minimumDelay + random.number(below: faults.maximumExtraDelay + 1)
            if random.happens(onceIn: faults.slowOnceIn) { time += random.number(below: faults.slowDelay) }
            let free = Lane(from: from, to: to, lane: -1)
            switch order {
            case .free:
                latest[free] = max(latest[free] ?? 0, time)
            case .behind(let lane):
                let own = Lane(from: from, to: to, lane: lane)
                time = max(time, (latest[free] ?? 0) + 1, (latest[own] ?? 0) + 1)
                latest[own] = time
            }
            queue.schedule(.message(message, from: from, to: to), at: time)
        }
    }

    /// Lets a timer of `node` go off after a while.
    public mutating func startTimer(_ timer: Int, node: Int, after delay: Int) {
        queue.schedule(.timer(timer, node: node), at: now + delay)
    }

    /// What happens next; nil when nothing will ever happen again.
    public mutating func next() -> Occurrence? {
        while let occurrence = queue.next() {
            let node =
                switch occurrence {
                case .message(_, _, let to): to
                case .timer(_, let node): node
                }
            if dead.contains(node) { continue }
            if let end = stalledUntil[node], end > now {
                // Equal times keep their order, so what waits for one node stays in order.
                queue.schedule(occurrence, at: end)
                continue
            }
            if random.happens(onceIn: faults.stallOnceIn) {
                stalledUntil[node] = now + random.number(below: faults.stallLimit)
            }
            return occurrence
        }
        return nil
    }

    /// Ends a node: it sends and receives nothing more. What it has sent already still arrives.
    public mutating func kill(_ node: Int) {
        dead.insert(node)
    }

    /// Whether a node was killed.
    public func isDead(_ node: Int) -> Bool { dead.contains(node) }
}
