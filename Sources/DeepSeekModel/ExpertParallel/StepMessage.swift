// SPDX-License-Identifier: MIT

package import Platform

/// What the first rank tells another about a step, as 32-bit words.
///
///     slabs, chunks, then for each chunk: tokens, first position, blocks, logits (0 none, 1 last, 2 all),
///     its tokens, its blocks
package struct StepMessage: Sendable {
    /// Calls of the exchange in each layer; see `ExpertExchange.slabCount`.
    package var slabCount: Int
    package var chunks: [SequenceChunk]

    package init(slabCount: Int, chunks: [SequenceChunk]) {
        self.slabCount = slabCount
        self.chunks = chunks
    }

    /// Words of the message for these chunks.
    package static func wordCount(_ chunks: [SequenceChunk]) -> Int {
        chunks.reduce(2) { $0 + 4 + $1.tokens.count + $1.blockTable.count }
    }

    package var words: [Int32] {
        var words = [Int32(slabCount), Int32(chunks.count)]
        words.reserveCapacity(Self.wordCount(chunks))
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
        var place = 0
        func next(_ what: String, in range: ClosedRange<Int32>) throws(FathomError) -> Int {
            guard place < words.count else {
                throw FathomError(.badData, "a step's message ends at word \(place), before \(what)")
            }
            defer { place += 1 }
            guard range.contains(words[place]) else {
                throw FathomError(
                    .badData,
                    "word \(place) of a step's message, \(what), is \(words[place]); legal are \(range)")
            }
            return Int(words[place])
        }
        func run(_ count: Int, _ what: String) throws(FathomError) -> [Int32] {
            guard count <= words.count - place else {
                throw FathomError(
                    .badData,
                    "a step's message has \(words.count - place) words left at word \(place) for \(count) \(what)")
            }
            defer { place += count }
            return Array(words[place..<place + count])
        }
        slabCount = try next("slabs", in: 0...(.max))
        let count = try next("chunks", in: 0...(.max))
        chunks = []
        for _ in 0..<count {
            let tokens = try next("tokens", in: 1...(.max))
            let position = try next("the first position", in: 0...(.max))
            let blocks = try next("blocks", in: 0...(.max))
            let logits = try next("logits", in: 0...2)
            chunks.append(
                SequenceChunk(
                    tokens: try run(tokens, "tokens"), firstPosition: position, blockTable: try run(blocks, "blocks"),
                    logits: logits == 0 ? .none : logits == 1 ? .last : .all))
        }
    }
}
