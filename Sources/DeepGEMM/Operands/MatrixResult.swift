// SPDX-License-Identifier: MIT

/// D of D = A·Bᵀ: rows that are written in a stored format.
///
/// The memory must not overlap that of A or B. Gaps between rows are not touched.
public struct MatrixResult {
    /// How one number is stored.
    public enum Format: String, Sendable, CaseIterable, Codable {
        case float32 = "fp32"
        /// Rounded to nearest, ties to even.
        case bfloat16 = "bf16"
        /// Quantised per row and 128, 64 or 32 columns; needs `scales`.
        case float8E4M3 = "fp8"

        /// Bytes of one number.
        public var byteCount: Int {
            switch self {
            case .float32: 4
            case .bfloat16: 2
            case .float8E4M3: 1
            }
        }
    }

    public var baseAddress: UnsafeMutableRawPointer
    public var format: Format
    /// Elements from one row to the next.
    public var stride: Int
    /// Elements from one group's matrix to the next, where D has one per group.
    public var groupStride: Int
    /// Where the scales of an FP8 result go; nil for the others.
    public var scales: ResultScales?

    /// Rows in any format.
    public init(
        _ baseAddress: UnsafeMutableRawPointer, _ format: Format, stride: Int, groupStride: Int = 0,
        scales: ResultScales? = nil
    ) {
        self.baseAddress = baseAddress
        self.format = format
        self.stride = stride
        self.groupStride = groupStride
        self.scales = scales
    }

    /// Float32 rows.
    public init(_ out: UnsafeMutablePointer<Float>, stride: Int, groupStride: Int = 0) {
        // SAFETY: only the type of the pointer changes; the caller keeps the memory.
        self.init(UnsafeMutableRawPointer(out), .float32, stride: stride, groupStride: groupStride)
    }
}

/// Where the scales of an FP8 result go: one per row and `blockColumns` columns, max(|d|ₘₐₓ, 10⁻⁴) / 448.
///
/// The scale of row m and block c is written at m · `rowStride` + c · `blockStride`, counted in scales.
public struct ResultScales {
    /// How a scale is stored.
    public enum Encoding: String, Sendable, CaseIterable {
        case float32
        /// Float32 rounded up to a power of two.
        case float32PowerOfTwo
        /// The same as its UE8M0 byte.
        case ue8m0
    }

    public var baseAddress: UnsafeMutableRawPointer
    public var encoding: Encoding
    public var rowStride: Int
    public var blockStride: Int
    /// From one group's scales to the next.
    public var groupStride: Int

    /// Columns that share a scale: 32, 64 or 128.
    public var blockColumns: Int

    /// Scales in any encoding.
    public init(
        _ baseAddress: UnsafeMutableRawPointer, _ encoding: Encoding, rowStride: Int, blockStride: Int = 1,
        groupStride: Int = 0, blockColumns: Int = 128
    ) {
        self.baseAddress = baseAddress
        self.encoding = encoding
        self.rowStride = rowStride
        self.blockStride = blockStride
        self.groupStride = groupStride
        self.blockColumns = blockColumns
    }
}

/// C of D = A·Bᵀ + C. It may be D itself (same address, format and strides), which accumulates, or share no byte with
/// D.
public struct MatrixAddend {
    /// How one number is stored.
    public enum Format: String, Sendable, CaseIterable {
        case float32 = "fp32"
        case bfloat16 = "bf16"
    }

    public var baseAddress: UnsafeRawPointer
    public var format: Format
    /// Elements from one row to the next.
    public var stride: Int
    /// Elements from one group's matrix to the next, where D has one per group.
    public var groupStride: Int

    /// Rows in any format.
    public init(_ baseAddress: UnsafeRawPointer, _ format: Format, stride: Int, groupStride: Int = 0) {
        self.baseAddress = baseAddress
        self.format = format
        self.stride = stride
        self.groupStride = groupStride
    }

    /// What D holds before the call: accumulation.
    public init(accumulatingInto d: MatrixResult) {
        // SAFETY: read before it is written, row by row, by the task that writes it.
        self.init(
            UnsafeRawPointer(d.baseAddress), d.format == .bfloat16 ? .bfloat16 : .float32, stride: d.stride,
            groupStride: d.groupStride)
    }
}
