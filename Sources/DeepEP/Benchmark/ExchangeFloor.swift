// SPDX-License-Identifier: MIT

internal import Platform
internal import Ranks

/// What an exchange cannot be faster than: a copy of the bytes that it has to move, and every rank woken once.
public struct ExchangeFloor: Sendable, Codable {
    /// Half of the bytes that are read and written: as many as a copy would be of.
    public var dispatchCopiedBytes: Int
    public var combineCopiedBytes: Int
    /// A barrier of the ranks: each sleeps and is woken once.
    public var wakeSeconds: Double

    /// How long the ranks' barrier takes, the mean of many; all ranks call it.
    static func wakeSeconds(_ group: RankGroup) throws(FathomError) -> Double {
        let count = 64
        try group.barrier()
        let start = ContinuousClock.now
        for _ in 0..<count { try group.barrier() }
        return (ContinuousClock.now - start) / .seconds(1) / Double(count)
    }

    /// Seconds of a dispatch and of a combine at least, with `copies` of the same machine at the same time.
    public func seconds(_ copies: CopyBandwidth) -> (dispatch: Double, combine: Double) {
        (
            copies.seconds(for: dispatchCopiedBytes) + wakeSeconds,
            copies.seconds(for: combineCopiedBytes) + wakeSeconds
        )
    }
}
