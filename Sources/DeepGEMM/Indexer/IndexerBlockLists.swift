// SPDX-License-Identifier: MIT

public import Platform

/// The blocks of consecutive tokens that each query of the sparse indexer scores, [rowCount, blocksPerRow].
///
/// Entry e of a row is a block number b: its columns e · blockSize … of the logits are the tokens b · blockSize …; −1
/// is a hole. Numbers count the tokens of the query's own context, also in the paged form. A row may name blocks in any
/// order and more than once.
public struct IndexerBlockLists: Sendable {
    /// Block numbers, row-major; −1 for none.
    public let entries: [Int32]
    /// How many queries there are.
    public let rowCount: Int
    /// Entries of a row.
    public let blocksPerRow: Int
    /// Tokens of a block: DeepGEMM's kernels know 8 and 16, here any number is legal.
    public let blockSize: Int

    /// The largest block.
    public static var blockSizeLimit: Int { 1 << 20 }

    /// Columns of the logits: blocks of a row times tokens of a block.
    public var columnCount: Int { blocksPerRow * blockSize }

    /// - Throws: `usage` if the entries are not `rowCount` whole rows, naming an entry below −1, or for a block size or
    ///   a number of columns that is not legal.
    public init(_ entries: [Int32], rowCount: Int, blocksPerRow: Int, blockSize: Int) throws(FathomError) {
        guard blockSize >= 1, blockSize <= Self.blockSizeLimit else {
            throw FathomError(
                .usage, "blocks of \(blockSize) tokens for the sparse indexer; 1…\(Self.blockSizeLimit) is legal")
        }
        guard rowCount >= 0, blocksPerRow >= 0, blocksPerRow <= Int(Int32.max) / blockSize else {
            throw FathomError(
                .usage,
                "\(rowCount) block lists of \(blocksPerRow) entries; 0 or more of 0…\(Int(Int32.max) / blockSize) are "
                    + "legal with blocks of \(blockSize) tokens")
        }
        guard try elementCount([rowCount, blocksPerRow], of: "block lists") == entries.count else {
            throw FathomError(
                .usage,
                "\(entries.count) entries for \(rowCount) block lists of \(blocksPerRow); "
                    + "\(rowCount * blocksPerRow) is legal")
        }
        if let index = entries.firstIndex(where: { $0 < -1 }) {
            throw FathomError(
                .usage,
                "block list \(index / blocksPerRow), entry \(index % blocksPerRow): block \(entries[index]); −1 for "
                    + "none, 0 or more is legal")
        }
        self.entries = entries
        self.rowCount = rowCount
        self.blocksPerRow = blocksPerRow
        self.blockSize = blockSize
    }

    /// The tokens that columns of the logits stand for: what `topK` chose, as numbers of tokens.
    ///
    /// - Parameter columns: [rowCount, count] for any count, −1 for none, as `topK` gives them.
    /// - Returns: [rowCount, count]: column c of row r becomes entry ⌊c / blockSize⌋ · blockSize + c mod blockSize of
    ///   that row's list; none and columns of holes become −1.
    /// - Throws: `usage` if the columns are not whole rows, or naming one that is none of the logits'.
    public func tokens(ofColumns columns: [Int32]) throws(FathomError) -> [Int32] {
        guard rowCount == 0 ? columns.isEmpty : columns.count % rowCount == 0 else {
            throw FathomError(.usage, "\(columns.count) columns for \(rowCount) rows; equally many for each are legal")
        }
        let width = columns.count / max(rowCount, 1)
        var tokens = columns
        for (index, column) in columns.enumerated() where column != -1 {
            guard column >= 0, Int(column) < columnCount else {
                throw FathomError(
                    .usage,
                    "row \(index / width), choice \(index % width): column \(column); −1 or 0..<\(columnCount) is legal"
                )
            }
            let (entry, token) = Int(column).quotientAndRemainder(dividingBy: blockSize)
            let block = Int(entries[index / width * blocksPerRow + entry])
            // Blocks beyond 2³¹ tokens were never scored.
            tokens[index] = block < 0 ? -1 : Int32(clamping: block * blockSize + token)
        }
        return tokens
    }

    /// The entries of a row.
    func row(_ row: Int) -> ArraySlice<Int32> {
        entries[row * blocksPerRow..<(row + 1) * blocksPerRow]
    }

    /// Columns of a row up to the last block that is none of the holes at its end.
    func usedColumns(_ row: Int) -> Int {
        let list = self.row(row)
        return ((list.lastIndex { $0 >= 0 } ?? list.startIndex - 1) + 1 - list.startIndex) * blockSize
    }

    /// - Parameter tokens: tokens that there are for a row to name.
    /// - Throws: `usage` naming the first block that begins beyond them.
    func requireBlocks(tokens: (_ row: Int) -> Int) throws(FathomError) {
        for row in 0..<rowCount {
            let blocks = ceilDivide(tokens(row), blockSize)
            for (index, block) in self.row(row).enumerated() where Int(block) >= blocks {
                throw FathomError(
                    .usage,
                    "block list \(row), entry \(index): block \(block); −1 for none or 0..<\(blocks) is legal")
            }
        }
    }
}
