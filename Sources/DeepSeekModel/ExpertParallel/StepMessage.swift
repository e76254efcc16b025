// SPDX-License-Identifier: MIT

package import Platform

/// What the first rank tells another about a step, as 32-bit words.
///
///     slabs, generation, slots of a member, whether counts are wanted, ranks, each rank,
///     layers with new places, for each: its index, slots, the expert of each slot,
///     cache blocks to send, for each: the block, the rank; ranks that send some, each rank,
///     chunks, for each: tokens, first position, blocks, logits (0 none, 1 last, 2 all), its tokens, its blocks
package struct StepMessage: Sendable {
    /// New places of one layer's experts; see `LayerPlacement`.
    package struct Slots: Sendable, Equatable {
        package var layer: Int
        package var experts: [Int32]

        package init(layer: Int, experts: [Int32]) {
            self.layer = layer
            self.experts = experts
        }
    }

    /// A cache block that a rank sends to another before the step.
    package struct Copy: Sendable, Equatable {
        package var block: Int32
        package var target: Int32

        package init(block: Int32, target: Int32) {
            self.block = block
            self.target = target
        }
    }

    /// Calls of the exchange in each layer; see `LayerExchange.slabCount`.
    package var slabCount: Int
    /// Rises whenever the exchange has to be renewed: with other members, or after a step that has failed.
    package var generation: Int
    /// Slots for experts of each member; the same in a generation.
    package var slotsPerMember: Int
    /// Whether the answer shall say how often each expert was chosen since the start.
    package var wantsCounts: Bool
    /// The ranks that take part, ascending.
    package var members: [Int32]
    /// Places that change with this step. Layers that are not named keep theirs, or have their experts in order if the
    /// members have changed.
    package var slots: [Slots]
    /// What this rank sends before the step, and the ranks that send something to it.
    package var copies: [Copy]
    package var sources: [Int32]
    package var chunks: [SequenceChunk]

    package init(
        slabCount: Int, generation: Int, slotsPerMember: Int, wantsCounts: Bool = false, members: [Int32],
        slots: [Slots] = [], copies: [Copy] = [], sources: [Int32] = [], chunks: [SequenceChunk]
    ) {
        self.slabCount = slabCount
        self.generation = generation
        self.slotsPerMember = slotsPerMember
        self.wantsCounts = wantsCounts
        self.members = members
        self.slots = slots
        self.copies = copies
        self.sources = sources
        self.chunks = chunks
    }

    /// The message as it travels.
    package var words: [Int32] {
        var words = [
            Int32(slabCount), Int32(generation), Int32(slotsPerMember), wantsCounts ? 1 : 0, Int32(members.count),
        ]
        words += members
        words.append(Int32(slots.count))
        for layer in slots {
            words += [Int32(layer.layer), Int32(layer.experts.count)]
            words += layer.experts
        }
        words.append(Int32(copies.count))
        for copy in copies { words += [copy.block, copy.target] }
        words.append(Int32(sources.count))
        words += sources
        words.append(Int32(chunks.count))
        for chunk in chunks {
            let logits: Int32 =
                switch chunk.logits {
                case .none: 0
                case .last: 1
                case .all: 2
                }
            words += [
                Int32(chunk.tokens.count), Int32(chunk.firstPosition), Int32(chunk.blockTable.count), logits,
            ]
            words += chunk.tokens
            words += chunk.blockTable
        }
        return words
    }

    /// - Throws: `badData` for words that are no message, naming the place.
    package init(words: UnsafeBufferPointer<Int32>) throws(FathomError) {
        var reader = WordReader(words: words)
        slabCount = try reader.next("slabs")
        generation = try reader.next("the generation")
        slotsPerMember = try reader.next("slots of a member", in: 1 ... .max)
        wantsCounts = try reader.next("whether counts are wanted", in: 0...1) == 1
        members = try reader.run(try reader.next("ranks"), "ranks")
        slots = []
        for _ in 0..<(try reader.next("layers")) {
            let layer = try reader.next("a layer")
            slots.append(Slots(layer: layer, experts: try reader.run(try reader.next("slots"), "slots")))
        }
        copies = []
        for _ in 0..<(try reader.next("blocks to send")) {
            let block = try reader.next("a block")
            copies.append(Copy(block: Int32(block), target: Int32(try reader.next("a block's rank"))))
        }
        sources = try reader.run(try reader.next("sources"), "sources")
        chunks = []
        for _ in 0..<(try reader.next("chunks")) {
            let tokens = try reader.next("tokens", in: 1 ... .max)
            let position = try reader.next("the first position")
            let blocks = try reader.next("blocks")
            let logits = try reader.next("logits", in: 0...2)
            chunks.append(
                SequenceChunk(
                    tokens: try reader.run(tokens, "tokens"), firstPosition: position,
                    blockTable: try reader.run(blocks, "blocks"),
                    logits: logits == 0 ? .none : logits == 1 ? .last : .all))
        }
    }
}

/// Takes words one after the other, never beyond the last.
private struct WordReader {
    let words: UnsafeBufferPointer<Int32>
    private var place = 0

    init(words: UnsafeBufferPointer<Int32>) { self.words = words }

    mutating func next(_ what: String, in range: ClosedRange<Int32> = 0 ... .max) throws(FathomError) -> Int {
        guard place < words.count else {
            throw FathomError(.badData, "a step's message ends at word \(place), before \(what)")
        }
        defer { place += 1 }
        guard range.contains(words[place]) else {
            throw FathomError(
                .badData, "word \(place) of a step's message, \(what), is \(words[place]); legal are \(range)")
        }
        return Int(words[place])
    }

    mutating func run(_ count: Int, _ what: String) throws(FathomError) -> [Int32] {
        guard count <= words.count - place else {
            throw FathomError(
                .badData,
                "a step's message has \(words.count - place) words left at word \(place) for \(count) \(what)")
        }
        defer { place += count }
        return Array(words[place..<place + count])
    }
}
