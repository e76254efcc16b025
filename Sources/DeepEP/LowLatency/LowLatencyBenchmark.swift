// SPDX-License-Identifier: MIT

public import Platform
internal import Ranks
internal import Tensors

/// How fast small batches are dispatched and combined by ranks that are threads of this process, on the low-latency
/// way.
public struct LowLatencyBenchmark: Sendable, Codable {
    /// What is measured.
    public struct Shape: Sendable, Codable {
        public var ranks = 8
        /// Tokens of each rank.
        public var tokens = 128
        public var hidden = 7168
        public var topK = 8
        public var experts = 256
        /// Whether rows go out as FP8 with a float scale per 128 numbers; else as BF16.
        public var float8 = true
        /// Whether rows come back as LogFMT-10; else as BF16, read where experts made them.
        public var logFMT = false
        /// Measured rounds, after one that does not count.
        public var rounds = 20

        public init() {}
    }

    public let shape: Shape
    /// Rows that all ranks together receive: one for each choice.
    public let rows: Int
    /// Bytes of those rows, numbers and scales.
    public let dispatchBytes: Int
    /// Bytes of the rows that come back, of LogFMT those of whole blocks.
    public let combineBytes: Int
    /// The median over rounds of the time from the first rank's start to the last one's end, both halves.
    public let dispatchSeconds: Double
    public let combineSeconds: Double
    /// As long as it takes to make matrices of the rows, for products that do not read them where they are.
    public let gatherSeconds: Double
    /// What neither half could be faster than.
    public let floor: ExchangeFloor

    private struct RankTimes: Sendable {
        var rows = 0
        var dispatch: [Range<ContinuousClock.Instant>] = []
        var combine: [Range<ContinuousClock.Instant>] = []
        var gather: [Range<ContinuousClock.Instant>] = []
        var wakeSeconds = 0.0
    }

    /// Measures one shape; experts are chosen at random from `seed`.
    ///
    /// - Throws: `usage` for an impossible shape, `unavailable` without memory.
    public static func measure(_ shape: Shape, seed: UInt64 = 1) throws(FathomError) -> LowLatencyBenchmark {
        guard shape.rounds >= 1 else {
            throw FathomError(.usage, "\(shape.rounds) rounds; 1 or more are legal")
        }
        let exchange = try LowLatencyShape(
            placement: ExpertPlacement(rankCount: shape.ranks, expertCount: shape.experts), hidden: shape.hidden,
            element: shape.float8 ? .float8E4M3(.float32) : .bfloat16,
            returning: shape.logFMT ? .logFMT10 : .bfloat16, topK: shape.topK, tokensPerRank: shape.tokens)
        let times = try RankGroup.threads(try Topology(rankCount: shape.ranks)) { group throws(FathomError) in
            try run(shape, exchange, group, seed)
        }
        let rows = times.reduce(0) { $0 + $1.rows }
        return LowLatencyBenchmark(
            shape: shape, rows: rows, dispatchBytes: rows * (exchange.format.dataBytes + exchange.format.scaleBytes),
            combineBytes: rows * (shape.logFMT ? LogFMT10.usualBytes(hidden: shape.hidden) : 2 * shape.hidden),
            dispatchSeconds: median(times.map(\.dispatch)), combineSeconds: median(times.map(\.combine)),
            gatherSeconds: median(times.map(\.gather)),
            floor: ExchangeFloor(
                // Rows are written once at their source; sums read one for each choice.
                dispatchCopiedBytes: shape.tokens * shape.ranks * (2 * shape.hidden + exchange.format.rowBytes) / 2,
                combineCopiedBytes: (rows + shape.tokens * shape.ranks) * shape.hidden,
                wakeSeconds: times[0].wakeSeconds))
    }

    /// The median over rounds of the time from the first rank's start to the last one's end.
    private static func median(_ times: [[Range<ContinuousClock.Instant>]]) -> Double {
        let spans = times[0].indices.map { round in
            let start = times.map { $0[round].lowerBound }.min() ?? .now
            let end = times.map { $0[round].upperBound }.max() ?? .now
            return (end - start) / .seconds(1)
        }.sorted()
        return spans[spans.count / 2]
    }

