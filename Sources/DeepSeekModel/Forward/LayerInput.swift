// SPDX-License-Identifier: MIT

internal import DeepGEMM

/// Rows that linear layers multiply: floats, or what an FP8 weight wants, FP8 codes with their scales.
struct LayerInput {
    let rows: UnsafeMutablePointer<Float>
    let width: Int
    let coding: LinearProblem.Coding

    /// Floats from one row to the next.
    var stride: Int { coding.floatCount(width) }

    init(_ rows: UnsafeMutablePointer<Float>, width: Int, coding: LinearProblem.Coding = .float32) {
        self.rows = rows
        self.width = width
        self.coding = coding
    }

    /// The rows from one on.
    func from(row: Int) -> LayerInput {
        LayerInput(rows + row * stride, width: width, coding: coding)
    }
}
