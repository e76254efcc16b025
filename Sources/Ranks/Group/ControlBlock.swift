// SPDX-License-Identifier: MIT

internal import Synchronization

/// The memory through which the ranks of a group find each other: a line of words for each rank, and room for what it
/// shows the others.
///
///     rank 0: arrivals, heartbeat, state, process, bell, sleepers, wanted │ rank 1: … │ … │ slot of rank 0 │ slot …
///
/// Each word is written by its own rank, but for the bell, which others ring.
struct ControlBlock: @unchecked Sendable {
    // SAFETY: @unchecked Sendable because all words are atomic, and a slot is written by its rank before it arrives
    // at a barrier and read by others between that barrier and the next.

    /// What a rank is doing.
    enum State: UInt32 {
        case absent, joined
        /// Left after its work was done, or because of an error.
        case left, failed
    }

    private static let lineByteCount = 128
    /// What a rank can show at a time.
    static let slotByteCount = 4096

    private let base: UnsafeMutableRawPointer
    let rankCount: Int

    static func byteCount(rankCount: Int) -> Int { rankCount * (lineByteCount + slotByteCount) }

    /// - Parameter base: `byteCount(rankCount:)` bytes, zero at the start, that outlive every use.
    init(_ base: UnsafeMutableRawPointer, rankCount: Int) {
        self.base = base
        self.rankCount = rankCount
    }

    private func word64(_ rank: Int, _ offset: Int) -> UnsafeMutablePointer<Atomic<UInt64>> {
        // SAFETY: an aligned word of the rank's line, used only atomically; an atomic has its value's layout.
        (base + rank * Self.lineByteCount + offset).assumingMemoryBound(to: Atomic<UInt64>.self)
    }

    private func word32(_ rank: Int, _ offset: Int) -> UnsafeMutablePointer<Atomic<UInt32>> {
        // SAFETY: as above.
        (base + rank * Self.lineByteCount + offset).assumingMemoryBound(to: Atomic<UInt32>.self)
    }

    /// Barriers that the rank has arrived at.
    func arrivals(_ rank: Int) -> UnsafeMutablePointer<Atomic<UInt64>> { word64(rank, 0) }
    /// Rises while the rank's process lives.
    func heartbeat(_ rank: Int) -> UnsafeMutablePointer<Atomic<UInt64>> { word64(rank, 8) }
    func stateWord(_ rank: Int) -> UnsafeMutablePointer<Atomic<UInt32>> { word32(rank, 16) }
    func process(_ rank: Int) -> UnsafeMutablePointer<Atomic<UInt32>> { word32(rank, 20) }
    /// Rung whenever something changed that the rank may wait for.
    func bell(_ rank: Int) -> UnsafeMutablePointer<Atomic<UInt32>> { word32(rank, 64) }
    /// How many threads of the rank sleep on its bell.
    func sleepers(_ rank: Int) -> UnsafeMutablePointer<Atomic<UInt32>> { word32(rank, 68) }
    /// How often the bell has to have been rung before a ring that counts wakes the rank.
    func wanted(_ rank: Int) -> UnsafeMutablePointer<Atomic<UInt32>> { word32(rank, 72) }

    /// Where a rank's words and what it shows lie in the block: arrivals, heartbeat, then state and process.
    func arrivalsOffset(_ rank: Int) -> Int { rank * Self.lineByteCount }
    func heartbeatOffset(_ rank: Int) -> Int { rank * Self.lineByteCount + 8 }
    func stateOffset(_ rank: Int) -> Int { rank * Self.lineByteCount + 16 }
    func slotOffset(_ rank: Int) -> Int { rankCount * Self.lineByteCount + rank * Self.slotByteCount }

    func state(_ rank: Int) -> State {
        State(rawValue: stateWord(rank).pointee.load(ordering: .acquiring)) ?? .absent
    }

    /// What the rank shows.
    func slot(_ rank: Int) -> UnsafeMutableRawPointer {
        base + slotOffset(rank)
    }
}
