// SPDX-License-Identifier: MIT

public import Platform

/// Which slot a rank sends each logical expert's tokens to, where experts have copies.
///
/// The copies of expert e are numbered 0 ..< count(e). A rank uses a copy of its own if it has one, the first of
/// several, else copy number rank mod count(e). So ranks spread evenly over the copies, and a token's slot depends on
/// its expert and its rank alone.
public struct ExpertReplicas: Sendable, Hashable {
    /// The slot for each logical expert.
    public let slots: [Int32]

    /// From one layer's logical-to-physical map, as `EPLB` gives it.
    ///
    /// - Parameters:
    ///   - logicalToPhysical: [experts, width]: the slots of each expert's copies in their order, −1 behind them.
    ///   - width: the most copies of an expert.
    ///   - rank: whose tokens are routed.
    ///   - slotsPerRank: slots s with s / slotsPerRank = rank are the rank's own; nil where no copy is to be preferred.
    /// - Throws: `usage` for maps that are no whole rows or naming an impossible rank; `badData` naming the expert
    ///   without a slot or with one that is none.
    public init(
        logicalToPhysical: some Collection<Int32>, width: Int, rank: Int, slotsPerRank: Int? = nil
    ) throws(FathomError) {
        guard width >= 1, logicalToPhysical.count % width == 0 else {
            throw FathomError(
                .usage,
                "a map of \(logicalToPhysical.count) slots, \(width) an expert; whole rows of 1 or more are legal")
        }
        guard rank >= 0, slotsPerRank ?? 1 >= 1 else {
            throw FathomError(
                .usage, "rank \(rank) with \(slotsPerRank ?? 1) slots; 0 or more with 1 or more are legal")
        }
        var slots: [Int32] = []
        slots.reserveCapacity(logicalToPhysical.count / width)
        var copies: [Int32] = []
        for (index, slot) in logicalToPhysical.enumerated() {
            let (expert, copy) = index.quotientAndRemainder(dividingBy: width)
            if copy == 0 { copies.removeAll(keepingCapacity: true) }
            guard slot >= 0 || (slot == -1 && copy > 0) else {
                throw FathomError(
                    .badData,
                    "logical-to-physical map, expert \(expert), copy \(copy): slot \(slot); 0 or more is legal, and "
                        + "−1 behind an expert's copies")
            }
            guard slot < 0 || copies.count == copy else {
                throw FathomError(
                    .badData,
                    "logical-to-physical map, expert \(expert), copy \(copy): slot \(slot) follows a gap; copies "
                        + "come first and −1 behind them")
            }
            if slot >= 0 { copies.append(slot) }
            guard copy == width - 1 else { continue }
            let own = slotsPerRank.flatMap { size in copies.first { Int($0) / size == rank } }
            slots.append(own ?? copies[rank % copies.count])
        }
        self.slots = slots
    }
}
