// SPDX-License-Identifier: MIT

/// One request on its way through the fleet: a turn of a conversation, or a request of a trace. Half a cache line,
/// since there are hundreds of thousands and each is touched at every station.
struct Turn: Sendable {
    /// Tokens of the prompt, the conversation before it included.
    var prompt: Int32 = 0
    /// Prompt tokens that the cache has.
    var cached: Int32 = 0
    /// Prompt tokens that are computed already.
    var computed: Int32 = 0
    /// Tokens of the answer.
    var output: Int32 = 0
    /// Step of its decode unit at which it began.
    var startStep: Int32 = 0
    /// Milliseconds of its arrival, from an hour before the window on.
    var arrival: Int32 = 0
    var rank: Int16 = 0

    /// Prompt tokens that are still to compute.
    var left: Int32 { prompt - cached - computed }
}

/// All turns, and the next one of each in whatever list it is in, −1 at the end. Links lie apart, so that following
/// them does not wait for the turns.
struct TurnPool: Sendable {
    private var turns: [Turn] = []
    var next: [Int32] = []

    var count: Int { turns.count }

    mutating func append() {
        turns.append(Turn())
        next.append(-1)
    }

    subscript(index: Int) -> Turn {
        get { turns[index] }
        set { turns[index] = newValue }
    }
}

/// A first-in first-out list through a pool's links.
struct TurnQueue: Sendable {
    private(set) var head: Int32 = -1
    private var tail: Int32 = -1
    private(set) var count = 0
    /// Prompt tokens that its turns have still to compute.
    private(set) var tokens = 0

    var isEmpty: Bool { head < 0 }

    mutating func append(_ turn: Int32, in pool: inout TurnPool) {
        pool.next[Int(turn)] = -1
        if tail >= 0 { pool.next[Int(tail)] = turn } else { head = turn }
        tail = turn
        count += 1
        tokens += Int(pool[Int(turn)].left)
    }

    mutating func prepend(_ turn: Int32, in pool: inout TurnPool) {
        pool.next[Int(turn)] = head
        head = turn
        if tail < 0 { tail = turn }
        count += 1
        tokens += Int(pool[Int(turn)].left)
    }

    mutating func popFirst(in pool: TurnPool) -> Int32? {
        guard head >= 0 else { return nil }
        let turn = head
        head = pool.next[Int(turn)]
        if head < 0 { tail = -1 }
        count -= 1
        tokens -= Int(pool[Int(turn)].left)
        return turn
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
