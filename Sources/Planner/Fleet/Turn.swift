// SPDX-License-Identifier: MIT

/// What is asked for: a turn of a conversation, or a request of a trace. A value that moves from station to station, so
/// that each station's turns lie together in memory: a day has a hundred million of them.
struct Turn: BitwiseCopyable, Sendable {
    /// Tokens of the prompt, the conversation before it included.
    var prompt: Int32
    /// Prompt tokens that the cache has.
    var cached: Int32 = 0
    /// Tokens of the answer.
    var output: Int32
}

/// A turn that is computed, or waits for it.
struct QueuedTurn: BitwiseCopyable, Sendable {
    var turn: Turn
    /// Prompt tokens that are computed already.
    var computed: Int32 = 0
    /// Milliseconds of its arrival, from an hour before the window on.
    var arrival: Int32

    /// Prompt tokens that are still to compute.
    var left: Int32 { turn.prompt - turn.cached - computed }
}

/// A turn that is answered.
struct AnsweredTurn: BitwiseCopyable, Sendable {
    var prompt: Int32
    var output: Int32
    var rank: UInt16
    /// Steps that its answer takes.
    var steps: UInt16
}

/// A first-in first-out ring of turns.
struct TurnQueue: Sendable {
    private var ring: [QueuedTurn] = []
    private var head = 0
    private(set) var count = 0
    /// Prompt tokens that its turns have still to compute.
    private(set) var tokens = 0

    var isEmpty: Bool { count == 0 }

    mutating func append(_ turn: QueuedTurn) {
        if count == ring.count { grow() }
        ring[(head + count) & (ring.count - 1)] = turn
        count += 1
        tokens += Int(turn.left)
    }

    mutating func prepend(_ turn: QueuedTurn) {
        if count == ring.count { grow() }
        head = (head - 1) & (ring.count - 1)
        ring[head] = turn
        count += 1
        tokens += Int(turn.left)
    }

    mutating func popFirst() -> QueuedTurn? {
        guard count > 0 else { return nil }
        let turn = ring[head]
        head = (head + 1) & (ring.count - 1)
        count -= 1
        tokens -= Int(turn.left)
        return turn
    }

    /// The ring's size is a power of two.
    private mutating func grow() {
        let empty = QueuedTurn(turn: Turn(prompt: 0, output: 0), arrival: 0)
        let old = Array(ring[head...] + ring[..<head])
        ring = old + Array(repeating: empty, count: max(old.count, 64))
        head = 0
    }
}

/// What a unit is doing.
enum UnitState: Sendable {
    case off
    /// Serves from that time on.
    case starting(Double)
    case active
    /// Ends what it has and takes nothing new.
    case draining

    var isActive: Bool { if case .active = self { true } else { false } }
    var isStarting: Bool { if case .starting = self { true } else { false } }
    var isDraining: Bool { if case .draining = self { true } else { false } }
    var isOff: Bool { if case .off = self { true } else { false } }
}
