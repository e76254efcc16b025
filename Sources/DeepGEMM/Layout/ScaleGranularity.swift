// SPDX-License-Identifier: MIT

internal import Platform

/// How many rows and columns of a matrix share one scale. Blocks at the lower and right edges may be cut.
public struct ScaleGranularity: Sendable, Hashable, CustomStringConvertible {
    public var rows: Int
    public var columns: Int

    /// Any positive granularity.
    public init(rows: Int, columns: Int) {
        self.rows = rows
        self.columns = columns
    }

    /// 1 × `size`: activations (DeepGEMM `per_token_cast_to_fp8`, and with 32 `per_token_cast_to_fp4`).
    public static func perToken(_ size: Int = 128) -> Self { Self(rows: 1, columns: size) }

    /// `size` × 1: operands of weight gradients before they are transposed (DeepGEMM `per_channel_cast_to_fp8`).
    public static func perChannel(_ size: Int = 128) -> Self { Self(rows: size, columns: 1) }

    /// `size` × `size`: weights (DeepGEMM `per_block_cast_to_fp8`).
    public static func perBlock(_ size: Int = 128) -> Self { Self(rows: size, columns: size) }

    public var description: String { "\(rows)×\(columns)" }

    /// The extent of the grid of scales of a matrix.
    package func grid(rowCount: Int, columnCount: Int) -> (rows: Int, columns: Int) {
        (ceilDivide(rowCount, rows), ceilDivide(columnCount, columns))
    }
}

/// ⌈a / b⌉ for a ≥ 0, b > 0, without overflow.
func ceilDivide(_ a: Int, _ b: Int) -> Int {
    a / b + (a % b == 0 ? 0 : 1)
}

/// The product of extents.
///
/// - Throws: `usage` naming `purpose` if it is more than `Int` holds.
func elementCount(_ extents: [Int], of purpose: String) throws(FathomError) -> Int {
    var count = 1
    for extent in extents {
        let (product, overflow) = count.multipliedReportingOverflow(by: extent)
        guard !overflow else {
            let shape = extents.map(String.init).joined(separator: " × ")
            throw FathomError(.usage, "\(purpose) would have \(shape) elements, more than Int counts")
        }
        count = product
    }
    return count
}
