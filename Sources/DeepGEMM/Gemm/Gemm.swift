// SPDX-License-Identifier: MIT

public import KernelDispatch
public import Platform
internal import Workers

/// D = epilogue(A·Bᵀ + C): one product of any shape, orders and formats.
///
/// A is [M, K], B is [N, K], D [M, N] (with a gate [M, N/2], with heads wider). Any M, N and K, 0 included: without K,
/// D is the epilogue of C or of zeros. DeepGEMM's `fp8_fp4_gemm_{nt,nn,tn,tt}`, `bf16_gemm_*`, `cublaslt_gemm_*` and
/// `fp8_gemm_nt_skip_head_mid`.
///
/// A row's bits depend on its own numbers, on B and on the epilogue: not on the other rows, the orders, the number of
/// threads or the grouping. Memory beyond the operands is the workers' scratch (4 MiB each) and about 500 bytes per
/// group or run of rows.
///
/// - Parameters:
///   - c: what is added; nil for nothing.
/// - Throws: `usage` naming the operand, what was given and what is legal.
public func gemm(
    _ a: MatrixOperand, _ b: MatrixOperand, adding c: MatrixAddend? = nil, into d: MatrixResult,
    epilogue: Epilogue = Epilogue(), on context: ComputeContext
) throws(FathomError) {
    let problems = try GemmCall(a: a, b: b, c: c, d: d, epilogue: epilogue).plain()
    GemmDriver(problems, epilogue: epilogue, for: context).run(on: context)
}

/// The products of all groups of `groups` in one parallel region; see `GroupLayout` for the shapes.
///
/// DeepGEMM's `m_grouped_fp8_fp4_gemm_{nt,nn}_contiguous`, `m_grouped_fp8_fp4_gemm_nt_masked`,
/// `k_grouped_fp8_gemm_{nt,tn}_contiguous` and their BF16 forms.
///
/// - Throws: `usage` naming the operand, group or row, what was given and what is legal. Nothing is computed then.
public func gemm(
    _ a: MatrixOperand, _ b: MatrixOperand, groups: GroupLayout, adding c: MatrixAddend? = nil,
    into d: MatrixResult, epilogue: Epilogue = Epilogue(), on context: ComputeContext
) throws(FathomError) {
    let call = GemmCall(a: a, b: b, c: c, d: d, epilogue: epilogue)
    let problems = try call.grouped(groups)
    GemmDriver(problems, epilogue: epilogue, for: context).run(on: context)
}
