// SPDX-License-Identifier: MIT

internal import KernelDispatch
internal import Kernels
public import Tensors

/// A weight [outputs, inputs] as a checkpoint stores it, read where it lies: the B operand of D = A·Bᵀ.
///
/// Block FP8 weights carry one float32 scale per `blockRows` × `blockColumns`, the number to multiply by; blocks at
/// the right and lower edges may be cut.
public struct WeightMatrix: Sendable {
    /// The formats that the kernels read.
    public enum Format: Sendable, CaseIterable {
        case float32, bfloat16, float16, float8E4M3
    }

    /// Block scales must be smaller than this: the kernels multiply them and an activation by a power of two.
    public static let scaleLimit: Float = 0x1p32

    public let format: Format
    /// N of the product.
    public let outputCount: Int
    /// K of the product.
    public let inputCount: Int
    public let blockRows: Int
    public let blockColumns: Int
    private let values: TensorView
    /// The block scales as floats. A copy: they are few, and a file does not keep them aligned.
    private let scales: AlignedBuffer<Float>?

    /// - Parameters:
    ///   - values: [outputs, inputs] in one of the formats.
    ///   - scales: [⌈outputs / blockRows⌉ · ⌈inputs / blockColumns⌉] floats; exactly for FP8.
    public init(
        values: TensorView, scales: AlignedBuffer<Float>? = nil, blockRows: Int = 128, blockColumns: Int = 128
    ) {
        precondition(values.shape.count == 2, "a weight has two dimensions")
        precondition(blockRows > 0 && blockRows % 8 == 0 && blockColumns > 0 && blockColumns % 8 == 0)
        format =
            switch values.scalarType {
            case .float32: .float32
            case .bfloat16: .bfloat16
            case .float16: .float16
            case .float8E4M3: .float8E4M3
            default: preconditionFailure("\(values.scalarType) is no weight format")
            }
        outputCount = values.shape[0]
        inputCount = values.shape[1]
        precondition((format == .float8E4M3) == (scales != nil), "FP8 weights have scales, others have none")
        if let scales {
            let rows = (values.shape[0] + blockRows - 1) / blockRows
            let columns = (values.shape[1] + blockColumns - 1) / blockColumns
            precondition(scales.count == rows * columns)
        }
        self.values = values
        self.scales = scales
        self.blockRows = blockRows
        self.blockColumns = blockColumns
    }

    /// The tensor behind it, for error messages and checks.
    public var tensor: TensorView { values }

    /// Bytes that one pass over the weight reads, scales included.
    public var byteCount: Int { values.byteCount + (scales?.count ?? 0) * 4 }

    /// Bytes between rows.
    package var rowStride: Int { inputCount * values.scalarType.byteCount }

    /// The first weight; valid while the matrix lives.
    package var baseAddress: UnsafeRawPointer { values.baseAddress }

    /// Block columns in the grid of scales.
    package var scaleStride: Int { (inputCount + blockColumns - 1) / blockColumns }

    /// The first block scale; valid while the matrix lives. nil for unscaled formats.
    package var scalePointer: UnsafePointer<Float>? {
        // SAFETY: the buffer lives as long as the matrix that is asked.
        scales.map { UnsafePointer($0.baseAddress) }
    }
}
