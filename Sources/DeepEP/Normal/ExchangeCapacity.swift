// SPDX-License-Identifier: MIT

public import Platform

/// The bounds of an exchange's queues, in rows; the same at every rank of a group.
public struct ExchangeCapacity: Sendable, Hashable {
    /// Slots for what a rank receives. If they hold all of it, rows land where they stay; if not, each source gets an
    /// equal ring of them and rows are copied out as they come.
    public var landingRows: Int
    /// Slots of the ring between a rank and each of its counterparts on other nodes.
    public var relayRows: Int
    /// Slots of each ring on the way back.
    public var returnRows: Int
    /// Rows behind one signal at most.
    public var chunkRows: Int

    /// - Throws: `usage` for a bound below 1, or `landingRows` below `rankCount`.
    public init(
        landingRows: Int, relayRows: Int, returnRows: Int, chunkRows: Int, rankCount: Int
    ) throws(FathomError) {
        guard landingRows >= rankCount, relayRows >= 1, returnRows >= 1, chunkRows >= 1 else {
            throw FathomError(
                .usage,
                """
                \(landingRows) landing, \(relayRows) relay, \(returnRows) return slots, chunks of \(chunkRows): each \
                is 1 or more, and there is a landing slot for each of \(rankCount) ranks
                """)
        }
        guard max(landingRows, relayRows, returnRows) < 1 << SignalValue.countBits else {
            throw FathomError(
                .usage,
                "\(max(landingRows, relayRows, returnRows)) slots; signals count to 2^\(SignalValue.countBits)")
        }
        self.landingRows = landingRows
        self.relayRows = relayRows
        self.returnRows = returnRows
        self.chunkRows = chunkRows
    }

    /// Bounds with which rows stay where they land, whatever the experts: for at most `tokensPerRank` tokens a rank.
    ///
    /// Landing slots that are never used cost address space only.
    public static func fitting(tokensPerRank: Int, rankCount: Int) throws(FathomError) -> ExchangeCapacity {
        let (rows, overflow) = tokensPerRank.multipliedReportingOverflow(by: rankCount)
        guard tokensPerRank >= 1, !overflow else {
            throw FathomError(.usage, "\(tokensPerRank) tokens a rank on \(rankCount) ranks; 1 or more are legal")
        }
        return try ExchangeCapacity(
            landingRows: rows, relayRows: min(tokensPerRank, 64), returnRows: min(tokensPerRank, 32), chunkRows: 16,
            rankCount: rankCount)
    }
}

/// Where the rows of each source land at one target.
struct LandingPlan: Sendable, Equatable {
    /// The first row of each source in the order of output, and the total behind the last.
    let firstRow: [Int]
    /// Whether rows stay where they land.
    let staysInPlace: Bool
    private let ring: Int

    /// - Parameter counts: rows from each source.
    init(counts: [Int], landingRows: Int) {
        var firstRow = [0]
        for count in counts { firstRow.append(firstRow[firstRow.count - 1] + count) }
        self.firstRow = firstRow
        staysInPlace = firstRow[counts.count] <= landingRows
        ring = landingRows / counts.count
    }

    var rowCount: Int { firstRow[firstRow.count - 1] }
    func count(of source: Int) -> Int { firstRow[source + 1] - firstRow[source] }
    /// The first slot of a source.
    func base(of source: Int) -> Int { staysInPlace ? firstRow[source] : source * ring }
    /// Slots of a source.
    func capacity(of source: Int) -> Int { staysInPlace ? count(of: source) : ring }
}
