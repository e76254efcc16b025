// SPDX-License-Identifier: MIT

internal import LowPrecision
public import Platform
internal import Tensors

/// The layouts of DeepGEMM's `transform_sf_into_required_layout`, from a row-major grid and back.
///
/// A grid whose scales cover several rows (128×128 weights) is broadcast: each row gets a copy of its block's scale.
/// `collapsed(rows:)` undoes that.
extension ScaleGrid {
    /// Float32 with the rows fastest and runs aligned to 16 bytes: Hopper's layout of A's scales.
    ///
    /// - Throws: `unavailable` without memory.
    public func mnMajor() throws(FathomError) -> MNMajorScales {
        let extents = layoutExtents
        let count = try elementCount(
            [extents.groupCount, extents.blockCount, extents.leadingStride], of: "scales with rows fastest")
        let values = try AlignedBuffer<Float>(count: count, purpose: "scales with rows fastest")
        forEachRow { group, row, scales in
            for block in 0..<extents.blockCount {
                // SAFETY: group, block and row are inside the extents that the buffer was made for.
                let index = (group * extents.blockCount + block) * extents.leadingStride + row
                values.baseAddress[index] = scales[block]
            }
        }
        return MNMajorScales(extents: extents, values: values)
    }

    /// UE8M0, four K blocks in a word, with the rows fastest and runs aligned to 16 bytes: Blackwell's layout.
    ///
    /// - Throws: `badData` naming the first scale that is no power of two, with its place; `unavailable` without
    ///   memory.
    public func packedUE8M0() throws(FathomError) -> PackedScales {
        try packed(kGroupBlockCounts: [], wordCount: ceilDivide(columnBlocks, 4))
    }

    /// `packedUE8M0` for a matrix whose K is cut into groups (weight gradients): each group's blocks begin with a new
    /// word. DeepGEMM's `get_k_grouped_mn_major_tma_aligned_packed_ue8m0_tensor`.
    ///
    /// - Parameter kGroupSizes: elements of K in each group, multiples of the granularity, which add up to K.
    /// - Throws: `usage` naming the group that breaks that; `badData` as above.
    public func packedUE8M0(kGroupSizes: [Int]) throws(FathomError) -> PackedScales {
        var total = 0
        for (index, size) in kGroupSizes.enumerated() {
            guard size >= 0, size % granularity.columns == 0, size <= columnCount - total else {
                throw FathomError(
                    .usage,
                    "K group \(index) has \(size) elements; a multiple of \(granularity.columns) is legal, "
                        + "\(columnCount - total) elements of K are left")
            }
            total += size
        }
        guard total == columnCount else {
            throw FathomError(.usage, "K groups have \(total) elements in all; K is \(columnCount)")
        }
        let counts = kGroupSizes.map { $0 / granularity.columns }
        return try packed(
            kGroupBlockCounts: counts, wordCount: counts.reduce(0) { $0 + ceilDivide($1, 4) })
    }

    private func packed(kGroupBlockCounts: [Int], wordCount: Int) throws(FathomError) -> PackedScales {
        try requirePowersOfTwo()
        let extents = layoutExtents
        let count = try elementCount([extents.groupCount, wordCount, extents.leadingStride], of: "packed scales")
        let words = try AlignedBuffer<Int32>(count: count, purpose: "packed scales")
        let result = PackedScales(
            extents: extents, wordCount: wordCount, words: words, kGroupBlockCounts: kGroupBlockCounts)
        let places = (0..<extents.blockCount).map { result.wordPlace(ofBlock: $0) }
        forEachRow { group, row, scales in
            for (block, place) in places.enumerated() {
                guard let code = UE8M0(exactly: scales[block]) else { continue }
                // SAFETY: group, word and row are inside the extents that the buffer was made for.
                let index = (group * wordCount + place.word) * extents.leadingStride + row
                words.baseAddress[index] |= Int32(bitPattern: UInt32(code.bitPattern) << UInt32(8 * place.byte))
            }
        }
        return result
    }

    /// The same scales for blocks of one row each: a copy for every row.
    ///
    /// - Throws: `unavailable` without memory.
    public func broadcastToRows() throws(FathomError) -> ScaleGrid {
        let result = try ScaleGrid(
            granularity: ScaleGranularity(rows: 1, columns: granularity.columns), rowCount: rowCount,
            columnCount: columnCount, groupCount: groupCount)
        forEachRow { group, row, scales in
            for block in 0..<columnBlocks {
                // SAFETY: the result has one row of scales per row of the matrix.
                result.values.baseAddress[(group * rowCount + row) * columnBlocks + block] = scales[block]
            }
        }
        return result
    }

