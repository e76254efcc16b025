// SPDX-License-Identifier: MIT

/// Cuts a step's chunks among ranks: each chunk goes whole to one rank.
///
/// The chunk with the most work goes first, each to the rank with the least so far; of equals the first. Depends on its
/// arguments alone.
package enum StepPartition {
    /// Work of a chunk: its tokens, and the keys that they attend to, which cost about a 1024th of a token each.
    package static func work(_ chunk: SequenceChunk) -> Int {
        chunk.tokens.count * (1024 + chunk.firstPosition + chunk.tokens.count)
    }

    /// For each of `ranks` the indices of its chunks, ascending.
    package static func assign(_ chunks: [SequenceChunk], to ranks: [Int]) -> [[Int]] {
        precondition(!ranks.isEmpty)
        var loads = [Int](repeating: 0, count: ranks.count)
        var parts = [[Int]](repeating: [], count: ranks.count)
        let order = chunks.indices.sorted { (work(chunks[$1]), $0) < (work(chunks[$0]), $1) }
        for index in order {
            var target = 0
            for rank in loads.indices where loads[rank] < loads[target] { target = rank }
            loads[target] += work(chunks[index])
            parts[target].append(index)
        }
        return parts.map { $0.sorted() }
    }
}
