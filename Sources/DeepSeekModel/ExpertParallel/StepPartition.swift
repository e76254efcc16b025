// SPDX-License-Identifier: MIT

/// Cuts a step's chunks among ranks: each chunk goes whole to one rank.
///
/// The chunk with the most work goes first, each to the rank that would be through with it first: so to the rank that
/// holds its cache blocks, unless that has far more to do than others; of equals the first. Depends on its arguments
/// alone.
package enum StepPartition {
    /// Work of a chunk: its tokens, and the keys that they attend to, which cost about a 1024th of a token each.
    package static func work(_ chunk: SequenceChunk) -> Int {
        chunk.tokens.count * (1024 + chunk.firstPosition + chunk.tokens.count)
    }

    /// Work of fetching a cache block from another rank: that of 16 tokens, for the 64 that it holds.
    package static let workOfCopy = 16 * 1024

    /// For each of `ranks` the indices of its chunks, ascending.
    ///
    /// - Parameter missing: how many cache blocks a rank lacks to run a chunk.
    package static func assign(
        _ chunks: [SequenceChunk], to ranks: [Int], missing: (SequenceChunk, _ rank: Int) -> Int = { _, _ in 0 }
    ) -> [[Int]] {
        precondition(!ranks.isEmpty)
        var loads = [Int](repeating: 0, count: ranks.count)
        var parts = [[Int]](repeating: [], count: ranks.count)
        let order = chunks.indices.sorted { (work(chunks[$1]), $0) < (work(chunks[$0]), $1) }
        for index in order {
            let ends = ranks.indices.map { loads[$0] + workOfCopy * missing(chunks[index], ranks[$0]) }
            var target = 0
            for rank in ends.indices where ends[rank] < ends[target] { target = rank }
            loads[target] = ends[target] + work(chunks[index])
            parts[target].append(index)
        }
        return parts.map { $0.sorted() }
    }
}
