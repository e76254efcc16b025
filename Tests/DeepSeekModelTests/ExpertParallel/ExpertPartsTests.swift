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

@Suite("Who holds which cache blocks")
struct CacheDirectoryTests {
    private static func chunk(_ count: Int, at position: Int, _ blocks: [Int32], first: Int32 = 0) -> SequenceChunk {
        SequenceChunk(
            tokens: (0..<Int32(count)).map { first + Int32(position) + $0 }, firstPosition: position,
            blockTable: blocks)
    }

    @Test("The rank that ran a chunk holds its blocks, copies help others to read, and writing ends them")
    func holders() {
        var directory = CacheDirectory(blockCount: 8, blockSize: 4)
        directory.noteRun(Self.chunk(6, at: 0, [5, 2]), at: 3)
        let next = Self.chunk(1, at: 6, [5, 2])
        #expect(directory.missing(next, at: 3) == [] && directory.missing(next, at: 0) == [5, 2])
        #expect(directory.holder(of: 5) == 3 && directory.holder(of: 0) == nil)
        directory.noteCopy(of: 5, at: 0)
        directory.noteCopy(of: 2, at: 0)
        #expect(directory.missing(next, at: 0) == [])
        directory.noteRun(next, at: 0)
        #expect(directory.missing(Self.chunk(1, at: 7, [5, 2]), at: 3) == [2])
    }

    @Test("What was lost with a rank is computed again, each block once, in stretches that build on each other")
    func recovery() {
        var directory = CacheDirectory(blockCount: 40, blockSize: 4)
        let blocks = (0..<12).map { Int32(3 * $0) }
        directory.noteRun(Self.chunk(46, at: 0, blocks, first: 100), at: 1)
        // Another sequence shares the first two blocks and has the rest elsewhere.
        directory.noteRun(Self.chunk(3, at: 8, [0, 3, 1], first: 500), at: 2)
        let chunks = [Self.chunk(1, at: 46, blocks), Self.chunk(1, at: 11, [0, 3, 1])]
        #expect(directory.recovery(of: chunks).isEmpty)
        directory.remove(1)
        var rounds = 0
        while case let lost = directory.recovery(of: chunks), !lost.isEmpty {
            rounds += 1
            #expect(lost.count == 1)
            for chunk in lost {
                #expect(directory.missing(chunk, at: 0) == [])
                #expect(chunk.tokens == (0..<Int32(chunk.tokens.count)).map { 100 + Int32(chunk.firstPosition) + $0 })
                directory.noteRun(chunk, at: 0)
            }
        }
        #expect(rounds == 2 && directory.missing(chunks[0], at: 0) == [])
        #expect(directory.missing(chunks[1], at: 0) == [1])
    }

    @Test("A chunk goes where its blocks are, unless that rank has far more to do")
    func sticky() {
        let long = SequenceChunk(tokens: Array(repeating: 1, count: 300), firstPosition: 0, blockTable: [])
        let short = SequenceChunk(tokens: [1], firstPosition: 100, blockTable: [])
        func rank(of chunks: [SequenceChunk], missing: Int) -> Int? {
            StepPartition.assign(chunks, to: [0, 4]) { chunk, rank in
                chunk.firstPosition > 0 && rank == 0 ? missing : chunk.firstPosition == 0 && rank == 0 ? 1000 : 0
            }.firstIndex { $0.contains(chunks.count - 1) }
        }
        #expect(rank(of: [short], missing: 2) == 1)
        #expect(rank(of: [long, short], missing: 40) == 1)
        #expect(rank(of: [long, short], missing: 2) == 0)
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
            copies: (0..<random.number(below: 3)).map {
                StepMessage.Copy(block: Int32(random.number(below: 99)), target: Int32($0))
            },
            sources: (0..<Int32(random.number(below: 3))).map(\.self),
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
