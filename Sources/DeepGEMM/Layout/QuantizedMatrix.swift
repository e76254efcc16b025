// SPDX-License-Identifier: MIT

internal import LowPrecision
internal import Platform
public import Tensors

/// A matrix in FP8 E4M3 or FP4 E2M1 with its scales: element (m, k) is code(m, k) · scale(block of (m, k)).
public struct QuantizedMatrix: Sendable {
    /// How a code is stored.
    public enum Format: String, Sendable, CaseIterable {
        /// One byte an element.
        case float8E4M3
        /// Two elements a byte, the even column in the lower half. A row of odd width ends with code 0.
        case float4E2M1

        /// The largest magnitude that a code has.
        public var largest: Float { self == .float8E4M3 ? 448 : 6 }
    }

    public let format: Format
    public let rowCount: Int
    public let columnCount: Int
    /// Codes, row by row, rows `rowByteCount` apart.
    public let codes: AlignedBuffer<UInt8>
    /// One group.
    public let scales: ScaleGrid

    /// Bytes of a row of codes.
    public var rowByteCount: Int { Self.rowByteCount(format, columnCount: columnCount) }

    static func rowByteCount(_ format: Format, columnCount: Int) -> Int {
        format == .float8E4M3 ? columnCount : ceilDivide(columnCount, 2)
    }

    /// Zeros.
    ///
    /// - Throws: `usage` if FP4 is given blocks of an odd width that do not take the whole row (they would begin in
    ///   the middle of a byte); `unavailable` without memory.
    init(
        format: Format, rowCount: Int, columnCount: Int, granularity: ScaleGranularity
    ) throws(FathomError) {
        if format == .float4E2M1, granularity.columns % 2 != 0, granularity.columns < columnCount {
            throw FathomError(
                .usage,
                "FP4 scales of \(granularity): two columns share a byte, so blocks are an even number of columns "
                    + "wide or as wide as the row (\(columnCount))")
        }
        scales = try ScaleGrid(granularity: granularity, rowCount: rowCount, columnCount: columnCount)
        let bytes = Self.rowByteCount(format, columnCount: columnCount)
        let count = try elementCount([rowCount, bytes], of: "a quantised matrix")
        codes = try AlignedBuffer(count: count, purpose: "codes of a quantised matrix")
        self.format = format
        self.rowCount = rowCount
        self.columnCount = columnCount
    }

    /// The numbers [rowCount, columnCount] that the codes stand for, each product rounded to float once.
    public func dequantized() -> [Float] {
        var result: [Float] = []
        result.reserveCapacity(rowCount * columnCount)
        for row in 0..<rowCount {
            for column in 0..<columnCount {
                let scale = scales[row / scales.granularity.rows, column / scales.granularity.columns]
                result.append(code(row: row, column: column) * scale)
            }
        }
        return result
    }

    /// The value of one code, without its scale.
    public func code(row: Int, column: Int) -> Float {
        precondition(row >= 0 && row < rowCount && column >= 0 && column < columnCount, "outside the matrix")
        switch format {
        case .float8E4M3:
            // SAFETY: inside the matrix, as checked above.
            return Float(Float8E4M3(bitPattern: codes.baseAddress[row * rowByteCount + column]))
        case .float4E2M1:
            // SAFETY: inside the matrix, as checked above.
            let pair = Float4E2M1.unpack(codes.baseAddress[row * rowByteCount + column / 2])
            return Float(column % 2 == 0 ? pair.even : pair.odd)
        }
    }
}
