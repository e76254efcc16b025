// SPDX-License-Identifier: MIT

internal import LowPrecision
public import Platform
public import Ranks
internal import Simulation
internal import Tensors

/// Shows that tokens of a group's ranks reach their experts and come back on the low-latency way, bit for bit, whatever
/// connects the ranks.
///
/// Every rank makes the tokens of all from the seed, and compares what it gets with the reference.
public struct ExchangeCheck: Sendable {
    /// What was found.
    public struct Outcome: Sendable, Codable {
        /// Dispatches, each with its combine, of all formats.
        public let operations: Int
        /// Bytes that this rank has compared.
        public let comparedBytes: Int
        /// Whether rows are read where they are; else they are put.
        public let readsInPlace: Bool
        /// The median over operations, both halves.
        public let dispatchMicroseconds: Double
        public let combineMicroseconds: Double
    }

    /// Tokens of each rank.
    public var tokens = 16
    public var hidden = 640
    public var topK = 4
    public var experts = 16
    /// Operations of each format.
    public var rounds = 4
    public var seed: UInt64 = 1

    public init() {}

    private static let formats: [(element: RowFormat.Element, returning: LowLatencyShape.Return)] = [
        (.bfloat16, .bfloat16), (.float8E4M3(.float32), .bfloat16), (.float8E4M3(.packedUE8M0), .logFMT10),
    ]

    /// Runs as one rank; all ranks call it.
    ///
    /// - Throws: `usage` for an impossible shape, `unavailable` naming a rank that is lost, `internal` where something
    ///   is not the reference's.
    public func run(_ group: RankGroup) throws(FathomError) -> Outcome {
        guard topK >= 1, topK <= experts else {
            throw FathomError(.usage, "a token chooses \(topK) of \(experts) experts; 1…\(experts) is legal")
        }
        guard rounds >= 1 else { throw FathomError(.usage, "\(rounds) rounds check nothing; 1 or more is legal") }
        var compared = 0
        var dispatches: [Duration] = []
        var combines: [Duration] = []
        var inPlace = false
        for (element, returning) in Self.formats {
            let shape = try LowLatencyShape(
                placement: ExpertPlacement(rankCount: group.rankCount, expertCount: experts), hidden: hidden,
                element: element, returning: returning, topK: topK, tokensPerRank: tokens)
            let exchange = try LowLatencyExchange(group: group, shape: shape)
            for round in 0..<rounds {
                let batch = try Batch(self, shape, round: round)
                let clock = ContinuousClock()
                try group.barrier()
                let start = clock.now
                let received = try exchange.dispatch(batch.input(group.rank), batch.selections[group.rank]).receive()
                let middle = clock.now
                let made = try batch.experts(received, exchange)
                inPlace = exchange.madeRows(of: received) != nil
                compared += try batch.compare(received, exchange.experts)
                try group.barrier()
                let back = clock.now
                let sums = try exchange.combine(made.rows, of: received).receive()
                combines.append(clock.now - back)
                dispatches.append(middle - start)
                withExtendedLifetime(made.owner) {}
                compared += try batch.compare(sums, rank: group.rank)
            }
            // Nobody's memory goes away while others read it.
            try group.barrier()
        }
        return Outcome(
            operations: rounds * Self.formats.count, comparedBytes: compared, readsInPlace: inPlace,
            dispatchMicroseconds: Self.median(dispatches), combineMicroseconds: Self.median(combines))
    }

    private static func median(_ times: [Duration]) -> Double {
        times.sorted()[times.count / 2] / .microseconds(1)
    }
}

/// The tokens of all ranks in one operation, and what becomes of them.
private struct Batch {
    let reference: ReferenceLowLatency
    var selections: [TopKSelection] { reference.selections }
    /// [rank][token][hidden], each a BF16.
    private var rows: [[[Float]]] = []
    private let round: Int
    private var shape: LowLatencyShape { reference.shape }

    init(_ check: ExchangeCheck, _ shape: LowLatencyShape, round: Int) throws(FathomError) {
        var random = SimulationRandom(seed: check.seed &* 1_000_003 &+ UInt64(round))
        var selections: [TopKSelection] = []
        for _ in 0..<shape.placement.rankCount {
            let count = random.number(below: check.tokens + 1)
            var ids: [Int32] = []
            for _ in 0..<count {
                var left = Array(0..<Int32(check.experts))
                for _ in 0..<check.topK { ids.append(left.remove(at: random.number(below: left.count))) }
            }
            let weights = ids.map { _ in Float(random.number(below: 1000)) / 1000 }
            selections.append(try TopKSelection(topK: check.topK, experts: ids, weights: weights))
            rows.append(
                (0..<count).map { _ in
                    (0..<check.hidden).map { _ in
                        Float(BFloat16(Float(random.number(below: 20_001) - 10_000) / 10_100))
                    }
                })
        }
        reference = ReferenceLowLatency(shape: shape, selections: selections)
        self.round = round
    }

