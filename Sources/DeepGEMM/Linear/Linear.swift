// SPDX-License-Identifier: MIT

public import KernelDispatch
internal import Kernels
internal import Workers

/// Computes a group of independent products D (+)= A·Bᵀ in one parallel region.
///
/// A linear layer is a group of one; the experts of a layer, each with its own rows, are the M-grouped product of
/// DeepGEMM. A row's bits do not depend on the other rows, the grouping or the number of threads. With FP8 weights and
/// float activations the block scale multiplies the activation (one rounding to float32), then the code; with FP8
/// activations the scales multiply sums of exact products where the processor multiplies bfloat16 pairs. The same
/// driver as `gemm`, without its checks: the callers are layers of a model that was checked when it was loaded.
public func linear(_ problems: [LinearProblem], on context: ComputeContext) {
    GemmDriver(problems.map(GemmProblem.init), for: context).run(on: context)
}

extension GemmProblem {
    /// Activations times a weight, or a slice of its outputs.
    fileprivate init(_ problem: LinearProblem) {
        // SAFETY: only the types of the pointers change; the caller keeps the memory.
        let width = problem.weight.inputCount
        var a = MatrixOperand(
            UnsafeRawPointer(problem.a), .float32, rowCount: problem.rowCount, columnCount: width,
            stride: problem.aStride)
        if case .float8E4M3(let blockColumns) = problem.coding {
            a.format = .float8E4M3
            a.stride = problem.aStride * 4
            a.scales = BlockScales(
                problem.a + ceilDivide(width, 4), granularity: .perToken(blockColumns), rowStride: problem.aStride,
                blockStride: 1)
        }
        let d = MatrixResult(problem.out, stride: problem.outStride)
        self.init(
            a: OperandSlice(a), b: OperandSlice(MatrixOperand(problem.weight)), rowCount: problem.rowCount,
            outputs: problem.outputs, depth: width, d: ResultSlice(d),
            c: problem.accumulates ? AddendSlice(MatrixAddend(accumulatingInto: d)) : nil)
    }
}

/// Quantises one row of activations as DeepSeek-V3 does (`ActivationQuantization`): scale = max(|x|ₘₐₓ, 10⁻⁴) / 448,
/// rounded up to a power of two if `powerOfTwoScales`, and code = e4m3(x / scale). A block that holds NaN or infinity
/// gets a NaN scale.
///
/// - Parameters:
///   - x: `width` floats.
///   - out: the row as `LinearProblem.Coding` says, apart from `x`.
public func quantizeActivations(
    _ x: UnsafePointer<Float>, width: Int, blockColumns: Int, powerOfTwoScales: Bool,
    into out: UnsafeMutablePointer<Float>, on context: ComputeContext
) {
    // SAFETY: the caller gives a whole row; codes and scales lie in it side by side.
    let codes = UnsafeMutableRawPointer(out).assumingMemoryBound(to: UInt8.self)
    var arguments = QuantizeArguments(
        source: UnsafeRawPointer(x), sourceStride: 0, rowCount: 1, columnCount: width, blockColumns: blockColumns,
        powerOfTwoScales: powerOfTwoScales, areActivations: true, codes: codes, codeStride: 0,
        scales: out + ceilDivide(width, 4))
    context.kernels.quantizeE4M3Float32(&arguments)
}
