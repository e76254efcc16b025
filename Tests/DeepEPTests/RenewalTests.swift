// SPDX-License-Identifier: MIT

import DeepEP
import Platform
import Ranks
import Tensors
import TestSupport
import Testing

@Suite("Exchanges that go on with other members", .timeLimit(.minutes(5)))
struct RenewalTests {
    private static let hidden = 24
    private static let topK = 3
    private static let expertsPerMember = 2

    /// What a rank dispatches in a round, and the choices of its tokens.
    private static func tokens(
        rank: Int, round: Int, members: Int
    ) throws(FathomError) -> (rows: [[Float]], selection: TopKSelection) {
        var random = RandomNumbers(seed: UInt64(100 * round + rank))
        let count = random.number(below: 9)
        var experts: [Int32] = []
        for _ in 0..<count {
            for _ in 0..<topK { experts.append(Int32(random.number(below: members * expertsPerMember + 1)) - 1) }
        }
        let rows = (0..<count).map { _ in random.normals(hidden) }
        return (rows, try TopKSelection(topK: topK, experts: experts))
    }

    /// A round: each expert negates the rows, and every choice comes back by itself. Whether all did.
    private static func run(_ exchange: ExpertExchange, round: Int) throws(FathomError) -> Bool {
        let (rows, selection) = try tokens(rank: exchange.rank, round: round, members: exchange.members.count)
        let bytes = rows.map { $0.flatMap { value in withUnsafeBytes(of: value) { Array($0) } } }
        let (received, handle) = try exchange.dispatch(
            try TestExchange.rows(bytes, format: exchange.format), selection)
        let expanded = try ExpandedTokens(received, joined: true)
        expanded.rows.baseAddress.withMemoryRebound(to: Float.self, capacity: expanded.rowCount * hidden) {
            for index in 0..<expanded.rowCount * hidden { $0[index] = -$0[index] }
        }
        let returned = TokenRows(expanded.rows, count: expanded.rowCount, format: exchange.format)
        let taken = Taken()
        try exchange.gatherChoices(returned, expanded: expanded, handle: handle) { token, parts in
            let isRight = parts.allSatisfy { part in
                (0..<hidden).allSatisfy { part.load(fromByteOffset: 4 * $0, as: Float.self) == -rows[token][$0] }
            }
            taken.tokens.append(token)
            taken.isRight =
                taken.isRight && isRight
                && parts.count == selection.choices(of: token).count { $0 >= 0 }
        }
        return taken.isRight && taken.tokens == Array(rows.indices)
    }

    private final class Taken {
        var tokens: [Int] = []
        var isRight = true
    }

    private static func exchange(_ group: RankGroup) throws(FathomError) -> ExpertExchange {
        try ExpertExchange(
            group: group,
            placement: ExpertPlacement(
                rankCount: group.rankCount, expertCount: group.rankCount * expertsPerMember),
            format: RowFormat(hidden: hidden, element: .float32), topK: topK,
            capacity: .fitting(tokensPerRank: 8, rankCount: group.rankCount), timeoutMilliseconds: 20_000)
    }

    private static func renew(_ exchange: ExpertExchange, _ members: [Int], _ generation: Int) throws(FathomError) {
        try exchange.renew(
            members: members,
            placement: ExpertPlacement(rankCount: members.count, expertCount: members.count * expertsPerMember),
            capacity: .fitting(tokensPerRank: 8, rankCount: members.count), generation: generation)
    }

    @Test(
        "A rank that leaves in the middle costs its experts; the others go on, again and again", arguments: [3, 5, 6])
    func lost(rankCount: Int) throws {
        // In round 3 the second rank goes, in round 6 the last one.
        let leaving = [3: 1, 6: rankCount - 1]
        let outcomes = try RankGroup.threads(try Topology(rankCount: rankCount)) {
            group throws(FathomError) -> String in
            let exchange = try Self.exchange(group)
            var members = Array(0..<group.rankCount)
            var generation = 0
            for round in 0..<10 {
                if let lost = leaving[round] {
                    if group.rank == lost { return "left" }
                    var hasFailed = false
                    do throws(FathomError) { _ = try Self.run(exchange, round: round) } catch { hasFailed = true }
                    guard hasFailed else { return "round \(round) was complete without rank \(lost)" }
                    members.removeAll { $0 == lost }
                    generation += 1
                    try Self.renew(exchange, members, generation)
                }
                guard try Self.run(exchange, round: round) else { return "round \(round) is wrong" }
            }
            return "done"
        }
        for (rank, outcome) in outcomes.enumerated() {
            #expect(outcome == (leaving.values.contains(rank) ? "left" : "done"), "rank \(rank)")
        }
    }

    @Test("After one has given up, all go on together; what was told of the past is forgotten", arguments: 0..<8)
    func abandoned(seed: UInt64) throws {
        let outcomes = try RankGroup.threads(try Topology(rankCount: 4)) { group throws(FathomError) -> String in
            let exchange = try Self.exchange(group)
            var random = RandomNumbers(seed: seed)
            for generation in 1...6 {
                let culprit = random.number(below: 4)
                let rounds = random.number(below: 3)
                for round in 0..<rounds {
                    guard try Self.run(exchange, round: round) else { return "round \(round) is wrong" }
                }
                // Who is still in a round would fail in that one.
                try group.barrier()
                if group.rank == culprit {
                    exchange.abandon()
                } else {
                    var message = ""
                    do throws(FathomError) { _ = try Self.run(exchange, round: 9) } catch { message = error.message }
                    guard message.contains("could not complete") else { return "'\(message)'" }
                }
                try Self.renew(exchange, [0, 1, 2, 3], generation)
            }
            return try Self.run(exchange, round: 7) ? "done" : "wrong at the end"
        }
        #expect(outcomes == ["done", "done", "done", "done"])
    }

    @Test("Members that are not there, twice, or without this rank are refused")
    func refusals() throws {
        let messages = try RankGroup.threads(try Topology(rankCount: 2)) { group throws(FathomError) -> [String] in
            let exchange = try Self.exchange(group)
            var messages: [String] = []
            for members in [[1 - group.rank], [0, 0, 1], [1, 0], [0, 1, 7]] {
                do throws(FathomError) { try Self.renew(exchange, members, 1) } catch { messages.append(error.message) }
            }
            try Self.renew(exchange, [0, 1], 1)
            guard try Self.run(exchange, round: 1) else { return [] }
            return messages
        }
        #expect(messages.allSatisfy { $0.count == 4 })
    }
}