    private static func run(
        _ shape: Shape, _ exchangeShape: LowLatencyShape, _ group: RankGroup, _ seed: UInt64
    ) throws(FathomError) -> RankTimes {
        let exchange = try LowLatencyExchange(group: group, shape: exchangeShape)
        var choices = ExchangeBenchmark.Shape()
        choices.tokens = shape.tokens
        choices.topK = shape.topK
        choices.experts = shape.experts
        let ids = try ExchangeBenchmark.randomSelection(choices, seed: seed &+ UInt64(group.rank)).experts
        let selection = try TopKSelection(
            topK: shape.topK, experts: ids,
            weights: Array(repeating: 1 / Float(shape.topK), count: ids.count))
        let format = try RowFormat(hidden: shape.hidden, element: .bfloat16)
        let rows = try numbers(shape.tokens * shape.hidden, purpose: "tokens")
        let input = TokenRows(rows, count: shape.tokens, format: format)
        let stride = 2 * shape.hidden
        let made = try numbers(
            exchange.experts.count * exchangeShape.slotsPerExpert * shape.hidden, touched: 0, purpose: "experts' rows")
        let sums = try numbers(shape.tokens * shape.hidden, purpose: "sums")
        var times = RankTimes()
        times.wakeSeconds = try ExchangeFloor.wakeSeconds(group)
        let clock = ContinuousClock()
        for round in 0...shape.rounds {
            try group.barrier()
            let dispatchStart = clock.now
            let tokens = try exchange.dispatch(input, selection).receive()
            let dispatchEnd = clock.now
            let out =
                exchange.madeRows(of: tokens)
                // SAFETY: rows of the buffer, which holds as many as there are slots.
                ?? ExpertRows(
                    base: UnsafeMutableRawPointer(made.baseAddress), rowStride: stride,
                    expertStride: exchangeShape.slotsPerExpert * stride)
            if round < 3 { fill(out, tokens, shape.hidden) }
            times.rows = tokens.counts.reduce(0) { $0 + Int($1) }
            try group.barrier()
            let gatherStart = clock.now
            tokens.gather()
            let gatherEnd = clock.now
            try group.barrier()
            let combineStart = clock.now
            _ = try exchange.combine(out, of: tokens).receive(into: sums)
            let combineEnd = clock.now
            guard round > 0 else { continue }
            times.dispatch.append(dispatchStart..<dispatchEnd)
            times.gather.append(gatherStart..<gatherEnd)
            times.combine.append(combineStart..<combineEnd)
        }
        try group.barrier()
        return times
    }

    /// BF16 numbers between −1 and 1.
    private static func numbers(
        _ count: Int, touched: Int = .max, purpose: String
    ) throws(FathomError) -> AlignedBuffer<UInt8> {
        let buffer = try AlignedBuffer<UInt8>(count: 2 * count, purpose: purpose)
        for index in 0..<min(count, touched) {
            // SAFETY: inside the buffer.
            UnsafeMutableRawPointer(buffer.baseAddress).storeBytes(
                of: number(index), toByteOffset: 2 * index, as: UInt16.self)
        }
        return buffer
    }

    /// A BF16 number below 1 whose exponent and mantissa change with `index`.
    private static func number(_ index: Int) -> UInt16 {
        UInt16(truncatingIfNeeded: 0x3C00 + (index &* 2_654_435_761 >> 7) & 0x37F | (index & 1) << 15)
    }

    /// Makes the rows that experts would make.
    private static func fill(_ out: ExpertRows, _ tokens: LowLatencyTokens, _ hidden: Int) {
        for expert in tokens.counts.indices {
            for slot in 0..<Int(tokens.counts[expert]) {
                let row = out.row(expert: expert, slot: slot)
                for index in 0..<hidden {
                    // SAFETY: inside the row.
                    row.storeBytes(of: number(index + slot), toByteOffset: 2 * index, as: UInt16.self)
                }
            }
        }
    }
}
