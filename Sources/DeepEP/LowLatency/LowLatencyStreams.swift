// SPDX-License-Identifier: MIT

internal import Platform

/// The rows that one rank sends: one for each choice, in order of (expert, token).
///
/// Experts lie on ranks in blocks, so the rows for one rank are neighbours: a stream. What comes back from that rank
/// comes in the same order.
struct LowLatencyStreams: Sendable {
    /// Rows for each expert.
    let counts: [Int32]
    /// The token of each row.
    let tokens: [Int32]
    /// The first row for each rank, and the total behind the last.
    let starts: [Int]
    /// The first row for each expert.
    private let firstRows: [Int32]
    /// [tokens, topK] the row of each choice; −1 where there is none.
    let rowOfChoice: [Int32]

    /// - Parameter isMasked: by rank, whether choices of its experts count as none.
    /// - Throws: `badData` naming a choice that is no expert, or a token that chooses an expert twice.
    init(_ selection: TopKSelection, placement: ExpertPlacement, isMasked: [Bool]) throws(FathomError) {
        try selection.check(placement)
        var counts = [Int32](repeating: 0, count: placement.expertCount)
        var last = [Int32](repeating: -1, count: placement.expertCount)
        var expertOfChoice = selection.experts
        for token in 0..<selection.tokenCount {
            for choice in token * selection.topK..<(token + 1) * selection.topK {
                let expert = Int(expertOfChoice[choice])
                guard expert >= 0 else { continue }
                guard last[expert] != token else {
                    throw FathomError(.badData, "token \(token) chooses expert \(expert) twice; once is legal")
                }
                last[expert] = Int32(token)
                if isMasked[placement.rank(ofExpert: expert)] {
                    expertOfChoice[choice] = -1
                } else {
                    counts[expert] += 1
                }
            }
        }
        var next: [Int32] = []
        var total: Int32 = 0
        next.reserveCapacity(counts.count)
        for count in counts {
            next.append(total)
            total += count
        }
        firstRows = next
        starts =
            (0..<placement.rankCount).map { rank in
                let first = placement.experts(of: rank).lowerBound
                return Int(first < next.count ? next[first] : total)
            } + [Int(total)]
        var tokens = [Int32](repeating: 0, count: Int(total))
        var rows = [Int32](repeating: -1, count: expertOfChoice.count)
        for (choice, expert) in expertOfChoice.enumerated() where expert >= 0 {
            let row = next[Int(expert)]
            next[Int(expert)] += 1
            tokens[Int(row)] = Int32(choice / selection.topK)
            rows[choice] = row
        }
        self.counts = counts
        self.tokens = tokens
        rowOfChoice = rows
    }

    func firstRow(ofExpert expert: Int) -> Int { Int(firstRows[expert]) }

    /// The rows for a rank.
    func stream(to rank: Int) -> Range<Int> { starts[rank]..<starts[rank + 1] }
}
