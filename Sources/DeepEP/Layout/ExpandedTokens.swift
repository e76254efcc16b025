// SPDX-License-Identifier: MIT

public import Platform
public import Tensors

/// Received tokens as grouped products want them: a row for each (token, expert of this rank), grouped by expert.
///
/// Inside a group rows keep the order of the tokens. Each group begins at a multiple of the alignment; what is left
/// before the next is zero.
public struct ExpandedTokens: Sendable {
    public let format: RowFormat
    /// Rows of each expert of this rank.
    public let counts: [Int]
    /// The first row of each expert, and the number of all rows, padding included, behind the last.
    public let starts: [Int]
    /// [received tokens, topK] the row of each choice; −1 for none and for experts elsewhere.
    public let rowOfChoice: [Int32]
    /// [rows, hidden] numbers; joined, each row's scales behind them: `format.rowBytes` a row.
    public let rows: AlignedBuffer<UInt8>
    /// [rows, scales] of FP8 numbers; nothing where they are joined to the rows.
    public let scales: AlignedBuffer<UInt8>

    /// - Parameters:
    ///   - alignment: rows that each group begins at a multiple of, 1 or more.
    ///   - joined: whether each row's scales lie behind its numbers instead of by themselves.
    /// - Throws: `usage` for an alignment below 1, `unavailable` without memory.
    public init(_ tokens: ReceivedTokens, alignment: Int = 1, joined: Bool = false) throws(FathomError) {
        guard alignment >= 1 else {
            throw FathomError(.usage, "groups aligned to \(alignment) rows; 1 or more is legal")
        }
        format = tokens.format
        var experts: [Int32] = []
        experts.reserveCapacity(tokens.count * tokens.topK)
        var counts = [Int](repeating: 0, count: tokens.experts.count)
        for index in 0..<tokens.count {
            for choice in 0..<tokens.topK {
                let expert = tokens.localExpert(index, choice: choice)
                experts.append(Int32(expert))
                if expert >= 0 { counts[expert] += 1 }
            }
        }
        var starts = [0]
        for count in counts {
            starts.append(starts[starts.count - 1] + (count + alignment - 1) / alignment * alignment)
        }
        var next = starts
        let rowBytes = joined ? format.rowBytes : format.dataBytes
        let scaleBytes = joined ? 0 : format.scaleBytes
        rows = try AlignedBuffer(count: starts[counts.count] * rowBytes, purpose: "expanded tokens")
        scales = try AlignedBuffer(count: starts[counts.count] * scaleBytes, purpose: "expanded scales")
        for (place, expert) in experts.enumerated() where expert >= 0 {
            let row = next[Int(expert)]
            next[Int(expert)] += 1
            experts[place] = Int32(row)
            // SAFETY: row is inside its group, and both buffers have room for every row; a record has both parts.
            UnsafeMutableRawPointer(rows.baseAddress + row * rowBytes)
                .copyMemory(from: tokens.row(place / tokens.topK), byteCount: rowBytes)
            guard scaleBytes > 0 else { continue }
            // SAFETY: as above.
            UnsafeMutableRawPointer(scales.baseAddress + row * scaleBytes)
                .copyMemory(from: tokens.scales(place / tokens.topK), byteCount: scaleBytes)
        }
        rowOfChoice = experts
        self.counts = counts
        self.starts = starts
    }

    /// All rows, padding included.
    public var rowCount: Int { starts[counts.count] }

    /// The expert of each row, counted from the rank's first; −1 for padding: what contiguous grouped products take.
    public var expertOfRow: [Int32] {
        var experts = [Int32](repeating: -1, count: rowCount)
        for (expert, count) in counts.enumerated() {
            for row in starts[expert]..<starts[expert] + count { experts[row] = Int32(expert) }
        }
        return experts
    }
}
