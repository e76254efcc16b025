// SPDX-License-Identifier: MIT

public import KernelDispatch
internal import Kernels
internal import Workers

/// Computes a group of independent products D (+)= A·Bᵀ in one parallel region.
///
/// A linear layer is a group of one; the experts of a layer, each with its own rows, are the M-grouped product of
/// DeepGEMM. A row's bits do not depend on the other rows, the grouping or the number of threads. With FP8 weights the
/// block scale multiplies the activation (one rounding to float32), then the code. The same driver as `gemm`, without
/// its checks: the callers are layers of a model that was checked when it was loaded.
public func linear(_ problems: [LinearProblem], on context: ComputeContext) {
    GemmDriver(problems.map(GemmProblem.init), for: context).run(on: context)
}

extension GemmProblem {
    /// Activations times a weight, or a slice of its outputs.
    fileprivate init(_ problem: LinearProblem) {
        // SAFETY: only the types of the pointers change; the caller keeps the memory.
        let a = MatrixOperand(
            UnsafeRawPointer(problem.a), .float32, rowCount: problem.rowCount,
            columnCount: problem.weight.inputCount, stride: problem.aStride)
        let d = MatrixResult(problem.out, stride: problem.outStride)
        self.init(
            a: OperandSlice(a), b: OperandSlice(MatrixOperand(problem.weight)), rowCount: problem.rowCount,
            outputs: problem.outputs, depth: problem.weight.inputCount, d: ResultSlice(d),
            c: problem.accumulates ? AddendSlice(MatrixAddend(accumulatingInto: d)) : nil)
    }
}
