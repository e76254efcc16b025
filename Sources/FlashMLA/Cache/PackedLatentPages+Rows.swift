// SPDX-License-Identifier: MIT

public import KernelDispatch
internal import Kernels
public import LowPrecision
public import Platform

extension PackedLatentPages {
    /// Packs rows into slots, the later row where two have one slot; nothing else is written.
    ///
    /// For each group, scale = 2^⌈log₂ max(|x|ₘₐₓ / 448, 10⁻⁴)⌉ and code = e4m3(x / scale), to nearest, ties to even.
    /// With FP4 codes, scale = e4m3(|x|ₘₐₓ / 6) from 2⁻⁹ to 448 and code = e2m1(x / scale), to nearest, ties towards
    /// zero, saturating. Columns that are stored as bfloat16 are rounded to it.
    ///
    /// - Parameter rows: [slots, rowWidth], dense.
    /// - Throws: `usage` for a slot outside of the cache or the wrong number of numbers, `badData` for one that is not
    ///   finite (or is not as a bfloat16, where it is stored as that); then nothing is written.
    public func pack(_ rows: UnsafeBufferPointer<Float>, slots: [Int]) throws(FathomError) {
        try check(slots)
        try check(count: rows.count, slots: slots.count)
        for index in rows.indices {
            let (row, column) = index.quotientAndRemainder(dividingBy: format.rowWidth)
            let value = column < format.latentWidth ? rows[index] : Float(BFloat16(rows[index]))
            try check(value, row: row, column: column)
        }
        for (row, slot) in slots.enumerated() {
            pack(slot) { rows[row * format.rowWidth + $0] }
        }
    }

    /// As for float32, from bfloat16 rows.
    public func pack(_ rows: UnsafeBufferPointer<BFloat16>, slots: [Int]) throws(FathomError) {
        try check(slots)
        try check(count: rows.count, slots: slots.count)
        for index in rows.indices {
            let (row, column) = index.quotientAndRemainder(dividingBy: format.rowWidth)
            try check(Float(rows[index]), row: row, column: column)
        }
        for (row, slot) in slots.enumerated() {
            pack(slot) { Float(rows[row * format.rowWidth + $0]) }
        }
    }

    /// The rows in slots as float32 [slots, rowWidth], dense: what attention reads.
    ///
    /// - Throws: `usage` for a slot outside of the cache or the wrong number of numbers; then nothing is written.
    public func unpack(
        slots: [Int], to rows: UnsafeMutableBufferPointer<Float>, on context: ComputeContext
    ) throws(FathomError) {
        try check(slots)
        try check(count: rows.count, slots: slots.count)
        guard let out = rows.baseAddress else { return }
        for (row, slot) in slots.enumerated() {
            decode(slot, to: out + row * format.rowWidth, context.kernels)
        }
    }

    /// One row as floats [rowWidth].
    func decode(_ slot: Int, to out: UnsafeMutablePointer<Float>, _ kernels: KernelTable) {
        let row = row(slot)
        // SAFETY: the parts lie in the row's page and have the format's extents.
        var arguments = PackedLatentArguments(
            codes: row.codes, scales: row.scales, coding: format.coding, groupCount: format.groupCount,
            groupWidth: format.groupWidth, plain: row.rope,
            plainCount: format.ropeWidth, out: out)
        kernels.decodePackedLatent(&arguments)
    }

    private func pack(_ slot: Int, _ value: (Int) -> Float) {
        let row = row(slot)
        for group in 0..<format.groupCount {
            let columns = group * format.groupWidth..<(group + 1) * format.groupWidth
            let peak = columns.reduce(Float(0)) { max($0, abs(value($1))) }
            if format.coding == .float4 {
                packFloat4(row, group, columns, peak: peak, value)
                continue
            }
            let code = UE8M0(roundingUp: max(peak / 448, 1e-4))
            let scale = Float(code)
            for column in columns {
                row.codes.storeBytes(
                    of: Float8E4M3(value(column) / scale).bitPattern, toByteOffset: column, as: UInt8.self)
            }
            if format.coding == .float8WithExponents {
                row.scales.storeBytes(of: code.bitPattern, toByteOffset: group, as: UInt8.self)
            } else {
                row.scales.storeBytes(of: scale.bitPattern, toByteOffset: 4 * group, as: UInt32.self)
            }
        }
        if format == .model1 { row.scales.storeBytes(of: 0, toByteOffset: 7, as: UInt8.self) }
        for column in 0..<format.ropeWidth {
            let bits = BFloat16(value(format.latentWidth + column)).bitPattern
            row.rope.storeBytes(of: bits, toByteOffset: 2 * column, as: UInt16.self)
        }
    }

    private func packFloat4(
        _ row: (codes: UnsafeMutableRawPointer, scales: UnsafeMutableRawPointer, rope: UnsafeMutableRawPointer),
        _ group: Int, _ columns: Range<Int>, peak: Float, _ value: (Int) -> Float
    ) {
        let code = Float8E4M3(min(max(peak / 6, 0x1p-9), 448))
        let scale = Float(code)
        row.scales.storeBytes(of: code.bitPattern, toByteOffset: group, as: UInt8.self)
        for column in stride(from: columns.lowerBound, to: columns.upperBound, by: 2) {
            let pair = Float4E2M1.pack(
                even: Float4E2M1(value(column) / scale), odd: Float4E2M1(value(column + 1) / scale))
            row.codes.storeBytes(of: pair, toByteOffset: column / 2, as: UInt8.self)
        }
    }

    private func check(count: Int, slots: Int) throws(FathomError) {
        guard count == slots * format.rowWidth else {
            throw FathomError(
                .usage,
                """
                the rows have \(count) numbers; \(slots) slots of \(format.rowWidth) columns need \
                \(slots * format.rowWidth)
                """)
        }
    }

    private func check(_ value: Float, row: Int, column: Int) throws(FathomError) {
        guard value.isFinite else {
            throw FathomError(
                .badData, "row \(row), column \(column) is \(value); only finite numbers can be packed")
        }
    }
}
