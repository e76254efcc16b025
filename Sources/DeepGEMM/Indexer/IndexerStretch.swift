// SPDX-License-Identifier: MIT

// SAFETY: In this file all pointers are offsets into one worker's scratch memory as `IndexerPlan` divides it, or rows
// of the logits that only the running task writes.

internal import KernelDispatch
internal import Kernels
internal import LowPrecision

/// Where a stretch's keys come from.
protocol IndexerKeySource {
    /// Decodes keys to rows `stride` floats apart, and writes their scales.
    func decode(
        keys: Range<Int>, to destination: UnsafeMutablePointer<Float>, stride: Int,
        scales: UnsafeMutablePointer<Float>, _ kernels: KernelTable)
}

extension IndexerMatrix: IndexerKeySource {
    func decode(
        keys: Range<Int>, to destination: UnsafeMutablePointer<Float>, stride: Int,
        scales: UnsafeMutablePointer<Float>, _ kernels: KernelTable
    ) {
        decode(rows: keys, to: destination, stride: stride, kernels)
        // SAFETY: one scale per row, and room for one per key.
        if let rowScales {
            scales.update(from: rowScales + keys.lowerBound, count: keys.count)
        } else {
            scales.update(repeating: 1, count: keys.count)
        }
    }
}

/// What one query row sees and where its logits go: key j to column j − origin, for the keys in `visible`.
struct IndexerRow {
    var row: Int
    var visible: Range<Int>
    var origin: Int
}

/// How a worker's scratch memory is divided for one number of heads and one depth.
///
/// Keys are decoded in blocks of up to 96; queries are packed once for a whole stretch of keys where they fit, else in
/// groups of heads for every block of keys. None of that changes a bit of the result.
struct IndexerPlan {
    let headCount: Int
    let depth: Int
    let keyStride: Int
    let keyBlock: Int
    /// Heads packed at a time: all, or a multiple of 16.
    let headsPerGroup: Int
    /// Query rows that share a stretch's decoded keys.
    let rowsPerStretch: Int
    private let keyRows: Int

    static let maximumKeyBlock = 96
    /// Rows that share decoded keys: eight where scratch memory allows, more while their packed heads stay small enough
    /// for the second-level cache.
    static let minimumRows = 8
    static let maximumRows = 64
    static let packedFloats = 1 << 16

    init(headCount: Int, depth: Int) {
        self.headCount = headCount
        self.depth = depth
        // The excess keeps rows from falling on the same cache sets.
        keyStride = ceilDivide(depth, 8) * 8 + 16
        let tile = indexerKeyTile
        let half = ComputeContext.scratchCount / 2
        let fitting = (half / (keyStride + 16) - tile) / tile * tile
        keyBlock = max(tile, min(Self.maximumKeyBlock, fitting))
        keyRows = keyBlock + tile
        let used = keyRows * (keyStride + 16) + depth + 64
        let left = ComputeContext.scratchCount - used
        let floatsPerHead = depth + 1
        if Self.padded(headCount) * floatsPerHead <= left {
            headsPerGroup = headCount
            let floatsPerRow = max(1, Self.padded(headCount) * floatsPerHead)
            rowsPerStretch = min(
                left / floatsPerRow, max(Self.minimumRows, min(Self.maximumRows, Self.packedFloats / floatsPerRow)))
        } else {
            headsPerGroup = max(16, left / floatsPerHead / 16 * 16)
            rowsPerStretch = Self.minimumRows
        }
    }

    /// Lanes that `heads` take: panels of sixteen, the last of eight where eight suffice.
    static func padded(_ heads: Int) -> Int {
        ceilDivide(heads, 8) * 8
    }

    /// Whether a stretch's rows are packed once.
    var isResident: Bool { headsPerGroup == headCount }

    // Offsets in scratch, in floats.
    var scaleOffset: Int { keyRows * keyStride }
    var sumOffset: Int { scaleOffset + keyRows }
    var lineOffset: Int { sumOffset + keyRows * 8 }
    var headOffset: Int { lineOffset + keyRows }
    var queryOffset: Int { headOffset + depth + 16 }
    /// Floats of one packed row or group: panels, then weights.
    var queryCount: Int { Self.padded(headsPerGroup) * (depth + 1) }
}

/// Computes the logits of a few query rows against a stretch of keys, in one worker's scratch memory.
struct IndexerStretch<Source: IndexerKeySource> {
    let plan: IndexerPlan
    let queries: IndexerQueries
    let source: Source
    let logits: IndexerLogits
    let kernels: KernelTable
    let scratch: UnsafeMutablePointer<Float>

