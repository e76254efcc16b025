// SPDX-License-Identifier: MIT

internal import Platform

// SAFETY: In this file ids, counts and offsets are read from the caller's memory, as many as the operands say, and rows
// of padding are cleared that were found inside D.

/// The arguments of one call of `gemm`: checked here, and turned into products.
struct GemmCall {
    var a: MatrixOperand
    var b: MatrixOperand
    var c: MatrixAddend?
    var d: MatrixResult
    var epilogue: Epilogue

    /// One product.
    func plain() throws(FathomError) -> [GemmProblem] {
        try requireGroups(a: 1, b: 1, "an ordinary product")
        try check(resultRows: a.rowCount, resultGroups: 1)
        return [problem()]
    }

    /// The products of a group.
    func grouped(_ layout: GroupLayout) throws(FathomError) -> [GemmProblem] {
        switch layout {
        case .ids(let ids, let zeroesPadding): return try byIds(ids, zeroesPadding)
        case .ends(let ends, let alignment, let zeroesPadding): return try byEnds(ends, alignment, zeroesPadding)
        case .masked(let counts): return try masked(counts)
        case .batched:
            try requireSameGroups("a batched product")
            try check(resultRows: a.rowCount, resultGroups: a.groupCount)
            return (0..<a.groupCount).map { problem(aGroup: $0, bGroup: $0, dGroup: $0) }
        case .summed:
            try requireSameGroups("a summed product")
            try check(resultRows: a.rowCount, resultGroups: 1)
            var sum = problem()
            sum.segmentCount = a.groupCount
            return [sum]
        case .depth(let counts, let groups, let storage): return try byDepth(counts, groups, storage)
        }
    }

    /// One product: rows from `firstRow` on of one matrix of A with one matrix of B.
    private func problem(
        aGroup: Int = 0, bGroup: Int = 0, dGroup: Int = 0, firstRow: Int = 0, rowCount: Int? = nil
    ) -> GemmProblem {
        var slice = OperandSlice(a, group: aGroup)
        slice.firstRow = firstRow
        return GemmProblem(
            a: slice, b: OperandSlice(b, group: bGroup), rowCount: rowCount ?? a.rowCount, outputs: 0..<b.rowCount,
            depth: b.columnCount, d: ResultSlice(d, group: dGroup, firstRow: firstRow),
            c: c.map { AddendSlice($0, group: dGroup, firstRow: firstRow) })
    }

    // MARK: Groups of rows

    private func byIds(_ ids: UnsafePointer<Int32>, _ zeroesPadding: Bool) throws(FathomError) -> [GemmProblem] {
        try requireGroups(a: 1, b: nil, "rows grouped by ids")
        try check(resultRows: a.rowCount, resultGroups: 1)
        for row in 0..<a.rowCount where ids[row] < -1 || Int(ids[row]) >= b.groupCount {
            throw FathomError(
                .usage,
                "row \(row) has group id \(ids[row]); legal are −1 for padding and 0…\(b.groupCount - 1), "
                    + "the matrices of B")
        }
        var problems: [GemmProblem] = []
        var first = 0
        while first < a.rowCount {
            var end = first + 1
            while end < a.rowCount, ids[end] == ids[first] { end += 1 }
            if ids[first] >= 0 {
                problems.append(problem(bGroup: Int(ids[first]), firstRow: first, rowCount: end - first))
            } else if zeroesPadding {
                clear(first..<end)
            }
            first = end
        }
        return problems
    }

    private func byEnds(
        _ ends: UnsafePointer<Int32>, _ alignment: Int, _ zeroesPadding: Bool
    ) throws(FathomError) -> [GemmProblem] {
        try requireGroups(a: 1, b: nil, "rows grouped by ends")
        try check(resultRows: a.rowCount, resultGroups: 1)
        guard alignment > 0, alignment <= 1 << 30 else {
            throw FathomError(.usage, "an alignment of \(alignment) rows; 1…2^30 is legal")
        }
        var ranges: [Range<Int>] = []
        var start = 0
        for group in 0..<b.groupCount {
            let end = Int(ends[group])
            guard end >= start, end <= a.rowCount else {
                throw FathomError(
                    .usage,
                    "group \(group) ends at row \(end); it begins at \(start) (aligned to \(alignment)) and A has "
                        + "\(a.rowCount) rows, so \(start)…\(a.rowCount) is legal")
            }
            ranges.append(start..<end)
            // The last group's end need not be aligned, nor need there be rows behind it.
            start = min((end + alignment - 1) / alignment * alignment, max(a.rowCount, end))
        }
        if zeroesPadding {
            for (group, range) in ranges.enumerated() {
                clear(range.upperBound..<(group + 1 < ranges.count ? ranges[group + 1].lowerBound : a.rowCount))
            }
            if ranges.isEmpty { clear(0..<a.rowCount) }
        }
        return ranges.enumerated().map { problem(bGroup: $0, firstRow: $1.lowerBound, rowCount: $1.count) }
    }

