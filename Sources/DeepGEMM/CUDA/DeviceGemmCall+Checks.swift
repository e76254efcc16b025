// SPDX-License-Identifier: MIT

package import Platform

/// The rules that operands on a device keep. Each failure names the operand, what was given and what is legal.
extension DeviceGemmCall {
    /// The largest extent: coordinates on the device are 32-bit.
    static let extentLimit = 1 << 30

    /// Checks everything that is known on the host.
    package func checkedShape() throws(FathomError) -> CUDAGemmShape {
        try check(a, "A")
        try check(b, "B")
        guard a.format == b.format else {
            throw FathomError(
                .usage, "A is \(a.format.rawValue) and B is \(b.format.rawValue); on a GPU both are fp8 or both bf16")
        }
        guard a.columnCount == b.columnCount else {
            throw FathomError(
                .usage, "A has \(a.columnCount) columns and B has \(b.columnCount); both are K and must be equal")
        }
        try checkScales(a, "A", rows: 1)
        try checkScales(b, "B", rows: 128)
        var shape = CUDAGemmShape(
            m: a.rowCount, n: b.rowCount, k: a.columnCount, element: a.format == .bfloat16 ? .bfloat16 : .float8E4M3,
            groups: b.groupCount)
        try checkGroups(&shape)
        try checkResult(&shape)
        return shape
    }

    private func check(_ operand: DeviceOperand, _ name: String) throws(FathomError) {
        guard operand.format == .float8E4M3 || operand.format == .bfloat16 else {
            throw FathomError(
                .usage, "\(name) is \(operand.format.rawValue); fp8 and bf16 are legal on a GPU")
        }
        for (what, value) in [
            ("rows", operand.rowCount), ("columns", operand.columnCount), ("groups", operand.groupCount),
        ] where value < 0 || value > Self.extentLimit {
            throw FathomError(.usage, "\(name) has \(value) \(what); 0…\(Self.extentLimit) is legal")
        }
        let size = operand.format == .bfloat16 ? 2 : 1
        guard operand.stride >= operand.columnCount, operand.stride <= Self.extentLimit else {
            throw FathomError(
                .usage,
                "\(name) has a stride of \(operand.stride) elements; \(operand.columnCount)…"
                    + "\(Self.extentLimit) is legal")
        }
        guard operand.columnCount == 0 || operand.rowCount == 0 || operand.address % 16 == 0 && operand.address != 0
        else {
            throw FathomError(.usage, "\(name) is at address \(operand.address); multiples of 16 bytes are legal")
        }
        try checkStride(operand.stride * size, "\(name)'s rows")
        if operand.groupCount > 1 {
            guard operand.groupStride >= 0, operand.groupStride <= 1 << 38 else {
                throw FathomError(.usage, "\(name) has a group stride of \(operand.groupStride); 0…2^38 is legal")
            }
            try checkStride(operand.groupStride * size, "\(name)'s groups")
        }
    }

    private func checkStride(_ bytes: Int, _ what: String) throws(FathomError) {
        guard bytes % 16 == 0 else {
            throw FathomError(
                .usage,
                "\(what) are \(bytes) bytes apart; multiples of 16 are legal, such as \((bytes + 15) / 16 * 16)")
        }
    }

    private func checkScales(_ operand: DeviceOperand, _ name: String, rows: Int) throws(FathomError) {
        guard operand.format == .float8E4M3 else {
            guard operand.scales == nil else {
                throw FathomError(.usage, "\(name) is bf16 and has scales; on a GPU only fp8 has")
            }
            return
        }
        guard let scales = operand.scales else {
            throw FathomError(.usage, "\(name) is fp8 without scales; one for \(rows)×128 numbers is needed")
        }
        guard scales.rows == rows else {
            throw FathomError(
                .usage, "\(name)'s scales are \(scales.rows)×128; on a GPU A has 1×128 and B has 128×128")
        }
        let count = (operand.rowCount + rows - 1) / rows
        guard scales.blockStride >= count, scales.blockStride % 4 == 0, scales.address % 16 == 0,
            operand.columnCount == 0 || scales.address != 0
        else {
            throw FathomError(
                .usage,
                "\(name)'s scales are at \(scales.address), \(scales.blockStride) from one K block to the next; a "
                    + "multiple of 4 of at least \(count), at a multiple of 16 bytes, is legal")
        }
        guard operand.groupCount <= 1 || (scales.groupStride > 0 && scales.groupStride % 4 == 0) else {
            throw FathomError(
                .usage,
                "\(name)'s scales are \(scales.groupStride) from one group to the next; positive multiples of 4 are "
                    + "legal"
            )
        }
    }