    /// Writes the logits of every row for the keys that it sees among `keys`. At most `plan.rowsPerStretch` rows.
    func compute(rows: [IndexerRow], keys: Range<Int>) {
        let seen = rows.map { $0.visible.clamped(to: keys) }
        guard let first = seen.filter({ !$0.isEmpty }).map(\.lowerBound).min(),
            let end = seen.filter({ !$0.isEmpty }).map(\.upperBound).max()
        else { return }
        if plan.isResident {
            for (index, row) in rows.enumerated() where !seen[index].isEmpty {
                pack(row: row.row, heads: 0..<plan.headCount, slot: index)
            }
        }
        var block = first
        while block < end {
            let blockEnd = min(block + plan.keyBlock, end)
            // SAFETY: keys and scales of a block have room for `keyBlock` and a tile more.
            source.decode(
                keys: block..<blockEnd, to: scratch, stride: plan.keyStride, scales: scratch + plan.scaleOffset,
                kernels)
            for (index, row) in rows.enumerated() {
                let part = seen[index].clamped(to: block..<blockEnd)
                if !part.isEmpty { compute(row, slot: index, keys: part, block: block) }
            }
            block = blockEnd
        }
    }

    /// One row against the part of a decoded block that it sees.
    private func compute(_ row: IndexerRow, slot: Int, keys: Range<Int>, block: Int) {
        // SAFETY: all offsets lie inside the worker's scratch, as `IndexerPlan` divides it. The kernel may read up to
        // a tile beyond the last key, which the plan's rows allow for.
        let sums = scratch + plan.sumOffset
        let tile = indexerKeyTile
        sums.update(repeating: 0, count: ceilDivide(keys.count, tile) * tile * 8)
        let offset = keys.lowerBound - block
        var head = 0
        while head < plan.headCount {
            let end = min(head + plan.headsPerGroup, plan.headCount)
            if !plan.isResident { pack(row: row.row, heads: head..<end, slot: 0) }
            let query = scratch + plan.queryOffset + (plan.isResident ? slot : 0) * plan.queryCount
            var arguments = IndexerLogitsArguments(
                panels: UnsafePointer(query),
                weights: UnsafePointer(query + IndexerPlan.padded(plan.headsPerGroup) * plan.depth),
                headCount: end - head, depth: plan.depth,
                keys: UnsafePointer(scratch + offset * plan.keyStride), keyStride: plan.keyStride,
                keyCount: keys.count, sums: sums)
            kernels.indexerLogits(&arguments)
            head = end
        }
        let scales = UnsafePointer(scratch + plan.scaleOffset + offset)
        let place = row.row * logits.rowStride + keys.lowerBound - row.origin
        switch logits.element {
        case .float32:
            let out = (logits.baseAddress + place * 4).assumingMemoryBound(to: Float.self)
            kernels.finishIndexerLogits(sums, scales, out, keys.count)
        case .bfloat16:
            let line = scratch + plan.lineOffset
            kernels.finishIndexerLogits(sums, scales, line, keys.count)
            let out = (logits.baseAddress + place * 2).assumingMemoryBound(to: UInt16.self)
            kernels.roundBFloat16(line, out, keys.count)
        }
    }

    /// Decodes heads of a query into panels of sixteen lanes, and their weights behind the panels.
    private func pack(row: Int, heads: Range<Int>, slot: Int) {
        // SAFETY: the slot has `queryCount` floats; `head` has `depth`.
        let query = scratch + plan.queryOffset + slot * plan.queryCount
        let weights = query + IndexerPlan.padded(plan.headsPerGroup) * plan.depth
        let line = scratch + plan.headOffset
        query.update(repeating: 0, count: IndexerPlan.padded(heads.count) * plan.depth)
        for (index, head) in heads.enumerated() {
            let valueRow = row * queries.headCount + head
            queries.values.decode(rows: valueRow..<valueRow + 1, to: line, stride: plan.depth, kernels)
            let panel = index / 16 * 16
            let width = heads.count - panel > 8 ? 16 : 8
            kernels.packIndexerHead(line, query + panel * plan.depth, index - panel, width, plan.depth)
            // SAFETY: one scale per row of FP8 queries.
            let scale = queries.values.rowScales.map { $0[valueRow] } ?? 1
            weights[index] = queries.weights.value(row: row, column: head) * scale
        }
    }
}
