// SPDX-License-Identifier: MIT

internal import Platform

// SAFETY: In this file addresses are compared, never followed.

/// The rules that operands keep. Each failure names the operand, what was given and what would be legal.
extension GemmCall {
    /// The largest extent or stride: sums of places inside an operand never overflow, and products are looked at.
    static let extentLimit = 1 << 40

    /// All rules that do not depend on the layout of groups.
    func check(resultRows: Int, resultGroups: Int, hasBlocks: Bool = false) throws(FathomError) {
        try check(a, "A", hasBlocks: hasBlocks)
        try check(b, "B", hasBlocks: hasBlocks)
        guard a.columnCount == b.columnCount else {
            throw FathomError(
                .usage, "A has \(a.columnCount) columns and B has \(b.columnCount); both are K and must be equal")
        }
        try checkEpilogue()
        try checkResult(rows: resultRows, groups: resultGroups)
        try checkAddend(rows: resultRows, groups: resultGroups)
        try checkOverlap(rows: resultRows, groups: resultGroups, hasBlocks: hasBlocks)
    }

    /// - Parameters:
    ///   - b: nil for any number.
    func requireGroups(a aGroups: Int, b bGroups: Int?, _ what: String) throws(FathomError) {
        guard a.groupCount == aGroups else {
            throw FathomError(.usage, "A holds \(a.groupCount) matrices; \(what) takes \(aGroups)")
        }
        if let bGroups, b.groupCount != bGroups {
            throw FathomError(.usage, "B holds \(b.groupCount) matrices; \(what) takes \(bGroups)")
        }
    }

    func requireSameGroups(_ what: String) throws(FathomError) {
        guard a.groupCount == b.groupCount else {
            throw FathomError(
                .usage, "A holds \(a.groupCount) matrices and B \(b.groupCount); \(what) takes equally many")
        }
    }

    // MARK: Operands

    private func check(_ operand: MatrixOperand, _ name: String, hasBlocks: Bool) throws(FathomError) {
        for (what, value) in [
            ("rows", operand.rowCount), ("columns", operand.columnCount), ("groups", operand.groupCount),
        ] where value < 0 || value > Self.extentLimit {
            throw FathomError(.usage, "\(name) has \(value) \(what); 0…\(Self.extentLimit) is legal")
        }
        try checkGathered(operand, name)
        let inner = operand.order == .kMajor ? operand.columnCount : operand.storedRowCount
        let outer = operand.order == .kMajor ? operand.storedRowCount : operand.columnCount
        if !hasBlocks {
            guard operand.stride >= inner || outer <= 1, operand.stride >= 0, operand.stride <= Self.extentLimit else {
                let units = operand.order == .kMajor ? "rows" : "K indices"
                throw FathomError(
                    .usage,
                    "\(name) is \(operand.order.rawValue) with a stride of \(operand.stride) elements; "
                        + "\(inner)…\(Self.extentLimit) is legal, what its \(units) take")
            }
        }
        guard operand.groupStride >= 0, operand.groupStride <= Self.extentLimit else {
            throw FathomError(
                .usage, "\(name) has a group stride of \(operand.groupStride); 0…\(Self.extentLimit) is legal")
        }
        if operand.format == .float4E2M1 {
            for (what, value) in [("stride", operand.stride), ("group stride", operand.groupStride)]
            where value % 2 != 0 {
                throw FathomError(
                    .usage, "\(name) is FP4 with a \(what) of \(value) elements; two share a byte, so it must be even")
            }
        }
        if let scales = operand.scales { try check(scales, of: name) }
    }

    private func checkGathered(_ operand: MatrixOperand, _ name: String) throws(FathomError) {
        guard let gathered = operand.gathered else { return }
        guard name == "A", operand.groupCount == 1 else {
            throw FathomError(.usage, "\(name) is gathered; only an A of one matrix can be")
        }
        guard gathered.storedRowCount >= 0, gathered.storedRowCount <= Self.extentLimit else {
            throw FathomError(
                .usage, "A is gathered from \(gathered.storedRowCount) rows; 0…\(Self.extentLimit) is legal")
        }
        for row in 0..<operand.rowCount
        where gathered.indices[row] < 0 || gathered.indices[row] >= gathered.storedRowCount {
            throw FathomError(
                .usage,
                "row \(row) of A is gathered from row \(gathered.indices[row]); 0…\(gathered.storedRowCount - 1), the "
                    + "rows that lie there, is legal")
        }
    }

