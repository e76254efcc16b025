// SPDX-License-Identifier: MIT

/// Which ranks hold which cache blocks, where each rank has a cache of its own, and what the blocks are made from.
///
/// A block is written by one rank, which then alone holds it; others may get copies to read. Tokens are kept, so that
/// blocks that were lost with a rank can be computed again: a token's numbers depend only on the tokens before it.
/// A pure value: it says what to do, others do it.
package struct CacheDirectory: Sendable {
    /// Ranks at most: a bit each.
    package static let maximumRankCount = 64
    /// Blocks in a row that one chunk computes again: a step of them is no longer than those of large prompts.
    private static let maximumRun = 8

    /// Tokens of a block.
    package let blockSize: Int
    /// By block, a bit for each rank that holds all that was written to it.
    private var holders: [UInt64]
    /// [blocks, blockSize] what was last written where.
    private var tokens: [Int32]

    package init(blockCount: Int, blockSize: Int) {
        self.blockSize = blockSize
        holders = Array(repeating: 0, count: blockCount)
        tokens = Array(repeating: 0, count: blockCount * blockSize)
    }

    /// Blocks that a chunk reads or goes on writing, in the order of their positions.
    private func history(of chunk: SequenceChunk) -> ArraySlice<Int32> {
        chunk.blockTable[..<((chunk.firstPosition + blockSize - 1) / blockSize)]
    }

    /// The blocks that `rank` lacks to run a chunk.
    package func missing(_ chunk: SequenceChunk, at rank: Int) -> [Int32] {
        history(of: chunk).filter { holders[Int($0)] >> UInt64(rank) & 1 == 0 }
    }

    /// The first rank that holds a block; nil if none does.
    package func holder(of block: Int32) -> Int? {
        holders[Int(block)] == 0 ? nil : holders[Int(block)].trailingZeroBitCount
    }

    /// Notes that `rank` has got a copy of a block.
    package mutating func noteCopy(of block: Int32, at rank: Int) { holders[Int(block)] |= 1 << UInt64(rank) }

    /// Notes that `rank` has run a chunk.
    package mutating func noteRun(_ chunk: SequenceChunk, at rank: Int) {
        for (index, token) in chunk.tokens.enumerated() {
            let position = chunk.firstPosition + index
            let block = Int(chunk.blockTable[position / blockSize])
            holders[block] = 1 << UInt64(rank)
            tokens[block * blockSize + position % blockSize] = token
        }
    }

    /// Forgets what a rank held.
    package mutating func remove(_ rank: Int) {
        for block in holders.indices { holders[block] &= ~(1 << UInt64(rank)) }
    }

    /// What has to be computed again before some chunks can run: for each of them its first stretch of blocks that
    /// nobody holds, each block once. Empty when nothing is missing.
    package func recovery(of chunks: [SequenceChunk]) -> [SequenceChunk] {
        var taken: Set<Int32> = []
        var found: [SequenceChunk] = []
        for chunk in chunks {
            let history = history(of: chunk)
            guard let first = history.firstIndex(where: { holders[Int($0)] == 0 }) else { continue }
            var end = first
            while end < history.endIndex, end - first < Self.maximumRun, holders[Int(history[end])] == 0,
                taken.insert(history[end]).inserted
            {
                end += 1
            }
            guard end > first else { continue }
            let positions = first * blockSize..<min(end * blockSize, chunk.firstPosition)
            found.append(
                SequenceChunk(
                    tokens: positions.map { tokens[Int(history[$0 / blockSize]) * blockSize + $0 % blockSize] },
                    firstPosition: positions.lowerBound, blockTable: Array(history[..<end]), logits: .none))
        }
        return found
    }
}