    /// One scale per `rows` rows where all rows of a block have the same: the inverse of `broadcastToRows`.
    ///
    /// - Throws: `usage` if this grid's blocks are not one row high or `rows` is below 1; `badData` naming the first
    ///   row whose scale differs from that of its block's first row.
    public func collapsed(rows: Int) throws(FathomError) -> ScaleGrid {
        guard granularity.rows == 1, rows >= 1 else {
            throw FathomError(
                .usage, "scales of \(granularity) cannot be collapsed to \(rows) rows; blocks of one row, and 1 or more"
            )
        }
        let result = try ScaleGrid(
            granularity: ScaleGranularity(rows: rows, columns: granularity.columns), rowCount: rowCount,
            columnCount: columnCount, groupCount: groupCount)
        for group in 0..<groupCount {
            for row in 0..<rowCount {
                for block in 0..<columnBlocks {
                    let scale = self[group: group, row: row, column: block]
                    let first = self[group: group, row: row / rows * rows, column: block]
                    guard scale.bitPattern == first.bitPattern else {
                        throw FathomError(
                            .badData,
                            "group \(group), row \(row), K block \(block): scale \(scale) differs from \(first) of row "
                                + "\(row / rows * rows); one scale per \(rows) rows needs equal ones")
                    }
                    // SAFETY: row / rows is inside the result's grid.
                    result.values.baseAddress[(group * result.rowBlocks + row / rows) * columnBlocks + block] = scale
                }
            }
        }
        return result
    }

    /// - Throws: `badData` naming the first scale that UE8M0 cannot hold.
    private func requirePowersOfTwo() throws(FathomError) {
        for index in 0..<values.count {
            // SAFETY: inside the buffer.
            let scale = values.baseAddress[index]
            guard UE8M0(exactly: scale) == nil else { continue }
            let block = index % columnBlocks
            let row = index / columnBlocks % rowBlocks
            throw FathomError(
                .badData,
                "group \(index / columnBlocks / rowBlocks), row block \(row), K block \(block): scale \(scale) is no "
                    + "power of two from 2^-127 to 2^127, which is all that UE8M0 holds; quantise with "
                    + "power-of-two scales")
        }
    }

    private var layoutExtents: ScaleLayoutExtents {
        ScaleLayoutExtents(
            rowCount: rowCount, blockColumns: granularity.columns, columnCount: columnCount, groupCount: groupCount)
    }

    /// Every row of every group with the scales of its K blocks.
    private func forEachRow(_ body: (_ group: Int, _ row: Int, _ scales: UnsafePointer<Float>) -> Void) {
        for group in 0..<groupCount {
            for row in 0..<rowCount {
                // SAFETY: the row of scales lies inside the grid.
                let offset = (group * rowBlocks + row / granularity.rows) * columnBlocks
                body(group, row, UnsafePointer(values.baseAddress + offset))
            }
        }
    }
}

extension MNMajorScales {
    /// The same scales in row-major order, one row of the matrix per row of the grid.
    ///
    /// - Throws: `unavailable` without memory.
    public func grid() throws(FathomError) -> ScaleGrid {
        try rowMajor(extents) { self[group: $0, row: $1, block: $2] }
    }
}

extension PackedScales {
    /// The same scales as float32 in row-major order, one row of the matrix per row of the grid.
    ///
    /// - Throws: `unavailable` without memory.
    public func grid() throws(FathomError) -> ScaleGrid {
        try rowMajor(extents) { Float(self[group: $0, row: $1, block: $2]) }
    }
}

private func rowMajor(
    _ extents: ScaleLayoutExtents, _ scale: (_ group: Int, _ row: Int, _ block: Int) -> Float
) throws(FathomError) -> ScaleGrid {
    let result = try ScaleGrid(
        granularity: ScaleGranularity(rows: 1, columns: extents.blockColumns), rowCount: extents.rowCount,
        columnCount: extents.columnCount, groupCount: extents.groupCount)
    for group in 0..<extents.groupCount {
        for row in 0..<extents.rowCount {
            for block in 0..<extents.blockCount {
                // SAFETY: the grid has these extents.
                let index = (group * extents.rowCount + row) * extents.blockCount + block
                result.values.baseAddress[index] = scale(group, row, block)
            }
        }
    }
    return result
}
