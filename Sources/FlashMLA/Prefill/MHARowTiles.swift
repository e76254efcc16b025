// SPDX-License-Identifier: MIT

/// The tiles of query rows of all requests and key heads, one task each, without a list of them.
///
/// The tiles of one key head follow each other, so that its keys and values stay in the shared cache. Requests with
/// much work come first, and in each the tiles that see most, so that the threads end together.
struct MHARowTiles {
    /// A tile of rows of one request and key head.
    struct Tile {
        var request: Int
        var keyHead: Int
        var rows: Range<Int>
    }

    private let keyHeads: Int
    private let tileRows: Int
    /// Requests that have queries, in order of their tasks, with the index of their first and their rows.
    private var runs: [(request: Int, firstIndex: Int, rowCount: Int)] = []
    /// Tiles in all.
    private(set) var count = 0

    init(_ problem: MHAProblem, group: Int, keyHeads: Int, tileRows: Int) {
        self.keyHeads = keyHeads
        self.tileRows = tileRows
        let requests = (0..<problem.requestCount).map { request in
            let rows = MHARows(problem, request: request, group: group)
            return (request: request, rowCount: rows.rowCount, work: rows.visiblePairs(keys: 0..<rows.keyCount))
        }
        for entry in requests.sorted(by: { $0.work > $1.work }) where entry.rowCount > 0 {
            runs.append((entry.request, count, entry.rowCount))
            count += (entry.rowCount + tileRows - 1) / tileRows * keyHeads
        }
    }

    /// The tile of task `index`, which is below `count`.
    subscript(index: Int) -> Tile {
        var low = 0
        var high = runs.count
        while high - low > 1 {
            let middle = (low + high) / 2
            if runs[middle].firstIndex <= index { low = middle } else { high = middle }
        }
        let run = runs[low]
        let tiles = (run.rowCount + tileRows - 1) / tileRows
        let local = index - run.firstIndex
        let first = (tiles - 1 - local % tiles) * tileRows
        return Tile(
            request: run.request, keyHead: local / tiles, rows: first..<min(first + tileRows, run.rowCount))
    }
}
