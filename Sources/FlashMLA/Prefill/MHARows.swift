// SPDX-License-Identifier: MIT

/// The query rows of one request that share a key head: row r is head `r % group` of the group, token `r / group`.
///
/// So the heads of a group read a packed block of keys together, and visibility never falls from row to row.
struct MHARows {
    /// Query heads per key head.
    var group: Int
    var firstToken: Int
    var queryCount: Int
    var firstKey: Int
    var keyCount: Int
    var isCausal: Bool

    /// - Parameter request: an index below `problem.requestCount`.
    init(_ problem: MHAProblem, request: Int, group: Int) {
        self.group = group
        firstToken = Int(problem.queryOffsets[request])
        queryCount = Int(problem.queryOffsets[request + 1]) - firstToken
        firstKey = Int(problem.keyOffsets[request])
        keyCount = Int(problem.keyOffsets[request + 1]) - firstKey
        isCausal = problem.isCausal
    }

    var rowCount: Int { queryCount * group }

    /// How many of the request's keys row r sees: the first ones.
    func limit(_ row: Int) -> Int {
        isCausal ? max(0, row / group + 1 + keyCount - queryCount) : keyCount
    }

    /// The first row that sees key `key`; `rowCount` at most.
    func firstRow(seeing key: Int) -> Int {
        isCausal ? min(max(0, key + queryCount - keyCount), queryCount) * group : 0
    }

    /// Pairs of a row and a key that it sees, among these keys.
    func visiblePairs(keys: Range<Int>) -> Int {
        guard isCausal, !keys.isEmpty, queryCount > 0 else { return rowCount * keys.count }
        // Key k is seen by the tokens from k + queryCount − keyCount on.
        let seen = keys.count * keyCount - (keys.lowerBound + keys.upperBound - 1) * keys.count / 2
        guard keyCount > queryCount else { return seen * group }
        // The first keys are seen by every token and no more.
        let excess = 0..<min(keyCount - queryCount, keys.upperBound)
        guard keys.lowerBound < excess.upperBound else { return seen * group }
        let extra = (keys.lowerBound..<excess.upperBound).count
        let surplus = extra * (keyCount - queryCount) - (keys.lowerBound + excess.upperBound - 1) * extra / 2
        return (seen - surplus) * group
    }
}
