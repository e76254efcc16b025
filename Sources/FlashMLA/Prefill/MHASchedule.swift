// SPDX-License-Identifier: MIT

internal import Workers

/// How attention is cut into tasks: by the problem alone, so that results do not depend on the threads.
///
/// The keys of a request are cut for the backward pass; each part is one task per key head.
struct MHASchedule {
    /// Query rows, and keys, of a tile.
    static let tileRows = 96
    /// Query rows of a tile of the forward pass, which packs keys and values for each.
    static let forwardRows = 192
    static let tileKeys = 96
    /// Rows or keys of a tile that crosses the causal limit which are multiplied at once; a multiple of the
    /// kernels' six rows.
    static let edgeRows = 24
    /// The backward pass cuts the keys of a request so that there are about this many tasks.
    static let targetTasks = 32
    /// Parts of one request's keys, and so float copies of the query gradients, at most.
    static let maximumParts = 8
    /// Tasks that a team is given at once; each works through every `taskLimit`-th.
    private static let taskLimit = 1 << 16

    /// A part of the keys of one request, and where its copy of the query gradients begins in the workspace.
    struct KeyPart {
        var request: Int
        var keys: Range<Int>
        var firstGradientRow: Int
    }

    /// The key parts of each request, in ascending order, and the rows of query gradients that they need together.
    static func keyParts(_ problem: MHAProblem, group: Int, keyHeads: Int) -> (parts: [[KeyPart]], rowCount: Int) {
        let requests = (0..<problem.requestCount).map { MHARows(problem, request: $0, group: group) }
        let total = requests.reduce(0) { $0 + $1.visiblePairs(keys: 0..<$1.keyCount) } * keyHeads
        var rowCount = 0
        var parts: [[KeyPart]] = []
        for (request, rows) in requests.enumerated() {
            let work = rows.visiblePairs(keys: 0..<rows.keyCount)
            let wanted = total == 0 ? 1 : (work * targetTasks + total - 1) / total
            let blocks = (rows.keyCount + tileKeys - 1) / tileKeys
            let ranges = cut(rows, into: max(1, min(wanted, maximumParts, blocks / 4)))
            parts.append(
                ranges.map { keys in
                    defer { rowCount += rows.rowCount * keyHeads }
                    return KeyPart(request: request, keys: keys, firstGradientRow: rowCount)
                })
        }
        return (parts, rowCount)
    }

    /// Cuts a request's keys at whole tiles into parts of about equal work.
    private static func cut(_ rows: MHARows, into count: Int) -> [Range<Int>] {
        guard rows.keyCount > 0 else { return [] }
        let work = rows.visiblePairs(keys: 0..<rows.keyCount)
        var result: [Range<Int>] = []
        var first = 0
        var done = 0
        for start in stride(from: 0, to: rows.keyCount, by: tileKeys) {
            let end = min(start + tileKeys, rows.keyCount)
            done += rows.visiblePairs(keys: start..<end)
            if end == rows.keyCount || done * count >= work * (result.count + 1) && result.count + 1 < count {
                result.append(first..<end)
                first = end
            }
        }
        return result
    }

    /// Calls `body` for each of `count` indices, from no more tasks than a team may be given.
    static func run(_ count: Int, on team: WorkerTeam, _ body: (_ index: Int, _ worker: Int) -> Void) {
        let tasks = min(count, taskLimit)
        team.run(taskCount: tasks) { task, worker in
            for index in stride(from: task, to: count, by: tasks) { body(index, worker) }
        }
    }
}
