// SPDX-License-Identifier: MIT

internal import Tensors

/// A or B of D = A·Bᵀ: `rowCount` (M or N) rows of `columnCount` (K) numbers in a stored format, read where they lie.
///
/// The memory must stay valid and unchanged during the call that is given the operand; any address will do.
public struct MatrixOperand {
    /// How one number is stored.
    public enum Format: String, Sendable, CaseIterable, Codable {
        case float32 = "fp32"
        case bfloat16 = "bf16"
        case float16 = "fp16"
        /// E4M3 without infinities. The two NaN codes count as ±480: search for them first where they may occur.
        case float8E4M3 = "fp8"
        /// E2M1, two numbers a byte, the one with the even index along the contiguous dimension in the lower half.
        case float4E2M1 = "fp4"

        /// Bits of one number.
        public var bitCount: Int {
            switch self {
            case .float32: 32
            case .bfloat16, .float16: 16
            case .float8E4M3: 8
            case .float4E2M1: 4
            }
        }
    }

    /// What lies next to what in memory. DeepGEMM's `nt` is K-major for both operands; `n` for B, or `t` for A, is
    /// MN-major.
    public enum Order: String, Sendable, CaseIterable, Codable {
        /// The numbers of a row (one m or n) are neighbours.
        case kMajor = "k-major"
        /// The numbers of one K index are neighbours.
        case mnMajor = "mn-major"
    }

    public var baseAddress: UnsafeRawPointer
    public var format: Format
    public var order: Order
    public var rowCount: Int
    public var columnCount: Int
    /// Elements from one row to the next (K-major), or from one K index to the next (MN-major). Even for FP4.
    public var stride: Int
    /// Matrices of this shape: the experts of B, or the groups of a masked A.
    public var groupCount: Int
    /// Elements from one of them to the next. Even for FP4.
    public var groupStride: Int
    /// The number that each stored one is to be multiplied by, or nil for 1.
    public var scales: BlockScales?
    /// Which of the stored rows the operand's rows are, or nil for all of them in turn; A only.
    public var gathered: GatheredRows?

    /// - Parameters:
    ///   - stride: nil for rows (or K indices) without a gap, to a whole byte for FP4.
    ///   - groupStride: nil for matrices without a gap.
    public init(
        _ baseAddress: UnsafeRawPointer, _ format: Format, rowCount: Int, columnCount: Int, order: Order = .kMajor,
        stride: Int? = nil, groupCount: Int = 1, groupStride: Int? = nil, scales: BlockScales? = nil
    ) {
        self.baseAddress = baseAddress
        self.format = format
        self.order = order
        self.rowCount = rowCount
        self.columnCount = columnCount
        let (inner, outer) = order == .kMajor ? (columnCount, rowCount) : (rowCount, columnCount)
        let whole = format == .float4E2M1 ? inner &+ (inner & 1) : inner
        self.stride = stride ?? whole
        self.groupCount = groupCount
        self.groupStride = groupStride ?? self.stride &* outer
        self.scales = scales
    }

    /// A weight of a checkpoint.
    public init(_ weight: WeightMatrix) {
        let format: Format =
            switch weight.format {
            case .float32: .float32
            case .bfloat16: .bfloat16
            case .float16: .float16
            case .float8E4M3: .float8E4M3
            }
        // SAFETY: the caller keeps the weight alive, as for any operand.
        self.init(weight.baseAddress, format, rowCount: weight.outputCount, columnCount: weight.inputCount)
        if let scales = weight.scalePointer {
            self.scales = BlockScales(
                scales, granularity: ScaleGranularity(rows: weight.blockRows, columns: weight.blockColumns),
                rowStride: weight.scaleStride, blockStride: 1)
        }
    }

    /// The rows that `indices` name, of the `rowCount` that lie there, as an operand of `count` rows: an expert's
    /// tokens where they are, without a copy. Indices may repeat.
    public func gathering(_ indices: UnsafePointer<Int64>, count: Int) -> MatrixOperand {
        var operand = self
        operand.rowCount = count
        operand.gathered = GatheredRows(indices: indices, storedRowCount: rowCount)
        return operand
    }

    /// Rows that lie there.
    var storedRowCount: Int { gathered?.storedRowCount ?? rowCount }

    /// What a quantiser made.
    public init(_ matrix: QuantizedMatrix) {
        let format: Format = matrix.format == .float8E4M3 ? .float8E4M3 : .float4E2M1
        // SAFETY: the caller keeps the matrix alive, as for any operand.
        self.init(
            matrix.codes.baseAddress, format, rowCount: matrix.rowCount, columnCount: matrix.columnCount,
            stride: matrix.rowByteCount * 8 / format.bitCount, scales: BlockScales(matrix.scales))
    }
}

/// The rows of an operand as places in a larger matrix.
public struct GatheredRows {
    /// As many as the operand has rows; read when the product begins and while it runs.
    public var indices: UnsafePointer<Int64>
    /// Rows that lie there.
    public var storedRowCount: Int

    public init(indices: UnsafePointer<Int64>, storedRowCount: Int) {
        self.indices = indices
        self.storedRowCount = storedRowCount
    }
}
