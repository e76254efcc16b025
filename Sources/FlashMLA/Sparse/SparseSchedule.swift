// SPDX-License-Identifier: MIT

/// A share of a sparse attention call for one thread: some heads of a token over some partitions of its list.
struct SparseItem: Equatable {
    var token: Int
    var heads: Range<Int>
    var partitions: Range<Int>
}

/// How a sparse attention call is cut into items. What is cut where changes no bit of the results.
struct SparseSchedule {
    /// Heads that an item has at most: they share the work of gathering rows.
    static let maximumHeads = 128
    /// Heads below which items are not cut further.
    private static let minimumHeads = 8

    let tokenCount: Int
    let headCount: Int
    let partitionCount: Int
    let headsPerItem: Int
    /// Whether every partition is an item, which stores its sums for a combining pass.
    let isSplit: Bool

    /// - Parameter threadCount: threads to keep busy; two items for each, if the work can be cut so. Partitions are
    ///   cut first, because heads that are apart gather the same rows again.
    init(tokenCount: Int, headCount: Int, partitionCount: Int, threadCount: Int) {
        self.tokenCount = tokenCount
        self.headCount = headCount
        self.partitionCount = partitionCount
        let wanted = threadCount == 1 ? 1 : 2 * threadCount
        var heads = min(headCount, Self.maximumHeads)
        func items(_ heads: Int) -> Int { tokenCount * ((headCount + heads - 1) / heads) }
        isSplit = items(heads) < wanted && partitionCount > 1
        let parts = isSplit ? partitionCount : 1
        while items(heads) * parts < wanted && heads > Self.minimumHeads { heads = (heads + 1) / 2 }
        headsPerItem = heads
    }

    var headGroups: Int { (headCount + headsPerItem - 1) / headsPerItem }
    /// Tiles: some heads of a token over its whole list.
    var tileCount: Int { tokenCount * headGroups }
    var itemCount: Int { isSplit ? tileCount * partitionCount : tileCount }

    /// Tile `index`, whole.
    func tile(_ index: Int) -> SparseItem {
        let (token, group) = index.quotientAndRemainder(dividingBy: headGroups)
        let first = group * headsPerItem
        return SparseItem(
            token: token, heads: first..<min(first + headsPerItem, headCount), partitions: 0..<partitionCount)
    }

    /// Item `index`; those of one tile follow each other, partition 0 first.
    func item(_ index: Int) -> SparseItem {
        guard isSplit else { return tile(index) }
        let (tile, partition) = index.quotientAndRemainder(dividingBy: partitionCount)
        var item = self.tile(tile)
        item.partitions = partition..<partition + 1
        return item
    }
}
