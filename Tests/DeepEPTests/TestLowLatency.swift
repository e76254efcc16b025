// SPDX-License-Identifier: MIT

import DeepEP
import LowPrecision
import Platform
import Ranks
import Tensors
import TestSupport

/// What a rank got out of a low-latency dispatch and its combine.
struct LowLatencyOutcome: Sendable, Equatable {
    /// By local expert.
    var received: [[ReferenceLowLatency.Row]] = []
    var combined: [[UInt8]] = []
    /// By rank, where a rank is lost.
    var isMasked: [Bool] = []
    var isMissing: [Bool] = []
}

/// Runs low-latency exchanges on real ranks, two operations at a time.
struct TestLowLatency {
    static let rounds = 6
    let shape: LowLatencyShape
    /// [round][rank]
    var selections: [[TopKSelection]] = []
    /// [round][rank][token][hidden]
    var rows: [[[[Float]]]] = []
    var rankCount: Int { shape.placement.rankCount }

    init(
        seed: UInt64, shape kind: (element: RowFormat.Element, returning: LowLatencyShape.Return, hidden: Int)
    ) throws(FathomError) {
        var random = RandomNumbers(seed: seed)
        let ranks = 1 + random.number(below: 6)
        let experts = 1 + random.number(below: 16)
        let topK = 1 + random.number(below: 4)
        let tokens = 1 + random.number(below: 9)
        shape = try LowLatencyShape(
            placement: ExpertPlacement(rankCount: ranks, expertCount: experts), hidden: kind.hidden,
            element: kind.element, returning: kind.returning, topK: topK, tokensPerRank: tokens)
        for _ in 0..<Self.rounds {
            var group: [TopKSelection] = []
            var groupRows: [[[Float]]] = []
            for _ in 0..<ranks {
                let count = random.number(below: tokens + 1)
                var ids: [Int32] = []
                for _ in 0..<count {
                    var left = Array(0..<Int32(experts))
                    for _ in 0..<topK {
                        let takes = !left.isEmpty && random.number(below: 6) > 0
                        ids.append(takes ? left.remove(at: random.number(below: left.count)) : -1)
                    }
                }
                group.append(try TopKSelection(topK: topK, experts: ids, weights: random.normals(ids.count)))
                groupRows.append(
                    (0..<count).map { _ in
                        random.normals(kind.hidden).map { Float(BFloat16($0)) }
                    })
            }
            selections.append(group)
            rows.append(groupRows)
        }
    }

    /// What an expert makes of a token: depends on both, and is a BF16.
    func made(_ round: Int, _ expert: Int, _ source: Int, _ token: Int) -> [Float] {
        rows[round][source][token].enumerated().map {
            Float(BFloat16($1 * 0.3 + Float(($0 + expert) % 7) * 0.01))
        }
    }

    /// - Parameter putsRows: whether rows are put as over a network.
    func run(_ group: RankGroup, putsRows: Bool = false) throws(FathomError) -> [LowLatencyOutcome] {
        let exchange = try LowLatencyExchange(group: group, shape: shape, putsRows: putsRows)
        var outcomes = [LowLatencyOutcome](repeating: LowLatencyOutcome(), count: Self.rounds)
        var returning: SentCombine?
        var sent = try dispatch(exchange, 0)
        for round in 0..<Self.rounds {
            let tokens = try sent.receive()
            outcomes[round].received = contents(tokens, exchange.experts.count)
            let back = try combine(exchange, tokens, round)
            // The next one is under way before this one is over.
            if let returning { outcomes[round - 1].combined = sums(try returning.receive(), round - 1, group.rank) }
            if round + 1 < Self.rounds { sent = try dispatch(exchange, round + 1) }
            returning = back
        }
        let last = Self.rounds - 1
        if let returning { outcomes[last].combined = sums(try returning.receive(), last, group.rank) }
        // Nobody's memory goes away while others read it.
        try group.barrier()
        return outcomes
    }

    /// One operation after the other, with a membership; one rank leaves after the first.
    func runWithLoss(of lost: Int, _ group: RankGroup) throws(FathomError) -> [LowLatencyOutcome] {
        let membership = try Membership(group: group)
        let exchange = try LowLatencyExchange(group: group, shape: shape, membership: membership)
        var outcomes: [LowLatencyOutcome] = []
        for round in 0..<Self.rounds {
            if round == 1, group.rank == lost { break }
            let tokens = try dispatch(exchange, round).receive()
            var outcome = LowLatencyOutcome(received: contents(tokens, exchange.experts.count))
            outcome.isMasked = tokens.isMasked
            outcome.isMissing = tokens.isMissing
            outcome.combined = sums(try combine(exchange, tokens, round).receive(), round, group.rank)
            outcomes.append(outcome)
        }
        return outcomes
    }

