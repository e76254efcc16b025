// SPDX-License-Identifier: MIT

internal import Kernels
internal import Telemetry

/// How an attention call is cut into items of about equal cost, the longest first.
///
/// Rows share the work of reading and decoding keys, so up to 64 of them stay together, and a request is cut along its
/// keys before its heads are cut further. The cut never moves a partition's borders, so it changes no bit.
package struct AttentionSchedule: Sendable, Equatable {
    /// In the order in which threads take them: by falling cost.
    package private(set) var items: [AttentionItem] = []
    /// Rows that several items share, in the order of requests.
    package private(set) var merges: [AttentionMerge] = []
    /// Rows of sums that items store, all together.
    package private(set) var storedRowCount = 0

    /// Rows (a head of a token) that one item has at most.
    package static let maximumRows = 64
    /// Rows below which items are not cut further by heads.
    private static let minimumRows = 8
    /// What reading and decoding a block of keys costs, in rows.
    private static let blockShare = 4
    /// What an item costs besides its keys: gathering queries, finishing rows, and being handed out.
    private static let itemShare = 16
    /// An item of more than this share of a thread's part is cut along its keys: into one piece of that share
    /// and others of half of it.
    private static let itemsPerThread = 4

    /// - Parameters:
    ///   - headCount: query heads, a multiple of `keyHeadCount`.
    ///   - threadCount: threads to keep busy.
    package init(extents: [AttentionExtent], headCount: Int, keyHeadCount: Int, threadCount: Int) {
        let span = Spans.begin()
        defer { Spans.end(span, .schedule, extents.count, threadCount) }
        var rowLimit = Self.maximumRows
        var tiles = Self.tiles(extents, headCount, keyHeadCount, rowLimit)
        let wanted = threadCount == 1 ? 1 : 2 * threadCount
        // Rows part only where there are too few partitions to keep the threads busy.
        while rowLimit > Self.minimumRows, tiles.reduce(0, { $0 + max(1, $1.partitions.count) }) < wanted {
            rowLimit /= 2
            tiles = Self.tiles(extents, headCount, keyHeadCount, rowLimit)
        }
        let total = tiles.reduce(0) { $0 + $1.cost }
        let limit = threadCount == 1 ? Int.max : max(1, total / (Self.itemsPerThread * threadCount))
        for tile in tiles {
            if tile.cost > limit, tile.partitions.count > 1 {
                append(tile, limit: limit, extents[tile.rows.request])
            } else {
                items.append(tile)
            }
        }
        items = Self.byFallingCost(items)
    }

    /// Cuts a tile of more than `limit` along its keys and lays out the sums of its pieces.
    ///
    /// The first piece is the longest: it stores one set of sums, the others one for each partition.
    private mutating func append(_ tile: AttentionItem, limit: Int, _ extent: AttentionExtent) {
        let count = tile.partitions.count
        let first = max(1, count * limit / tile.cost)
        let rest = count - first
        let pieces = min(rest, (2 * (tile.cost - limit) - 1) / limit + 1)
        let start = storedRowCount
        for piece in 0...pieces {
            let partitions =
                piece == 0 ? 0..<first : first + (piece - 1) * rest / pieces..<first + piece * rest / pieces
            items.append(
                AttentionItem(
                    rows: tile.rows, partitions: partitions, storedRows: storedRowCount,
                    cost: Self.cost(tile.rows, partitions, extent)))
            storedRowCount += (piece == 0 ? 1 : partitions.count) * tile.rows.count
        }
        merges.append(
            AttentionMerge(
                rows: tile.rows, storedRows: start, setCount: (storedRowCount - start) / tile.rows.count))
    }

    /// Stable, so that items that read the same keys stay neighbours.
    private static func byFallingCost(_ items: [AttentionItem]) -> [AttentionItem] {
        let order = items.indices.sorted { (items[$0].cost, $1) > (items[$1].cost, $0) }
        return order.map { items[$0] }
    }

    /// Items of at most `rowLimit` rows, each over all keys that its rows see.
    private static func tiles(
        _ extents: [AttentionExtent], _ headCount: Int, _ keyHeadCount: Int, _ rowLimit: Int
    ) -> [AttentionItem] {
        let group = headCount / keyHeadCount
        let parts = (group + rowLimit - 1) / rowLimit
        let headsPerItem = (group + parts - 1) / parts
        let tokensPerItem = max(1, rowLimit / headsPerItem)
        var items: [AttentionItem] = []
        for (request, extent) in extents.enumerated() {
            for token in stride(from: 0, to: extent.tokenCount, by: tokensPerItem) {
                let tokens = token..<min(token + tokensPerItem, extent.tokenCount)
                let partitions = 0..<(extent.visible(tokens.upperBound - 1) + partitionSize - 1) / partitionSize
                for keyHead in 0..<keyHeadCount {
                    for head in stride(from: 0, to: group, by: headsPerItem) {
                        let heads = keyHead * group + head..<keyHead * group + min(head + headsPerItem, group)
                        let rows = AttentionRows(request: request, tokens: tokens, heads: heads)
                        items.append(
                            AttentionItem(
                                rows: rows, partitions: partitions, storedRows: nil,
                                cost: cost(rows, partitions, extent)))
                    }
                }
            }
        }
        return items
    }

    private static func cost(_ rows: AttentionRows, _ partitions: Range<Int>, _ extent: AttentionExtent) -> Int {
        let end = min(partitions.upperBound * partitionSize, extent.visible(rows.tokens.upperBound - 1))
        let keys = max(0, end - partitions.lowerBound * partitionSize)
        let blocks = (keys + attentionBlockSize - 1) / attentionBlockSize
        return blocks * (rows.count + blockShare) + itemShare
    }
}
