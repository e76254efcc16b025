// SPDX-License-Identifier: MIT

/// One product D (+)= A·Bᵀ: activations times a weight, or a slice of its outputs.
///
/// The pointers must stay valid until `linear` returns, and outputs of different problems must not overlap.
public struct LinearProblem {
    /// How rows of A are stored.
    public enum Coding: Sendable, Hashable {
        /// Floats.
        case float32
        /// FP8 E4M3 codes, up to a whole float, and behind them a float32 scale for every `blockColumns` of them;
        /// see `quantizeActivations`.
        case float8E4M3(blockColumns: Int)

        /// Floats that a row of `width` numbers takes.
        public func floatCount(_ width: Int) -> Int {
            switch self {
            case .float32: width
            case .float8E4M3(let blockColumns): ceilDivide(width, 4) + ceilDivide(width, blockColumns)
            }
        }
    }

    /// A: [rowCount, weight.inputCount], rows `aStride` floats apart.
    public var a: UnsafePointer<Float>
    public var aStride: Int
    public var coding: Coding
    public var rowCount: Int
    public var weight: WeightMatrix
    /// The weight's rows to use; the first of them is a multiple of 4.
    public var outputs: Range<Int>
    /// D: [rowCount, outputs] floats, rows `outStride` apart; column 0 belongs to `outputs.lowerBound`.
    public var out: UnsafeMutablePointer<Float>
    public var outStride: Int
    /// Whether the product is added to what D holds.
    public var accumulates: Bool

    public init(
        a: UnsafePointer<Float>, aStride: Int, coding: Coding = .float32, rowCount: Int, weight: WeightMatrix,
        outputs: Range<Int>? = nil,
        out: UnsafeMutablePointer<Float>, outStride: Int, accumulates: Bool = false
    ) {
        self.a = a
        self.aStride = aStride
        self.coding = coding
        self.rowCount = rowCount
        self.weight = weight
        self.outputs = outputs ?? 0..<weight.outputCount
        self.out = out
        self.outStride = outStride
        self.accumulates = accumulates
    }
}
