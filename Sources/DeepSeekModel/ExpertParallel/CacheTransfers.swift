// SPDX-License-Identifier: MIT

/// The cache blocks that ranks send to each other before a step, so that each has those of its chunks.
struct CacheTransfers {
    /// By member, what it sends, and the ranks that send to it.
    private(set) var copies: [[StepMessage.Copy]]
    private(set) var sources: [Set<Int32>]

    /// - Parameters:
    ///   - parts: for each of `members` the indices of its chunks.
    ///   - directory: nil where all ranks share one cache.
    init(_ chunks: [SequenceChunk], _ parts: [[Int]], members: [Int32], directory: CacheDirectory?) {
        copies = Array(repeating: [], count: members.count)
        sources = Array(repeating: [], count: members.count)
        guard let directory else { return }
        for (index, part) in parts.enumerated() {
            var blocks: Set<Int32> = []
            for chunk in part {
                for block in directory.missing(chunks[chunk], at: Int(members[index]))
                where blocks.insert(block).inserted {
                    guard let holder = directory.holder(of: block),
                        let source = members.firstIndex(of: Int32(holder))
                    else { continue }
                    copies[source].append(StepMessage.Copy(block: block, target: members[index]))
                    sources[index].insert(Int32(holder))
                }
            }
        }
    }
}