    private func checkGroups(_ shape: inout CUDAGemmShape) throws(FathomError) {
        switch groups {
        case nil:
            guard a.groupCount == 1, b.groupCount == 1 else {
                throw FathomError(
                    .usage,
                    "A holds \(a.groupCount) matrices and B \(b.groupCount); an ordinary product takes one of each")
            }
        case .ids(let address, let alignment):
            guard a.groupCount == 1 else {
                throw FathomError(.usage, "A holds \(a.groupCount) matrices; rows grouped by ids take one")
            }
            guard b.groupCount >= 1 else {
                throw FathomError(.usage, "B holds no matrix; rows grouped by ids take 1 or more")
            }
            guard [64, 128, 256].contains(alignment) else {
                throw FathomError(.usage, "groups aligned to \(alignment) rows; 64, 128 and 256 are legal on a GPU")
            }
            guard address % 4 == 0, address != 0 || a.rowCount == 0 else {
                throw FathomError(.usage, "the groups' ids are at address \(address); multiples of 4 are legal")
            }
            shape.grouping = .ids
            shape.alignment = alignment
        case .masked(let address, let expected):
            guard a.groupCount == b.groupCount else {
                throw FathomError(
                    .usage,
                    "A holds \(a.groupCount) matrices and B \(b.groupCount); a masked product takes equally many")
            }
            guard address % 4 == 0, address != 0 || a.groupCount == 0 else {
                throw FathomError(.usage, "the groups' counts are at address \(address); multiples of 4 are legal")
            }
            shape.grouping = .masked
            shape.m = min(max(1, expected), max(1, a.rowCount))
        }
    }

    private func checkResult(_ shape: inout CUDAGemmShape) throws(FathomError) {
        switch d.format {
        case .bfloat16: shape.output = .bfloat16
        case .float32: shape.output = .float32
        case .float8E4M3: throw FathomError(.usage, "D is fp8; bf16 and fp32 are legal on a GPU")
        }
        let size = d.format.byteCount
        guard d.address % 16 == 0, d.address != 0 || a.rowCount == 0 || b.rowCount == 0 else {
            throw FathomError(.usage, "D is at address \(d.address); multiples of 16 bytes are legal")
        }
        guard d.stride >= b.rowCount, d.stride <= Self.extentLimit else {
            throw FathomError(
                .usage, "D has a stride of \(d.stride) elements; \(b.rowCount)…\(Self.extentLimit) is legal")
        }
        try checkStride(d.stride * size, "D's rows")
        if case .masked = groups, a.groupCount > 1 {
            guard d.groupStride >= (a.rowCount - 1) * d.stride + b.rowCount else {
                throw FathomError(
                    .usage,
                    "D's groups are \(d.groupStride) elements apart; at least "
                        + "\((a.rowCount - 1) * d.stride + b.rowCount) is legal")
            }
            try checkStride(d.groupStride * size, "D's groups")
        }
        guard let c else { return }
        guard c.address == d.address, c.format == .float32, d.format == .float32, c.stride == d.stride,
            c.groupStride == d.groupStride
        else {
            throw FathomError(
                .usage,
                "C differs from D or is not fp32; on a GPU D itself, in fp32, is legal: copy C there first")
        }
        shape.output = .accumulatingFloat32
    }
}