    /// Makes the rows where they are read, where that is possible and the round is one of some.
    private func dispatch(_ exchange: LowLatencyExchange, _ round: Int) throws(FathomError) -> SentDispatch {
        let format = try RowFormat(hidden: shape.format.hidden, element: .bfloat16)
        let own = rows[round][exchange.rank].map(TestGroup.bytes)
        if round % 3 == 1, let place = exchange.nextRows {
            for (token, row) in own.enumerated() {
                (place.base + token * place.stride).copyMemory(from: row, byteCount: row.count)
            }
            let input = TokenRows(base: place.base, count: own.count, stride: place.stride)
            return try exchange.dispatch(input, selections[round][exchange.rank])
        }
        let input = try TestExchange.rows(own, format: format)
        return try exchange.dispatch(input, selections[round][exchange.rank])
    }

    private func contents(_ tokens: LowLatencyTokens, _ experts: Int) -> [[ReferenceLowLatency.Row]] {
        let matrices = tokens.gather()
        return (0..<experts).map { expert in
            (0..<Int(tokens.counts[expert])).map { slot in
                let source = tokens.source(expert: expert, slot: slot)
                let row = tokens.row(expert: expert, slot: slot)
                let place = expert * tokens.slotsPerExpert + slot
                let bytes = TestExchange.bytes(row, shape.format.dataBytes)
                let gathered = TestExchange.bytes(matrices.rows + place * shape.format.dataBytes, bytes.count)
                let scales = TestExchange.bytes(
                    matrices.scales + place * shape.format.scaleBytes, shape.format.scaleBytes)
                precondition(bytes == gathered && tokens.rows(ofExpert: expert)[slot] == row)
                return ReferenceLowLatency.Row(
                    sourceRank: source.rank, sourceToken: source.token,
                    numbers: bytes, scales: scales)
            }
        }
    }

    /// Makes the rows in place where that is possible and the round is even.
    private func combine(
        _ exchange: LowLatencyExchange, _ tokens: LowLatencyTokens, _ round: Int
    ) throws(FathomError) -> SentCombine {
        let bytes = 2 * shape.format.hidden
        let experts = exchange.experts
        let buffer = try TestExchange.buffer(
            [[UInt8](repeating: 0xFF, count: experts.count * tokens.slotsPerExpert * bytes)])
        var out = ExpertRows(
            base: UnsafeMutableRawPointer(buffer.baseAddress), rowStride: bytes,
            expertStride: tokens.slotsPerExpert * bytes)
        if round % 2 == 0, let area = exchange.madeRows(of: tokens) { out = area }
        for expert in experts.indices {
            let local = expert - experts.lowerBound
            for slot in 0..<Int(tokens.counts[local]) {
                let source = tokens.source(expert: local, slot: slot)
                let row = TestGroup.bytes(made(round, expert, source.rank, source.token))
                out.row(expert: local, slot: slot).copyMemory(from: row, byteCount: bytes)
            }
        }
        defer { withExtendedLifetime(buffer) {} }
        return try exchange.combine(out, of: tokens)
    }

    private func sums(_ combined: CombinedTokens, _ round: Int, _ rank: Int) -> [[UInt8]] {
        (0..<selections[round][rank].tokenCount).map {
            TestExchange.bytes(
                UnsafeRawPointer(combined.rows.baseAddress + $0 * 2 * shape.format.hidden), 2 * shape.format.hidden)
        }
    }

    /// What the reference makes of it, [round][rank].
    ///
    /// - Parameter lost: a rank that is not there after the first round.
    func reference(without lost: Int? = nil) -> [[LowLatencyOutcome]] {
        (0..<Self.rounds).map { round in
            let isMasked = (0..<rankCount).map { $0 == lost && round > 0 }
            let reference = ReferenceLowLatency(shape: shape, selections: selections[round], isMasked: isMasked)
            let received = reference.dispatch(rows[round])
            let combined = reference.combine { made(round, $0, $1, $2) }
            return (0..<rankCount).map { rank in
                LowLatencyOutcome(
                    received: Array(received[shape.placement.experts(of: rank)]),
                    combined: combined[rank].map(TestGroup.bytes))
            }
        }
    }
}
