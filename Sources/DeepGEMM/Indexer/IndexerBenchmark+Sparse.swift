// SPDX-License-Identifier: MIT

public import KernelDispatch
public import Platform

extension IndexerBenchmark {
    /// Times the sparse indexer's logits: each query scores blocks of its own, spread over its whole context in random
    /// order.
    ///
    /// - Parameters:
    ///   - contextLength: tokens that each query could see.
    ///   - listBlockSize: tokens of a listed block.
    ///   - blocksPerQuery: listed blocks.
    ///   - blockSize: tokens per block of a paged cache; nil for the plain form.
    ///   - minimumSeconds: how long to repeat; at least three runs.
    /// - Throws: `usage` for an unknown format, an extent below 1, or a list longer than the context.
    public static func measureSparse(
        queryCount: Int, headCount: Int = 64, depth: Int = 128, contextLength: Int, listBlockSize: Int = 16,
        blocksPerQuery: Int = 256, format: String = "float8E4M3", blockSize: Int? = nil, minimumSeconds: Double,
        on context: ComputeContext
    ) throws(FathomError) -> IndexerBenchmark {
        let parsed = try self.format(named: format)
        for (name, extent) in [
            ("queries", queryCount), ("heads", headCount), ("depth", depth), ("tokens a block", listBlockSize),
            ("blocks a query", blocksPerQuery),
        ] where extent < 1 {
            throw FathomError(.usage, "the sparse indexer's benchmark with \(extent) \(name); at least 1 is legal")
        }
        guard contextLength <= Int(Int32.max), contextLength / listBlockSize >= blocksPerQuery else {
            throw FathomError(
                .usage,
                "\(blocksPerQuery) blocks of \(listBlockSize) tokens of a context of \(contextLength); fewer blocks "
                    + "or up to \(Int32.max) tokens are legal")
        }
        let queries = try IndexerQueries(
            values: randomRows(queryCount * headCount, depth, parsed, seed: 1, context), headCount: headCount,
            weights: randomNumbers(queryCount, headCount, seed: 2))
        let lists = try randomLists(queryCount, contextLength / listBlockSize, blocksPerQuery, listBlockSize)
        let logits = try IndexerLogits(rowCount: queryCount, columnCount: lists.columnCount)
        let run: () throws(FathomError) -> Void
        if let blockSize {
            let paged = try PagedInput(
                queryCount: queryCount, keyCount: contextLength, depth: depth, format: parsed, blockSize: blockSize,
                context)
            run = { () throws(FathomError) in
                try pagedSparseMQALogits(
                    queries, cache: paged.cache, lengths: paged.lengths, table: paged.table, lists: lists,
                    into: logits, on: context)
            }
        } else {
            let keys = try randomRows(contextLength, depth, parsed, seed: 3, context)
            run = { () throws(FathomError) in
                try sparseMQALogits(queries, keys: keys, lists: lists, into: logits, on: context)
            }
        }
        return IndexerBenchmark(
            queryCount: queryCount, headCount: headCount, depth: depth, keyCount: lists.columnCount, format: parsed,
            blockSize: blockSize, seconds: try median(minimumSeconds: minimumSeconds, run))
    }

    /// Different blocks for each query, in random order.
    private static func randomLists(
        _ rows: Int, _ blocks: Int, _ count: Int, _ size: Int
    ) throws(FathomError) -> IndexerBlockLists {
        var random = Sequence(seed: 7)
        var entries: [Int32] = []
        for _ in 0..<rows {
            // One block of each of `count` equal parts of the context, then shuffled.
            var row = (0..<count).map { part -> Int32 in
                let (first, end) = (part * blocks / count, (part + 1) * blocks / count)
                return Int32(min(first + Int((random.next() + 0.5) * Float(end - first)), end - 1))
            }
            for index in row.indices {
                let other = Int((random.next() + 0.5) * Float(count))
                row.swapAt(index, min(other, count - 1))
            }
            entries += row
        }
        return try IndexerBlockLists(entries, rowCount: rows, blocksPerRow: count, blockSize: size)
    }
}
