// SPDX-License-Identifier: MIT

/// Turns by the moment at which they come back: a ring of moments, each with its turns in blocks of a cache line, so
/// that to put one in touches one line and to take a moment's out reads line after line.
struct TurnWheel<Entry: BitwiseCopyable & Sendable>: Sendable {
    private struct Block: Sendable {
        /// The block behind this one, −1 for none.
        var next: Int32
        var entries: InlineArray<5, Entry>
    }

    private static var blockEntries: Int { 5 }

    /// The first block of each moment times eight, and how many entries it holds; only the first is not full. 0 for no
    /// turns.
    private var heads: [Int32]
    private var blocks: [Block] = []
    /// The first of the blocks that hold nothing, −1 for none.
    private var free: Int32 = -1

    /// Moments that the ring tells apart.
    var horizon: Int { heads.count }

    /// - Parameter horizon: moments, a power of two.
    init(horizon: Int) {
        precondition(horizon > 0 && horizon & (horizon - 1) == 0, "a ring has a power of two of moments")
        heads = Array(repeating: 0, count: horizon)
    }

    /// Puts a turn before the others of a moment.
    mutating func insert(_ entry: Entry, at moment: Int) {
        let slot = moment & (heads.count - 1)
        let head = heads[slot]
        let count = Int(head & 7)
        guard count == 0 || count == Self.blockEntries else {
            blocks[Int(head >> 3)].entries[count] = entry
            heads[slot] = head + 1
            return
        }
        let next = count == 0 ? -1 : head >> 3
        var block = free
        if block >= 0 {
            free = blocks[Int(block)].next
            blocks[Int(block)].next = next
            blocks[Int(block)].entries[0] = entry
        } else {
            block = Int32(blocks.count)
            blocks.append(Block(next: next, entries: InlineArray(repeating: entry)))
        }
        heads[slot] = block << 3 | 1
    }

    /// Takes all turns of a moment, the last one that was put in first, to the end of `turns`.
    mutating func take(at moment: Int, into turns: inout [Entry]) {
        let slot = moment & (heads.count - 1)
        var count = Int(heads[slot] & 7)
        guard count > 0 else { return }
        var block = heads[slot] >> 3
        heads[slot] = 0
        while block >= 0 {
            for index in (0..<count).reversed() { turns.append(blocks[Int(block)].entries[index]) }
            count = Self.blockEntries
            let next = blocks[Int(block)].next
            blocks[Int(block)].next = free
            free = block
            block = next
        }
    }
}
