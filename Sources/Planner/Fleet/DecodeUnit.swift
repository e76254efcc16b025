// SPDX-License-Identifier: MIT

/// A decode unit: requests on its GPUs, all of which make each step together.
struct DecodeUnit: Sendable {
    var state = UnitState.off
    /// Steps made.
    private(set) var step = 0
    /// Requests of all GPUs.
    private(set) var requests = 0
    /// Eighths of a token in all caches.
    private(set) var eighths = 0
    /// The most requests and the most tokens of a GPU.
    private(set) var fullestRequests = 0
    private(set) var fullestTokens = 0.0

    let ranks: Int
    /// Eighths of a token in each GPU's cache, what a step adds to it, and both objectives together: eighths of a
    /// token, and each request as a mean context.
    private var tokens: RankLanes
    private var growths: RankLanes
    private var scores: RankLanes
    /// The first turn that ends at each coming step; a ring.
    private var ending: [Int32]
    /// Eighths of a token that a step adds to a request.
    private let growth: Int32
    /// Eighths of a token that stand for one request.
    private let requestWeight: Int32

    /// Answers take at most this many steps.
    static let horizon = 1 << 15
    private static let never = Int32.max / 2

    /// - Parameters:
    ///   - yield: tokens of a step for a request; kept in eighths.
    ///   - meanContext: tokens that count as much as one request, so that both objectives weigh alike.
    init(ranks: Int, yield: Double, meanContext: Double) {
        self.ranks = ranks
        tokens = RankLanes(count: ranks, repeating: 0, padding: 0)
        growths = RankLanes(count: ranks, repeating: 0, padding: 0)
        scores = RankLanes(count: ranks, repeating: 0, padding: Self.never)
        ending = Array(repeating: -1, count: Self.horizon)
        growth = Int32((yield * 8).rounded())
        requestWeight = Int32(min(max(meanContext, 1), 100_000) * 8)
    }

    /// Tokens in the cache of a GPU on average.
    var meanTokens: Double { Double(eighths) / 8 / Double(ranks) }

    /// The second balancer: the GPU with the least cache and the fewest requests together; false if that one has no
    /// room.
    mutating func place(_ turn: Int32, in pool: inout TurnPool, limit: Int, cacheTokens: Double) -> Bool {
        let rank = scores.least
        let context = pool[Int(turn)].prompt
        let count = Int(growths[rank] / growth)
        let held = tokens[rank] + context * 8
        guard count < limit, Double(held) / 8 <= cacheTokens else { return false }
        change(rank, tokens: context * 8, requests: 1)
        let steps = max(1, (Int(pool[Int(turn)].output) * 8 + Int(growth) - 1) / Int(growth))
        pool[Int(turn)].rank = Int16(rank)
        pool[Int(turn)].startStep = Int32(truncatingIfNeeded: step)
        let slot = (step + min(steps, Self.horizon - 1)) & (Self.horizon - 1)
        pool.next[Int(turn)] = ending[slot]
        ending[slot] = turn
        fullestRequests = max(fullestRequests, count + 1)
        fullestTokens = max(fullestTokens, Double(held) / 8)
        return true
    }

    private mutating func change(_ rank: Int, tokens change: Int32, requests count: Int32) {
        tokens[rank] += change
        growths[rank] += count * growth
        scores[rank] += change + count * requestWeight
        requests += Int(count)
        eighths += Int(change)
    }

    /// Makes a step: every request grows, and those that end leave.
    ///
    /// - Returns: the first turn that ended; others follow by their links.
    mutating func advance(in pool: TurnPool) -> Int32 {
        step += 1
        tokens.add(growths)
        scores.add(growths)
        eighths += requests * Int(growth)
        let slot = step & (Self.horizon - 1)
        let first = ending[slot]
        ending[slot] = -1
        var turn = first
        while turn >= 0 {
            let it = pool[Int(turn)]
            let own = it.prompt * 8 + (Int32(truncatingIfNeeded: step) - it.startStep) * growth
            change(Int(it.rank), tokens: -own, requests: -1)
            turn = pool.next[Int(turn)]
        }
        fullestRequests = Int(growths.largest / growth)
        fullestTokens = Double(tokens.largest) / 8
        return first
    }
}
