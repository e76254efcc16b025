// SPDX-License-Identifier: MIT

/// A prefill unit: a queue, and passes that its GPUs make together.
struct PrefillUnit: Sendable {
    var state = UnitState.off
    var queue = TurnQueue()
    /// Turns of the pass that runs.
    private(set) var running: [QueuedTurn] = []
    private(set) var isBusy = false
    /// Computed tokens of all GPUs in the pass that runs, and the most of one.
    private(set) var passTokens = 0
    private(set) var fullestTokens = 0

    /// Tokens of a prompt that are not cut in two, unless for their many keys; what is left at least then; how much
    /// more than its share a GPU may get of one prompt.
    private static let leastChunk = 2048.0
    private static let leastPart = 256.0
    private static let slack = 1.25
    /// Parts of a second in which loads are counted.
    private static let ticks = 1e6
    /// Keys of a token in the last pass, mean.
    private var meanKeys = 0.0
    /// Part of its capacity that a pass is filled to: turns have different lengths.
    private static let fill = 0.95

    private var keys: [UInt64] = []
    private var takes: [Int32] = []
    private var seens: [Int32] = []
    private var load: RankLanes
    /// What each GPU has of the pass.
    private var shares: [Share]

    private struct Share: Sendable {
        var tokens: Int32 = 0
        var pairs = 0.0
        var cached = 0.0
    }

    init(ranks: Int) {
        load = RankLanes(count: ranks, repeating: 0, padding: .max)
        shares = Array(repeating: Share(), count: ranks)
    }

    /// Prompt tokens to compute in the queue and in the pass that runs.
    var outstandingTokens: Int { queue.tokens + passTokens }

    /// Ends the pass: turns that are not computed whole go back to the head of the queue, the others into `done`.
    mutating func finish(done: inout [QueuedTurn]) {
        isBusy = false
        passTokens = 0
        for turn in running.reversed() where turn.left > 0 { queue.prepend(turn) }
        for turn in running where turn.left <= 0 { done.append(turn) }
        running.removeAll(keepingCapacity: true)
    }

    /// Takes turns from the queue, deals them to GPUs, and says how long their pass takes; nil for an empty queue.
    ///
    /// The first balancer: the longest first, each to the GPU with the least, where a GPU's load is the time of its
    /// core attention and of its tokens. A prompt beyond a GPU's share is cut.
    mutating func start(pace: PrefillPace, imbalance: Double) -> Double? {
        let ranks = shares.count
        takeTurns(pace: pace)
        guard !running.isEmpty else { return nil }
        keys.sort { $0 > $1 }
        load.clear(padding: .max)
        for rank in 0..<ranks { shares[rank] = Share() }
        for key in keys {
            let item = Int(truncatingIfNeeded: key & 0xFFFF_FFFF)
            let take = takes[item]
            let rank = load.least
            load[rank] += Int32(truncatingIfNeeded: key >> 32)
            let seen = Double(seens[item])
            shares[rank].tokens += take
            shares[rank].pairs += Double(take) * (seen + Double(take) / 2)
            shares[rank].cached += seen
            running[item].computed += take
        }
        isBusy = true
        var (slowest, sum, most) = (0.0, 0.0, Int32(0))
        for share in shares {
            slowest = max(
                slowest, pace.ownSeconds(tokens: Double(share.tokens), pairs: share.pairs, cached: share.cached))
            sum += share.pairs
            most = max(most, share.tokens)
        }
        meanKeys = sum / Double(max(passTokens, 1))
        fullestTokens = Int(most)
        return pace.seconds(
            own: slowest, fullest: Double(fullestTokens), mean: Double(passTokens) / Double(ranks), imbalance: imbalance
        )
    }

    /// Takes from the queue what fits a pass. No GPU gets much more than its share of one prompt, in tokens and in
    /// pairs, so that one long prompt does not hold up all.
    private mutating func takeTurns(pace: PrefillPace) {
        keys.removeAll(keepingCapacity: true)
        takes.removeAll(keepingCapacity: true)
        seens.removeAll(keepingCapacity: true)
        let ranks = Double(shares.count)
        let room = Int(ranks * Double(pace.tokensPerPass) * Self.fill)
        let share = Double(queue.tokens) / ranks * Self.slack
        let most = min(Double(pace.tokensPerPass), max(Self.leastChunk, share))
        let mostPairs = most * max(meanKeys, Self.leastChunk)
        passTokens = 0
        while passTokens < room, let turn = queue.popFirst() {
            let seen = turn.turn.cached + turn.computed
            let byPairs = max(Self.leastPart, mostPairs / Double(max(seen, 1)))
            let take = min(turn.left, Int32(min(most, byPairs)), Int32(room - passTokens))
            let seconds = pace.share(
                tokens: Double(take), pairs: Double(take) * (Double(seen) + Double(take) / 2), cached: Double(seen))
            keys.append(UInt64(seconds * Self.ticks) << 32 | UInt64(running.count))
            running.append(turn)
            takes.append(take)
            seens.append(seen)
            passTokens += Int(take)
        }
    }
}