    private static func bytes(_ row: [Float]) -> [UInt8] {
        row.flatMap { number -> [UInt8] in
            let bits = BFloat16(number).bitPattern
            return [UInt8(truncatingIfNeeded: bits), UInt8(truncatingIfNeeded: bits >> 8)]
        }
    }

    private static func buffer(_ bytes: [UInt8]) throws(FathomError) -> AlignedBuffer<UInt8> {
        let buffer = try AlignedBuffer<UInt8>(count: max(bytes.count, 1), purpose: "an exchange's check")
        for (index, byte) in bytes.enumerated() { buffer.baseAddress[index] = byte }
        return buffer
    }

    func input(_ rank: Int) throws(FathomError) -> TokenRows {
        let format = try RowFormat(hidden: shape.format.hidden, element: .bfloat16)
        return TokenRows(
            try Self.buffer(rows[rank].flatMap(Self.bytes)), count: rows[rank].count, format: format)
    }

    /// What an expert makes of a token.
    private func made(_ expert: Int, _ source: Int, _ token: Int) -> [Float] {
        rows[source][token].map { Float(BFloat16($0 * 0.5 + Float(expert % 5) * 0.01)) }
    }

    /// The experts' rows: where they are read in every other round, if that is possible, else in memory of their own.
    func experts(
        _ tokens: LowLatencyTokens, _ exchange: LowLatencyExchange
    ) throws(FathomError) -> (rows: ExpertRows, owner: AlignedBuffer<UInt8>) {
        let bytes = 2 * shape.format.hidden
        let matrix = tokens.slotsPerExpert * bytes
        let owner = try AlignedBuffer<UInt8>(count: exchange.experts.count * matrix + 1, purpose: "experts' rows")
        // SAFETY: rows of the buffer, which holds as many as there are slots.
        var out = ExpertRows(
            base: UnsafeMutableRawPointer(owner.baseAddress), rowStride: bytes, expertStride: matrix)
        if round % 2 == 0, let area = exchange.madeRows(of: tokens) { out = area }
        for (local, expert) in exchange.experts.enumerated() {
            for slot in 0..<Int(tokens.counts[local]) {
                let source = tokens.source(expert: local, slot: slot)
                // SAFETY: a row of the matrix, which has as many bytes.
                out.row(expert: local, slot: slot)
                    .copyMemory(from: Self.bytes(made(expert, source.rank, source.token)), byteCount: bytes)
            }
        }
        return (out, owner)
    }

    /// - Returns: the bytes that were compared.
    /// - Throws: `internal` for a row that is not the reference's.
    func compare(_ tokens: LowLatencyTokens, _ experts: Range<Int>) throws(FathomError) -> Int {
        var compared = 0
        let wanted = reference.dispatch(rows)
        for (local, expert) in experts.enumerated() {
            guard Int(tokens.counts[local]) == wanted[expert].count else {
                throw FathomError(
                    .internal, "expert \(expert) has \(tokens.counts[local]) rows, not \(wanted[expert].count)")
            }
            for (slot, row) in wanted[expert].enumerated() {
                let format = tokens.format
                // SAFETY: the row's bytes, and those of its scales.
                let numbers = UnsafeRawBufferPointer(
                    start: tokens.row(expert: local, slot: slot), count: format.dataBytes)
                let scales = UnsafeRawBufferPointer(
                    start: tokens.scales(expert: local, slot: slot), count: format.scaleBytes)
                guard tokens.source(expert: local, slot: slot) == (row.sourceRank, row.sourceToken),
                    numbers.elementsEqual(row.numbers), scales.elementsEqual(row.scales)
                else {
                    throw FathomError(.internal, "expert \(expert), slot \(slot): not what rank \(row.sourceRank) sent")
                }
                compared += numbers.count + scales.count
            }
        }
        return compared
    }

    /// - Returns: the bytes that were compared.
    /// - Throws: `internal` for a sum that is not the reference's.
    func compare(_ sums: CombinedTokens, rank: Int) throws(FathomError) -> Int {
        let wanted = reference.combine { made($0, $1, $2) }[rank]
        for (token, row) in wanted.enumerated() {
            let bytes = Self.bytes(row)
            // SAFETY: the sum of a token, one of as many as there are.
            let found = UnsafeRawBufferPointer(
                start: sums.rows.baseAddress + token * bytes.count, count: bytes.count)
            guard found.elementsEqual(bytes) else {
                throw FathomError(.internal, "rank \(rank), token \(token): the sum is not the reference's")
            }
        }
        return wanted.count * 2 * shape.format.hidden
    }
}
