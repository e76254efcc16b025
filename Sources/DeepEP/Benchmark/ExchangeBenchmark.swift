// SPDX-License-Identifier: MIT

public import Platform
internal import Ranks
internal import Simulation
internal import Tensors

/// How fast one shape is dispatched and combined by ranks that are threads of this process.
public struct ExchangeBenchmark: Sendable, Codable {
    /// What is measured.
    public struct Shape: Sendable, Codable {
        public var ranks = 8
        /// Nodes that the ranks are spread over, with two hops between them; 1 is direct.
        public var nodes = 1
        /// Tokens of each rank.
        public var tokens = 4096
        public var hidden = 7168
        public var topK = 8
        public var experts = 256
        /// Whether rows go out as FP8 with a float scale per 128 numbers; they come back as BF16.
        public var float8 = false
        /// Measured rounds, after one that does not count.
        public var rounds = 5

        public init() {}
    }

    public let shape: Shape
    /// Rows that all ranks together receive.
    public let rows: Int
    /// Bytes of those rows, numbers and scales.
    public let dispatchBytes: Int
    public let combineBytes: Int
    /// The median over rounds of the time from the first rank's start to the last one's end.
    public let dispatchSeconds: Double
    public let combineSeconds: Double
    /// By rank, the nanoseconds that the others have waited for it in all rounds, added up.
    public let waitedForNanoseconds: [UInt64]
    /// The fastest round: what the machine can do when nothing else runs on it.
    public let dispatchBestSeconds: Double
    public let combineBestSeconds: Double
    /// What neither could be faster than.
    public let floor: ExchangeFloor

    /// 10⁹ bytes per second that all ranks together receive.
    public var dispatchGigabytesPerSecond: Double { Double(dispatchBytes) / dispatchSeconds / 1e9 }
    public var combineGigabytesPerSecond: Double { Double(combineBytes) / combineSeconds / 1e9 }

    /// What a rank has measured.
    private struct RankTimes: Sendable {
        var rows = 0
        var dispatch: [Range<ContinuousClock.Instant>] = []
        var combine: [Range<ContinuousClock.Instant>] = []
        /// For each rank.
        var waited: [UInt64] = []
        var wakeSeconds = 0.0
    }

    /// Measures one shape; experts are chosen at random from `seed`.
    ///
    /// - Throws: `usage` for an impossible shape, `unavailable` without memory.
    public static func measure(_ shape: Shape, seed: UInt64 = 1) throws(FathomError) -> ExchangeBenchmark {
        guard shape.rounds >= 1, shape.tokens >= 0 else {
            throw FathomError(.usage, "\(shape.rounds) rounds of \(shape.tokens) tokens; rounds are 1 or more")
        }
        let topology = try Topology(rankCount: shape.ranks, nodeCount: shape.nodes)
        let placement = try ExpertPlacement(
            rankCount: shape.ranks, ranksPerNode: topology.ranksPerNode, expertCount: shape.experts)
        let format = try RowFormat(hidden: shape.hidden, element: shape.float8 ? .float8E4M3(.float32) : .bfloat16)
        let times = try RankGroup.threads(topology) { group throws(FathomError) in
            try run(shape, group, placement, format, seed)
        }
        let rows = times.reduce(0) { $0 + $1.rows }
        let dispatch = seconds(times.map(\.dispatch))
        let combine = seconds(times.map(\.combine))
        return ExchangeBenchmark(
            shape: shape, rows: rows, dispatchBytes: rows * (format.dataBytes + format.scaleBytes),
            combineBytes: rows * shape.hidden * 2,
            dispatchSeconds: dispatch[dispatch.count / 2], combineSeconds: combine[combine.count / 2],
            waitedForNanoseconds: (0..<shape.ranks).map { rank in times.reduce(0) { $0 + $1.waited[rank] } },
            dispatchBestSeconds: dispatch[0], combineBestSeconds: combine[0],
            floor: ExchangeFloor(
                dispatchCopiedBytes: rows * (format.dataBytes + format.scaleBytes),
                combineCopiedBytes: (rows + shape.tokens * shape.ranks) * shape.hidden,
                wakeSeconds: times[0].wakeSeconds))
    }

