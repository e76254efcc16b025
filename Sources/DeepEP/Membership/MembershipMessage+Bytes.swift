// SPDX-License-Identifier: MIT

extension MembershipMessage {
    /// Integers before the two lists of ranks.
    private static let integers = 8

    /// Bytes of a message in a group.
    static func byteCount(rankCount: Int) -> Int { 8 * integers + 2 * rankCount }

    /// The message as bytes: kind, number, ballot, begun, the proposal's ballot (−1 without one), its first step, how
    /// many ranks are listed, nothing; a byte for each rank whether the proposal masks it; one whether it is listed.
    func bytes(rankCount: Int) -> [UInt8] {
        let integers = [
            Int(kind.rawValue), number, ballot, begun, proposal?.ballot ?? -1, proposal?.view.firstStep ?? 0,
            ranks.count, 0,
        ]
        var bytes = integers.withUnsafeBytes { Array($0) }
        let none = [Bool](repeating: false, count: rankCount)
        bytes += (proposal?.view.isMasked ?? none).map { $0 ? 1 : 0 }
        bytes += (ranks.isEmpty ? none : ranks).map { $0 ? 1 : 0 }
        return bytes
    }

    /// The message that `bytes(rankCount:)` made; nil for anything else.
    init?(_ bytes: UnsafeRawBufferPointer, rankCount: Int) {
        guard bytes.count == Self.byteCount(rankCount: rankCount) else { return nil }
        let integers = (0..<Self.integers).map { bytes.loadUnaligned(fromByteOffset: 8 * $0, as: Int.self) }
        guard let raw = UInt8(exactly: integers[0]), let kind = Kind(rawValue: raw), integers[1] >= 1 else {
            return nil
        }
        let flags = bytes[(8 * Self.integers)...].map { $0 != 0 }
        self.init(kind: kind, number: integers[1], ballot: integers[2], begun: integers[3])
        if integers[4] >= 0 {
            proposal = MembershipProposal(
                ballot: integers[4],
                view: MembershipView(
                    number: number, firstStep: integers[5], isMasked: Array(flags[..<rankCount])))
        }
        if integers[6] > 0 { ranks = Array(flags[rankCount...]) }
    }
}
