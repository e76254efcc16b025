// SPDX-License-Identifier: MIT

import DeepSeekModel
import Platform
import TestSupport
import Testing

@Suite("Where experts and tokens go among ranks")
struct ExpertPartsTests {
    @Test("Experts are spread evenly over any ranks", arguments: [1, 2, 3, 5, 8, 13])
    func evenly(rankCount: Int) {
        let ranks = (0..<rankCount).map { 2 * $0 }
        let placement = LayerPlacement(expertCount: 16, ranks: ranks)
        let counts = ranks.map { placement.experts(on: $0).count }
        #expect(counts.reduce(0, +) == 16 && (counts.max() ?? 0) - (counts.min() ?? 0) <= 1)
        for expert in 0..<16 {
            #expect(placement.ranks[expert] == [placement.rank(of: expert, token: 7, source: 1)])
        }
    }

    @Test("Replicas serve their own rank, and others in turn")
    func replicas() throws {
        let placement = try LayerPlacement(experts: [0, 1, 0, 2, 0, 1], expertCount: 3, ranks: [3, 4, 6])
        #expect(placement.ranks == [[3, 4, 6], [3, 6], [4]])
        #expect(placement.experts(on: 6) == [0, 1])
        #expect(placement.rank(of: 0, token: 5, source: 4) == 4)
        #expect(Set((0..<4).map { placement.rank(of: 1, token: $0, source: 4) }) == [3, 6])
    }

    @Test("A map of slots that leaves an expert out or names none that is there is refused by name")
    func badMaps() {
        for (experts, word) in [([0, 1, 3], "expert 3"), ([0, 0, 1], "expert 2")] {
            let error = #expect(throws: FathomError.self) {
                try LayerPlacement(experts: experts, expertCount: 3, ranks: [0, 1, 2])
            }
            #expect(error?.message.contains(word) == true)
        }
    }

    @Test("Each row travels once to each rank of its experts, and every choice is computed once", arguments: 0..<30)
    func dispatch(seed: UInt64) throws {
        var random = RandomNumbers(seed: seed)
        let rankCount = 1 + random.number(below: 5)
        let expertCount = 1 + random.number(below: 20)
        let slots =
            (0..<expertCount).map(\.self)
            + (0..<random.number(below: 9)).map { _ in
                random.number(below: expertCount)
            }
        let padded = slots + (0..<(rankCount - slots.count % rankCount) % rankCount).map { $0 % expertCount }
        let placement = try LayerPlacement(
            experts: padded, expertCount: expertCount, ranks: Array(0..<rankCount))
        let topK = min(expertCount, 4)
        // What each rank sends to each, and all choices that were made.
        var sent: [[[DispatchPlan.Entry]]] = []
        var made = Set<[Int]>()
        for source in 0..<rankCount {
            let choices = (0..<random.number(below: 12)).map { _ in
                var experts = Set<Int>()
                while experts.count < topK { experts.insert(random.number(below: expertCount)) }
                return experts.sorted().map { Router.Choice(expert: $0, weight: 0.5) }
            }
            for (token, chosen) in choices.enumerated() {
                for (index, choice) in chosen.enumerated() { made.insert([source, token, index, choice.expert]) }
            }
            let plan = DispatchPlan(choices: choices, placement: placement, source: source, rankCount: rankCount)
            for (rank, message) in plan.messages.enumerated() {
                #expect(message.tokens == Set(message.entries.map { Int($0.token) }).sorted())
                for entry in message.entries {
                    #expect(placement.ranks[Int(entry.expert)].contains(rank))
                    #expect(message.tokens[Int(entry.row)] == Int(entry.token))
                }
            }
            sent.append(plan.messages.map(\.entries))
        }
        var computed: [[Int]] = []
        for rank in 0..<rankCount {
            let received = ReceivedPlan(sent.map { $0[rank] })
            #expect(received.groups.map(\.expert) == received.groups.map(\.expert).sorted())
            #expect(received.groups.allSatisfy { !$0.rows.isEmpty })
            for group in received.groups {
                let rows = received.rows[group.rows]
                let order = rows.map { [$0.source, Int($0.entry.token)] }
                #expect(order.elementsEqual(order.sorted { $0.lexicographicallyPrecedes($1) }))
                for row in rows {
                    #expect(Int(row.entry.expert) == group.expert)
                    computed.append([row.source, Int(row.entry.token), Int(row.entry.choice), group.expert])
                }
            }
        }
        #expect(computed.count == made.count && Set(computed) == made)
    }

    @Test("Chunks go to ranks whole, each once, and no rank has more than a chunk above another", arguments: 0..<20)
    func partition(seed: UInt64) {
        var random = RandomNumbers(seed: seed)
        let chunks = (0..<random.number(below: 30)).map { _ in
            SequenceChunk(
                tokens: Array(repeating: 1, count: 1 + random.number(below: 500)),
                firstPosition: random.number(below: 5000), blockTable: [])
        }
        let ranks = Array(0..<1 + random.number(below: 6))
        let parts = StepPartition.assign(chunks, to: ranks)
        #expect(parts.count == ranks.count && parts.flatMap(\.self).sorted() == Array(chunks.indices))
        let loads = parts.map { $0.reduce(0) { $0 + StepPartition.work(chunks[$1]) } }
        let largest = chunks.map(StepPartition.work).max() ?? 0
        #expect((loads.max() ?? 0) - (loads.min() ?? 0) <= largest)
    }
}

@Suite("A step's message")
struct StepMessageTests {
    private static func message(seed: UInt64) -> StepMessage {
        var random = RandomNumbers(seed: seed)
        return StepMessage(
            slabCount: random.number(below: 9), firstCall: random.next(),
            members: (0..<Int32(random.number(below: 4))).map(\.self),
            slots: (0..<random.number(below: 3)).map {
                StepMessage.Slots(layer: $0, experts: [3, 1, Int32(random.number(below: 8))])
            },
            chunks: (0..<random.number(below: 5)).map { _ in
                SequenceChunk(
                    tokens: (0..<1 + random.number(below: 9)).map { _ in Int32(random.number(below: 1000)) },
                    firstPosition: random.number(below: 100),
                    blockTable: (0..<random.number(below: 4)).map { _ in Int32(random.number(below: 50)) },
                    logits: [.none, .last, .all][random.number(below: 3)])
            })
    }

    private func read(_ words: [Int32]) throws -> StepMessage {
        try words.withUnsafeBufferPointer { try StepMessage(words: $0) }
    }

    @Test("Comes back as it was", arguments: 0..<20)
    func roundTrip(seed: UInt64) throws {
        let message = Self.message(seed: seed)
        let words = message.words
        let found = try read(words)
        #expect(found.words == words && found.firstCall == message.firstCall)
    }

    @Test("Cut short or with a number changed it is an error or another message, never a crash", arguments: 0..<200)
    func damaged(seed: UInt64) throws {
        var random = RandomNumbers(seed: seed)
        var words = Self.message(seed: seed).words
        if words.count > 2 {
            #expect(throws: FathomError.self) { try read(Array(words.dropLast())) }
        }
        words[random.number(below: words.count)] = [-1, 0, 1, .max, .min][random.number(below: 5)]
        if let other = try? read(words) { #expect(other.chunks.allSatisfy { !$0.tokens.isEmpty }) }
    }
}
