// SPDX-License-Identifier: MIT

public import KernelDispatch
internal import Kernels
public import Platform
internal import Tensors
internal import Workers

/// Quantises to FP8 E4M3 with one scale per block of `granularity`: DeepGEMM's `per_token_cast_to_fp8`,
/// `per_channel_cast_to_fp8`, `per_block_cast_to_fp8` and `per_custom_dims_cast_to_fp8`.
///
///     scale = max(max |x|, 10⁻⁴) / 448, with `powerOfTwoScales` rounded up to a power of two
///     code  = e4m3(x · (1 / scale)), to nearest, ties to even, saturating at ±448
///
/// in float32, so the codes are those of any implementation of that definition. The model's own activation
/// quantisation (`quantizeActivations`, `ActivationQuantization`) divides by the scale instead.
///
/// - A NaN does not enter the maximum and becomes a NaN code; its neighbours are not disturbed.
/// - A block with an infinity has scale +∞, so that all of it decodes to NaN; with power-of-two scales the scale is
///   2¹²⁷, infinities decode to infinities, and numbers below 2¹¹⁷ to zero.
///
/// - Returns: codes and scales, blocks at the right and lower edge cut.
/// - Throws: `usage` for an impossible granularity, `unavailable` without memory.
public func quantizeFloat8(
    _ input: FloatRows, granularity: ScaleGranularity = .perToken(), powerOfTwoScales: Bool = false,
    on context: ComputeContext
) throws(FathomError) -> QuantizedMatrix {
    try quantize(input, .float8E4M3, granularity, powerOfTwoScales, context)
}

/// Quantises to FP4 E2M1 with one scale per block of `granularity`: DeepGEMM's `per_token_cast_to_fp4`.
///
///     scale = max(max |x|, 10⁻⁴) / 6, with `powerOfTwoScales` rounded up to a power of two
///     code  = e2m1(x · (1 / scale)): a magnitude moves up a level only strictly above the middle
///
/// A block with a NaN has a NaN scale, since no code can hold it; infinities are treated as by `quantizeFloat8`.
///
/// - Throws: `usage` also for blocks of an odd width, which would begin in the middle of a byte.
public func quantizeFloat4(
    _ input: FloatRows, granularity: ScaleGranularity = .perToken(32), powerOfTwoScales: Bool = true,
    on context: ComputeContext
) throws(FathomError) -> QuantizedMatrix {
    try quantize(input, .float4E2M1, granularity, powerOfTwoScales, context)
}

/// Elements that one task quantises, at least.
private let quantizeTaskElements = 1 << 15

private func quantize(
    _ input: FloatRows, _ format: QuantizedMatrix.Format, _ granularity: ScaleGranularity,
    _ powerOfTwoScales: Bool, _ context: ComputeContext
) throws(FathomError) -> QuantizedMatrix {
    let result = try QuantizedMatrix(
        format: format, rowCount: input.rowCount, columnCount: input.columnCount, granularity: granularity)
    guard input.rowCount > 0, input.columnCount > 0 else { return result }
    let kernel =
        switch (format, input.element) {
        case (.float8E4M3, .float32): context.kernels.quantizeE4M3Float32
        case (.float8E4M3, .bfloat16): context.kernels.quantizeE4M3BFloat16
        case (.float4E2M1, .float32): context.kernels.quantizeFloat4Float32
        case (.float4E2M1, .bfloat16): context.kernels.quantizeFloat4BFloat16
        }
    let scales = result.scales
    let stripRows = min(granularity.rows, input.rowCount)
    let stripElements = max(1, stripRows * input.columnCount)
    // The team counts tasks up to 2²⁰; strips are bundled well before that.
    let bundle = max(1, quantizeTaskElements / stripElements, ceilDivide(scales.rowBlocks, 1 << 16))
    let sourceStride = input.rowStride * input.element.byteCount
    context.team.run(taskCount: ceilDivide(scales.rowBlocks, bundle)) { task, _ in
        for strip in task * bundle..<min((task + 1) * bundle, scales.rowBlocks) {
            let firstRow = strip * granularity.rows
            // SAFETY: the strip's rows lie inside the input and the result; strips do not share a row.
            var arguments = QuantizeArguments(
                source: input.baseAddress + firstRow * sourceStride, sourceStride: sourceStride,
                rowCount: min(granularity.rows, input.rowCount - firstRow), columnCount: input.columnCount,
                blockColumns: min(granularity.columns, input.columnCount), powerOfTwoScales: powerOfTwoScales,
                codes: result.codes.baseAddress + firstRow * result.rowByteCount, codeStride: result.rowByteCount,
                scales: scales.values.baseAddress + strip * scales.columnBlocks)
            kernel(&arguments)
        }
    }
    return result
}