    /// The rounds' times from the first rank's start to the last one's end, ascending.
    private static func seconds(_ times: [[Range<ContinuousClock.Instant>]]) -> [Double] {
        times[0].indices.map { round in
            let start = times.map { $0[round].lowerBound }.min() ?? .now
            let end = times.map { $0[round].upperBound }.max() ?? .now
            return (end - start) / .seconds(1)
        }.sorted()
    }

    private static func run(
        _ shape: Shape, _ group: RankGroup, _ placement: ExpertPlacement, _ format: RowFormat, _ seed: UInt64
    ) throws(FathomError) -> RankTimes {
        let exchange = try ExpertExchange(
            group: group, placement: placement, format: format, topK: shape.topK,
            capacity: .fitting(tokensPerRank: max(shape.tokens, 1), rankCount: shape.ranks),
            twoHop: shape.nodes > 1)
        let selection = try randomSelection(shape, seed: seed &+ UInt64(group.rank))
        let rows = try AlignedBuffer<UInt8>(count: shape.tokens * format.dataBytes, purpose: "tokens")
        let scales = try AlignedBuffer<UInt8>(count: shape.tokens * format.scaleBytes, purpose: "scales")
        let input = TokenRows(rows, scales: scales, count: shape.tokens, format: format)
        var options = ExpertExchange.CombineOptions()
        options.output = try AlignedBuffer(count: shape.tokens * shape.hidden * 2, purpose: "combined tokens")
        var times = RankTimes()
        times.wakeSeconds = try ExchangeFloor.wakeSeconds(group)
        let clock = ContinuousClock()
        for round in 0...shape.rounds {
            // As in a model, what is sent has just been written.
            for index in stride(from: 0, to: rows.count, by: 64) {
                rows.baseAddress[index] = UInt8(index >> 6 & 63)
                rows.baseAddress[index + 1] = 0x3F
            }
            try group.barrier()
            let dispatchStart = clock.now
            let (tokens, handle) = try exchange.dispatch(input, selection)
            let dispatchEnd = clock.now
            times.rows = tokens.count
            fill(exchange, handle, count: tokens.count)
            try group.barrier()
            let combineStart = clock.now
            _ = try exchange.combineReturnArea(handle: handle, options: options)
            let combineEnd = clock.now
            guard round > 0 else { continue }
            times.dispatch.append(dispatchStart..<dispatchEnd)
            times.combine.append(combineStart..<combineEnd)
        }
        times.waited = exchange.waitedNanoseconds
        return times
    }

    /// Makes the rows that experts would return.
    private static func fill(_ exchange: ExpertExchange, _ handle: DispatchHandle, count: Int) {
        guard let area = exchange.returnArea(for: handle) else { return }
        for row in 0..<count {
            for index in stride(from: 0, to: exchange.format.hidden, by: 32) {
                // SAFETY: inside the row, which is one of `count`.
                area.storeBytes(
                    of: UInt16(truncatingIfNeeded: 0x3F00 + row & 0xFF),
                    toByteOffset: row * exchange.returnStride + 2 * index, as: UInt16.self)
            }
        }
    }

    /// Different experts for each token, each as likely.
    static func randomSelection(_ shape: Shape, seed: UInt64) throws(FathomError) -> TopKSelection {
        var random = SimulationRandom(seed: seed)
        guard shape.topK <= shape.experts else {
            throw FathomError(.usage, "top-\(shape.topK) of \(shape.experts) experts")
        }
        var ids: [Int32] = []
        for _ in 0..<shape.tokens {
            var chosen: [Int32] = []
            while chosen.count < shape.topK {
                let expert = Int32(random.number(below: shape.experts))
                if !chosen.contains(expert) { chosen.append(expert) }
            }
            ids += chosen
        }
        return try TopKSelection(topK: shape.topK, experts: ids)
    }
}
