// SPDX-License-Identifier: MIT

// SAFETY: In this file pointers are offsets into a worker's scratch memory, which has room for the keys asked for, or
// columns of one row of the logits that only the running task writes.

internal import KernelDispatch
internal import Kernels

/// Tokens that lie together in the context and in the list: key `first` of the packed keys and those after it.
private struct SparsePiece {
    /// Place among the packed keys.
    var first: Int
    /// Place in the logits' row, never below `first`.
    var column: Int
    var token: Int
    var count: Int
}

/// The tokens of a stretch of one query's list that the query sees, packed without the gaps between them.
///
/// So they are decoded and multiplied as if they were consecutive keys, and their logits moved to their columns after.
struct SparseIndexerKeys<Source: IndexerKeySource>: IndexerKeySource {
    private let source: Source
    private let pieces: [SparsePiece]
    private let columns: Range<Int>
    /// How many keys there are.
    let count: Int

    /// - Parameters:
    ///   - columns: the stretch of the row's columns; whole ones of the logits.
    ///   - visible: the tokens that the query sees, all of which the source has.
    init(_ source: Source, list: ArraySlice<Int32>, blockSize: Int, columns: Range<Int>, visible: Range<Int>) {
        var pieces: [SparsePiece] = []
        var count = 0
        var column = columns.lowerBound
        while column < columns.upperBound {
            let (entry, offset) = column.quotientAndRemainder(dividingBy: blockSize)
            let end = min((entry + 1) * blockSize, columns.upperBound)
            let block = Int(list[list.startIndex + entry])
            if block >= 0 {
                let first = block * blockSize + offset
                let tokens = (first..<first + end - column).clamped(to: visible)
                if !tokens.isEmpty {
                    let place = column + tokens.lowerBound - first
                    if let last = pieces.last, last.token + last.count == tokens.lowerBound,
                        last.column + last.count == place
                    {
                        pieces[pieces.count - 1].count += tokens.count
                    } else {
                        pieces.append(
                            SparsePiece(first: count, column: place, token: tokens.lowerBound, count: tokens.count))
                    }
                    count += tokens.count
                }
            }
            column = end
        }
        self.source = source
        self.pieces = pieces
        self.columns = columns
        self.count = count
    }

    func decode(
        keys: Range<Int>, to destination: UnsafeMutablePointer<Float>, stride: Int,
        scales: UnsafeMutablePointer<Float>, _ kernels: KernelTable
    ) {
        var index = piece(of: keys.lowerBound)
        var key = keys.lowerBound
        while key < keys.upperBound {
            let piece = pieces[index]
            let end = min(piece.first + piece.count, keys.upperBound)
            let token = piece.token + key - piece.first
            let row = key - keys.lowerBound
            source.decode(
                keys: token..<token + end - key, to: destination + row * stride, stride: stride, scales: scales + row,
                kernels)
            key = end
            index += 1
        }
    }

    /// The last piece that does not begin beyond a key.
    private func piece(of key: Int) -> Int {
        var low = 0
        var high = pieces.count
        while high - low > 1 {
            let middle = (low + high) / 2
            if pieces[middle].first <= key { low = middle } else { high = middle }
        }
        return low
    }

    /// Moves a row's logits from where packed keys stand, at the front of the stretch, to their columns, and writes −∞
    /// to the other columns of it.
    func spread(_ logits: IndexerLogits, row: Int) {
        let size = logits.element.byteCount
        let base = logits.baseAddress + row * logits.rowStride * size
        var end = columns.upperBound
        // Backwards, because a piece moves to the right or stays.
        for piece in pieces.reversed() {
            let packed = base + (columns.lowerBound + piece.first) * size
            let place = base + piece.column * size
            if packed != place { place.copyMemory(from: packed, byteCount: piece.count * size) }
            logits.fill(row: row, columns: piece.column + piece.count..<end)
            end = piece.column
        }
        logits.fill(row: row, columns: columns.lowerBound..<end)
    }
}
