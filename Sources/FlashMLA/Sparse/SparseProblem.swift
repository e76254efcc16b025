// SPDX-License-Identifier: MIT

internal import Kernels

/// A checked call of sparse attention, as its items see it.
struct SparseProblem {
    var queries: MHATensor
    /// One or two; the list of a token is the first's and then the second's.
    var selections: [SparseSelection]
    /// Tokens of a request: they share lengths, and their log-sums are [requests, heads, tokens].
    var tokensPerRequest: Int
    var scale: Float
    /// [heads]; nil for none.
    var sinks: UnsafeBufferPointer<Float>?
    var results: SparseResults
    /// What is done to queries and results besides; then `results.out` only says how large they are.
    var fusion: SparseFusion?

    var tokenCount: Int { queries.tokenCount }
    var headCount: Int { queries.headCount }
    var rowWidth: Int { queries.width }
    var valueWidth: Int { results.out.width }

    /// Places in the list of a token: of both selections, whether they are read or not.
    var listCount: Int { selections.reduce(0) { $0 + $1.topK } }
    var partitionCount: Int { (listCount + partitionSize - 1) / partitionSize }

    /// Calls `body` with the pool and the row of every valid entry at `places` of the token's list, in order.
    @inline(__always)
    func forEachRow(token: Int, places: Range<Int>, _ body: (_ selection: Int, _ row: Int) -> Void) {
        var start = 0
        for selection in selections.indices {
            let width = selections[selection].topK
            let length = min(selections[selection].length(token / tokensPerRequest), width)
            let first = max(places.lowerBound - start, 0)
            let end = min(places.upperBound - start, length)
            start += width
            guard first < end else { continue }
            let rowCount = selections[selection].pool.rowCount
            for place in first..<end {
                let row = Int(selections[selection].indices[token * width + place])
                if row >= 0 && row < rowCount { body(selection, row) }
            }
        }
    }

    /// The place of a head's log-sum and maximum.
    func statistic(token: Int, head: Int) -> Int {
        let (request, i) = token.quotientAndRemainder(dividingBy: tokensPerRequest)
        return (request * headCount + head) * tokensPerRequest + i
    }
}
