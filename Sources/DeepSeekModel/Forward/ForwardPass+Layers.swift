// SPDX-License-Identifier: MIT

internal import DeepGEMM
internal import KernelDispatch
internal import Kernels
internal import Platform
internal import Tensors
internal import Workers

/// What the layers' parts have in common.
extension ForwardPass {
    /// RMSNorm of each row; `out` may be `x`.
    func normalize(
        _ x: UnsafePointer<Float>, rows: Int, width: Int, stride: Int? = nil, by weight: AlignedBuffer<Float>,
        into out: UnsafeMutablePointer<Float>
    ) {
        let epsilon = Float(configuration.rmsNormEpsilon)
        let stride = stride ?? width
        let kernels = context.kernels
        context.team.run(taskCount: rows) { row, _ in
            kernels.rmsNorm(x + row * stride, weight.baseAddress, epsilon, out + row * stride, width)
        }
    }

    /// How a linear layer with this weight wants its input: in FP8 for FP8 weights.
    func coding(for weight: StoredWeight) -> LinearProblem.Coding {
        weight.coding(configuration, quantizesActivations: quantizesActivations)
    }

    /// `x` as a linear layer with this weight wants it.
    func activations(
        _ x: UnsafeMutablePointer<Float>, rows: Int, width: Int, for weight: StoredWeight
    ) throws(FathomError) -> LayerInput {
        let coding = coding(for: weight)
        guard coding != .float32 else { return LayerInput(x, width: width) }
        let out = LayerInput(try arena.take(rows * coding.floatCount(width)), width: width, coding: coding)
        context.team.run(taskCount: rows) { row, _ in quantize(x + row * width, into: out, row: row) }
        return out
    }

    /// Quantises a row.
    func quantize(_ x: UnsafePointer<Float>, into out: LayerInput, row: Int) {
        guard case .float8E4M3(let blockColumns) = out.coding else { return }
        quantizeActivations(
            x, width: out.width, blockColumns: blockColumns,
            powerOfTwoScales: configuration.quantization?.powerOfTwoScales == true, into: out.from(row: row).rows,
            on: context)
    }

    /// The product of all rows with one weight, in fresh memory.
    func project(
        _ x: LayerInput, rows: Int, by weight: StoredWeight
    ) throws(FathomError) -> UnsafeMutablePointer<Float> {
        let width = weight.matrix.outputCount
        let out = try arena.take(rows * width)
        linear([problem(x, rows: rows, weight, out: out)], on: context)
        return out
    }

    /// Dense rows times one weight.
    func problem(
        _ x: LayerInput, rows: Int, _ weight: StoredWeight, out: UnsafeMutablePointer<Float>
    ) -> LinearProblem {
        LinearProblem(
            a: x.rows, aStride: x.stride, coding: x.coding, rowCount: rows, weight: weight.matrix, out: out,
            outStride: weight.matrix.outputCount)
    }

    /// out += x, row by row.
    func add(_ x: UnsafePointer<Float>, to out: UnsafeMutablePointer<Float>, rows: Int) {
        let kernels = context.kernels
        context.team.run(taskCount: rows) { row, _ in
            kernels.addScaled(x + row * hiddenSize, 1, out + row * hiddenSize, hiddenSize)
        }
    }
}