    private func check(_ scales: BlockScales, of name: String) throws(FathomError) {
        let granularity = scales.granularity
        guard granularity.rows > 0, granularity.rows <= Self.extentLimit else {
            throw FathomError(.usage, "\(name)'s scales cover \(granularity.rows) rows; 1 or more is legal")
        }
        guard granularity.columns > 0, granularity.columns % 8 == 0, granularity.columns <= Self.extentLimit else {
            throw FathomError(
                .usage, "\(name)'s scales cover \(granularity.columns) elements of K; a multiple of 8 is legal")
        }
        for (what, value) in [
            ("row", scales.rowStride), ("block", scales.blockStride), ("group", scales.groupStride),
        ] where value < 0 || value > Self.extentLimit {
            throw FathomError(
                .usage, "\(name)'s scales have a \(what) stride of \(value); 0…\(Self.extentLimit) is legal")
        }
    }

    // MARK: Epilogue

    private func checkEpilogue() throws(FathomError) {
        let n = b.rowCount
        if epilogue.gate {
            guard n % 2 == 0 else {
                throw FathomError(.usage, "B has \(n) rows; with a gate half of them are the gate, so they are even")
            }
            guard c == nil else {
                throw FathomError(.usage, "C is given with a gate; SiLU(gate)·up takes no C")
            }
        }
        if let heads = epilogue.heads {
            for value in [heads.left, heads.mid, heads.right] where value < 0 || value > Self.extentLimit {
                throw FathomError(.usage, "a head split of \(value) columns; 0 or more is legal")
            }
            let width = heads.left + heads.right
            guard width > 0, epilogue.columnCount(outputs: n) % width == 0 else {
                throw FathomError(
                    .usage,
                    "D has \(epilogue.columnCount(outputs: n)) columns and heads of \(heads.left) + \(heads.right); "
                        + "a whole number of heads is legal")
            }
            guard d.format != .float8E4M3 else {
                throw FathomError(.usage, "D is fp8 with split heads; fp32 and bf16 can be split")
            }
        }
        if let bias = epilogue.bias, UInt(bitPattern: bias) % 4 != 0 {
            throw FathomError(.usage, "bias lies at \(bias); its address must be a multiple of 4 bytes")
        }
    }

    // MARK: Result

    private func checkResult(rows: Int, groups: Int) throws(FathomError) {
        let width = epilogue.resultColumns(outputs: b.rowCount)
        guard UInt(bitPattern: d.baseAddress) % UInt(d.format.byteCount) == 0 else {
            throw FathomError(
                .usage,
                "D lies at \(d.baseAddress); the address of \(d.format.rawValue) must be a multiple of "
                    + "\(d.format.byteCount) bytes")
        }
        guard d.stride >= width || rows <= 1, d.stride >= 0, d.stride <= Self.extentLimit else {
            throw FathomError(
                .usage,
                "D has a stride of \(d.stride) elements; \(width)…\(Self.extentLimit) is legal, what its rows take")
        }
        try checkGroupStride(rows, width, groups)
        guard (d.format == .float8E4M3) == (d.scales != nil) else {
            throw FathomError(
                .usage,
                d.scales == nil
                    ? "D is fp8 without scales; fp8 needs a place for them"
                    : "D is \(d.format.rawValue) with scales; only fp8 has them"
            )
        }
        guard let scales = d.scales else { return }
        if scales.encoding != .ue8m0, UInt(bitPattern: scales.baseAddress) % 4 != 0 {
            throw FathomError(
                .usage, "D's scales lie at \(scales.baseAddress); the address must be a multiple of 4 bytes")
        }
        for (what, value) in [
            ("row", scales.rowStride), ("block", scales.blockStride), ("group", scales.groupStride),
        ] where value < 0 || value > Self.extentLimit {
            throw FathomError(.usage, "D's scales have a \(what) stride of \(value); 0…\(Self.extentLimit) is legal")
        }
        guard [32, 64, 128].contains(scales.blockColumns) else {
            throw FathomError(
                .usage, "D's scales cover \(scales.blockColumns) columns; 32, 64 or 128 are legal")
        }
        let blocks = ceilDivide(width, scales.blockColumns)
        let isDistinct =
            (scales.rowStride >= (blocks - 1) * scales.blockStride + 1 || rows <= 1)
            || (scales.blockStride >= (rows - 1) * scales.rowStride + 1)
        guard isDistinct, scales.blockStride > 0 || blocks <= 1, scales.rowStride > 0 || rows <= 1 else {
            throw FathomError(
                .usage,
                "D's scales have a row stride of \(scales.rowStride) and a block stride of \(scales.blockStride); "
                    + "\(rows) × \(blocks) scales would overlap")
        }
    }

