// SPDX-License-Identifier: MIT

import DeepSeekModel
import Platform
import TestSupport
import Testing

@Suite("Where experts and tokens go among ranks")
struct ExpertPartsTests {
    @Test("Experts are spread evenly over any members", arguments: [1, 2, 3, 5, 8, 13, 20])
    func evenly(memberCount: Int) {
        let placement = LayerPlacement(expertCount: 16, memberCount: memberCount)
        let counts = placement.experts.map(\.count)
        #expect(counts.count == memberCount && counts.reduce(0, +) == 16)
        #expect((counts.max() ?? 0) - (counts.min() ?? 0) <= 1)
        for expert in 0..<16 {
            let place = placement.place(of: expert, token: 7, source: 1)
            #expect(placement.members(of: expert) == [place.member])
            #expect(placement.experts[place.member][place.index] == expert)
        }
    }

    @Test("Replicas serve their own member, and others in turn")
    func replicas() throws {
        let placement = try LayerPlacement(experts: [0, 1, 0, 2, 0, 1], expertCount: 3, memberCount: 3)
        #expect((0..<3).map { placement.members(of: $0) } == [[0, 1, 2], [0, 2], [1]])
        #expect(placement.experts == [[0, 1], [0, 2], [0, 1]])
        for source in 0..<3 { #expect(placement.place(of: 0, token: 5, source: source).member == source) }
        #expect(Set((0..<4).map { placement.place(of: 1, token: $0, source: 1).member }) == [0, 2])
        #expect((0..<4).allSatisfy { placement.place(of: 1, token: $0, source: 1).index == 1 })
    }

    @Test("A map of slots that leaves an expert out or names none that is there is refused by name")
    func badMaps() {
        for (experts, word) in [([0, 1, 3], "expert 3"), ([0, 0, 1], "expert 2")] {
            let error = #expect(throws: FathomError.self) {
                try LayerPlacement(experts: experts, expertCount: 3, memberCount: 3)
            }
            #expect(error?.message.contains(word) == true)
        }
    }

    @Test("Every expert is found where it is, whatever the map, and no place has two", arguments: 0..<30)
    func places(seed: UInt64) throws {
        var random = RandomNumbers(seed: seed)
        let memberCount = 1 + random.number(below: 6)
        let expertCount = 1 + random.number(below: 20)
        let slots =
            (0..<expertCount).map(\.self) + (0..<random.number(below: 9)).map { _ in random.number(below: expertCount) }
        let placement = try LayerPlacement(experts: slots, expertCount: expertCount, memberCount: memberCount)
        let limit = (slots.count + memberCount - 1) / memberCount
        for experts in placement.experts {
            #expect(experts.count <= limit && experts == Set(experts).sorted())
        }
        for expert in 0..<expertCount {
            for token in 0..<8 {
                let place = placement.place(of: expert, token: token, source: token % memberCount)
                #expect(placement.experts[place.member][place.index] == expert)
            }
        }
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
            slabCount: random.number(below: 9), generation: random.number(below: 1 << 30),
            slotsPerMember: 1 + random.number(below: 9), wantsCounts: random.number(below: 2) == 1,
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
        #expect(found.words == words && found.generation == message.generation)
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
