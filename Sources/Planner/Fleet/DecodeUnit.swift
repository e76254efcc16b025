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
    /// The most eighths of a token of a GPU, and the most that a step adds to one.
    private var fullestEighths: Int32 = 0
    private var fullestGrowth: Int32 = 0

    let ranks: Int
    /// Eighths of a token in each GPU's cache, what a step adds to it, and both objectives together: eighths of a
    /// token, and each request as a mean context.
    private var tokens: RankLanes
    private var growths: RankLanes
    private var scores: RankLanes
    /// The least score in each vector of scores.
    private var leasts: [Int32]
    /// Who ends at which step.
    private var ending: TurnWheel<AnsweredTurn>
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
        leasts = Array(repeating: 0, count: scores.lanes.count)
        ending = TurnWheel(horizon: Self.horizon)
        growth = Int32((yield * 8).rounded())
        requestWeight = Int32(min(max(meanContext, 1), 100_000) * 8)
    }

    /// The most requests and the most tokens of a GPU.
    var fullestRequests: Int { Int(fullestGrowth / growth) }
    var fullestTokens: Double { Double(fullestEighths) / 8 }
    /// Tokens in the cache of a GPU on average.
    var meanTokens: Double { Double(eighths) / 8 / Double(ranks) }

    /// The second balancer: the GPU with the least cache and the fewest requests together; false if that one has no
    /// room.
    mutating func place(_ turn: Turn, limit: Int, cacheTokens: Double) -> Bool {
        // A vector's number stands beside its least score, so that the choice is no branch.
        var low = Int.max
        for index in leasts.indices { low = min(low, Int(leasts[index]) << 16 | index) }
        let group = low & 0xFFFF
        let rank = group << 4 | Int(scores.lanes[group].first(atMost: leasts[group]))
        let context = turn.prompt * 8
        let (held, grown) = (tokens[rank] + context, growths[rank] + growth)
        guard Int(grown) <= limit * Int(growth), Double(held) / 8 <= cacheTokens else { return false }
        tokens[rank] = held
        growths[rank] = grown
        scores[rank] += context + requestWeight
        leasts[group] = scores.lanes[group].least
        requests += 1
        eighths += Int(context)
        // No answer takes so many steps that the sum overflows: they are cut to the horizon below.
        let needed = (Int(turn.output) * 8 + Int(growth) - 1) / Int(growth)
        let steps = min(max(1, needed), Self.horizon - 1)
        ending.insert(
            AnsweredTurn(prompt: turn.prompt, output: turn.output, rank: UInt16(rank), steps: UInt16(steps)),
            at: step + steps)
        fullestGrowth = max(fullestGrowth, grown)
        fullestEighths = max(fullestEighths, held)
        return true
    }

    /// Makes a step: every request grows, and those that end leave.
    ///
    /// - Parameter ended: gets the turns that end.
    mutating func advance(into ended: inout [AnsweredTurn]) {
        step += 1
        eighths += requests * Int(growth)
        let first = ended.count
        ending.take(at: step, into: &ended)
        for index in first..<ended.count {
            let turn = ended[index]
            let own = turn.prompt * 8 + Int32(turn.steps) * growth
            let rank = Int(turn.rank)
            // What it grows by in this step is not added below any more.
            tokens[rank] -= own - growth
            growths[rank] -= growth
            scores[rank] -= own - growth + requestWeight
            requests -= 1
            eighths -= Int(own)
        }
        var (high, most) = (SIMD16<Int32>(repeating: 0), SIMD16<Int32>(repeating: 0))
        for index in leasts.indices {
            let more = growths.lanes[index]
            let held = tokens.lanes[index] &+ more
            let score = scores.lanes[index] &+ more
            tokens.lanes[index] = held
            scores.lanes[index] = score
            leasts[index] = score.least
            high = high.greater(held)
            most = most.greater(more)
        }
        (fullestEighths, fullestGrowth) = (high.largest, most.largest)
    }
}