    /// Matrices of D lie behind each other, or side by side inside the rows.
    private func checkGroupStride(_ rows: Int, _ width: Int, _ groups: Int) throws(FathomError) {
        let matrix = span(rows, d.stride, width)
        guard groups <= 1 || (d.groupStride >= 0 && d.groupStride <= Self.extentLimit) else {
            throw FathomError(.usage, "D has a group stride of \(d.groupStride); 0…\(Self.extentLimit) is legal")
        }
        guard
            groups <= 1 || d.groupStride >= matrix || (rows <= 1 && d.groupStride >= width)
                || (d.groupStride >= width && d.stride >= span(groups, d.groupStride, width))
        else {
            throw FathomError(
                .usage,
                "D has \(groups) matrices \(d.groupStride) elements apart and rows \(d.stride) apart; they would "
                    + "overlap: \(matrix) or more apart is legal, or side by side inside the rows")
        }
    }

    private func checkAddend(rows: Int, groups: Int) throws(FathomError) {
        guard let c else { return }
        let unit: UInt = c.format == .float32 ? 4 : 2
        let width = epilogue.resultColumns(outputs: b.rowCount)
        guard UInt(bitPattern: c.baseAddress) % unit == 0 else {
            throw FathomError(
                .usage,
                "C lies at \(c.baseAddress); the address of \(c.format.rawValue) must be a multiple of \(unit) bytes")
        }
        guard c.stride >= width || rows <= 1, c.stride >= 0, c.stride <= Self.extentLimit else {
            throw FathomError(
                .usage,
                "C has a stride of \(c.stride) elements; \(width)…\(Self.extentLimit) is legal, what its rows take")
        }
        guard groups <= 1 || (c.groupStride >= 0 && c.groupStride <= Self.extentLimit) else {
            throw FathomError(
                .usage, "C has a group stride of \(c.groupStride); 0…\(Self.extentLimit) is legal")
        }
    }

    // MARK: Overlap

    /// Elements from the first to behind the last of a matrix; `Int.max` if there are more.
    private func span(_ outer: Int, _ stride: Int, _ inner: Int) -> Int {
        guard outer > 0, inner > 0 else { return 0 }
        let (product, overflow) = (outer - 1).multipliedReportingOverflow(by: stride)
        let (sum, carry) = product.addingReportingOverflow(inner)
        return overflow || carry ? .max : sum
    }

    private func checkOverlap(rows: Int, groups: Int, hasBlocks: Bool) throws(FathomError) {
        let width = epilogue.resultColumns(outputs: b.rowCount)
        let matrix = span(rows, d.stride, width)
        let written = try bytes(
            "D", d.baseAddress, span(groups, d.groupStride, matrix), bits: d.format.byteCount * 8)
        for (name, operand) in [("A", a), ("B", b)] {
            let (inner, outer) =
                operand.order == .kMajor
                ? (operand.columnCount, operand.storedRowCount) : (operand.storedRowCount, operand.columnCount)
            let one = span(outer, hasBlocks ? inner : operand.stride, inner)
            let read = try bytes(
                name, operand.baseAddress, span(operand.groupCount, operand.groupStride, one),
                bits: operand.format.bitCount)
            guard !written.overlaps(read) else {
                throw FathomError(.usage, "D overlaps \(name); they may not share memory")
            }
        }
        guard let c else { return }
        let unit = c.format == .float32 ? 4 : 2
        let read = try bytes(
            "C", c.baseAddress, span(groups, c.groupStride, span(rows, c.stride, width)), bits: unit * 8)
        let isD =
            c.baseAddress == UnsafeRawPointer(d.baseAddress) && c.stride == d.stride
            && unit == d.format.byteCount && (groups <= 1 || c.groupStride == d.groupStride)
        guard isD || !written.overlaps(read) else {
            throw FathomError(
                .usage, "C overlaps D; C is D itself (same address, format and strides) or shares no memory with it")
        }
    }

    private func bytes(
        _ name: String, _ base: UnsafeRawPointer, _ elements: Int, bits: Int
    ) throws(FathomError) -> Range<UInt> {
        let start = UInt(bitPattern: base)
        guard elements <= 1 << 47 else {
            throw FathomError(.usage, "\(name) spans more than 2^47 elements, more than memory holds")
        }
        let (end, overflow) = start.addingReportingOverflow(UInt((elements * bits + 7) / 8))
        return start..<(overflow ? .max : end)
    }
}