    private func masked(_ counts: UnsafePointer<Int32>) throws(FathomError) -> [GemmProblem] {
        try requireSameGroups("a masked product")
        try check(resultRows: a.rowCount, resultGroups: a.groupCount)
        for group in 0..<a.groupCount where counts[group] < 0 || Int(counts[group]) > a.rowCount {
            throw FathomError(
                .usage, "group \(group) has \(counts[group]) rows; 0…\(a.rowCount), the rows of A's matrices, is legal")
        }
        return (0..<a.groupCount).map {
            problem(aGroup: $0, bGroup: $0, dGroup: $0, rowCount: Int(counts[$0]))
        }
    }

    /// Sets rows of D to zero, and their scales to that of zeros.
    private func clear(_ rows: Range<Int>) {
        let columns = 0..<epilogue.columnCount(outputs: b.rowCount)
        let slice = ResultSlice(d)
        for row in rows {
            epilogue.forEachRun(of: columns) { _, column, count in
                slice.address(row: row, column: column).initializeMemory(
                    as: UInt8.self, repeating: 0, count: count * d.format.byteCount)
            }
            slice.scales?.storeZeroScales(row: row, columnCount: columns.count)
        }
    }

    // MARK: Groups of K

    private func byDepth(
        _ counts: UnsafePointer<Int32>, _ groups: Int, _ storage: GroupLayout.DepthStorage
    ) throws(FathomError) -> [GemmProblem] {
        try requireGroups(a: 1, b: 1, "a K-grouped product")
        guard a.gathered == nil else { throw FathomError(.usage, "A is gathered; a K-grouped product takes all rows") }
        guard groups >= 0 else { throw FathomError(.usage, "\(groups) groups of K; 0 or more is legal") }
        try check(resultRows: a.rowCount, resultGroups: groups, hasBlocks: storage == .blocks)
        try checkDepths(counts, groups, storage)
        var problems: [GemmProblem] = []
        var start = 0
        var aScales = a.scales.map { ScaleSlice($0, group: 0) }
        var bScales = b.scales.map { ScaleSlice($0, group: 0) }
        for group in 0..<groups {
            let depth = Int(counts[group])
            var one = problem(dGroup: group)
            one.depth = depth
            one.a = part(of: a, from: start, depth, storage, aScales)
            one.b = part(of: b, from: start, depth, storage, bScales)
            problems.append(one)
            start += depth
            aScales?.advance(depth: depth)
            bScales?.advance(depth: depth)
        }
        return problems
    }

    /// The K indices of one group.
    private func part(
        of operand: MatrixOperand, from start: Int, _ depth: Int, _ storage: GroupLayout.DepthStorage,
        _ scales: ScaleSlice?
    ) -> OperandSlice {
        let bits = operand.format.bitCount
        var slice = OperandSlice(operand)
        switch (storage, operand.order) {
        case (.blocks, _):
            slice.base += start * operand.rowCount * bits / 8
            slice.stride = depth * bits / 8
        case (.oneMatrix, .kMajor): slice.base += start * bits / 8
        case (.oneMatrix, .mnMajor): slice.base += start * slice.stride
        }
        slice.scales = scales
        return slice
    }

    private func checkDepths(
        _ counts: UnsafePointer<Int32>, _ groups: Int, _ storage: GroupLayout.DepthStorage
    ) throws(FathomError) {
        for (name, operand) in [("A", a), ("B", b)] where storage == .blocks {
            guard operand.order == .kMajor else {
                throw FathomError(.usage, "\(name) is MN-major; K groups stored as blocks are K-major")
            }
            guard operand.format != .float4E2M1 || (0..<groups).allSatisfy({ counts[$0] % 2 == 0 }) else {
                throw FathomError(.usage, "\(name) is FP4 in blocks; every group then has an even number of elements")
            }
        }
        var total = 0
        for group in 0..<groups {
            guard counts[group] >= 0, total + Int(counts[group]) <= a.columnCount else {
                throw FathomError(
                    .usage,
                    "group \(group) has \(counts[group]) elements of K; 0…\(a.columnCount - total) is legal, what is "
                        + "left of \(a.columnCount)")
            }
            total += Int(counts[group])
            for (name, operand) in [("A", a), ("B", b)]
            where operand.format == .float4E2M1 && operand.order == .kMajor && total % 2 != 0 && group + 1 < groups {
                throw FathomError(
                    .usage,
                    "group \(group) ends at K index \(total), in the middle of a byte of \(name); groups of K-major "
                        + "FP4 have an even number of elements")
            }
        }
        guard total == a.columnCount else {
            throw FathomError(
                .usage, "the groups have \(total) elements of K in all; the operands have \(a.columnCount)")
        }
    }
}
