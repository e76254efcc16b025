// SPDX-License-Identifier: MIT

// SAFETY: In this file pointers are rows of matrices whose extents the call checked, or a worker's scratch memory.

public import KernelDispatch
internal import Kernels
public import Platform
internal import Workers

/// The next streams Σⱼ res[i, j] x[j] + post[i] y of n residual streams and a layer's output: the second half of
/// DeepGEMM's `mega_mhc`; see `HyperConnections`.
///
/// Each number is one chain of multiply-adds in float32, the streams in their order and then the output. Tokens do not
/// depend on each other.
///
/// - Parameters:
///   - streams: x [tokens, n · C], bfloat16 or float32.
///   - layerOutput: y [tokens, C], bfloat16 or float32.
///   - coefficients: what `hyperConnectionInput` gave for these streams.
///   - next: [tokens, n · C], float32 or bfloat16. It may be the streams themselves, in the same format with the same
///     stride, or share no byte with the operands.
/// - Throws: `usage` naming the extent or format that does not fit, before anything is written.
public func hyperConnectionOutput(
    _ streams: FloatRows, layerOutput: FloatRows, coefficients: HyperCoefficients, into next: MatrixResult,
    on context: ComputeContext
) throws(FathomError) {
    let n = coefficients.streamCount
    let width = layerOutput.columnCount
    guard width <= HyperConnections.widthLimit else {
        throw FathomError(.usage, "a layer's output \(width) wide; up to \(HyperConnections.widthLimit) is legal")
    }
    try requireStreams(streams, streamCount: n, width: width)
    guard layerOutput.rowCount == streams.rowCount, coefficients.tokenCount == streams.rowCount else {
        throw FathomError(
            .usage,
            "a layer's output of \(layerOutput.rowCount) tokens and coefficients of \(coefficients.tokenCount); "
                + "\(streams.rowCount) is legal, as many as tokens of the streams")
    }
    guard next.format != .float8E4M3 else {
        throw FathomError(.usage, "the next streams in fp8; fp32 and bf16 are legal")
    }
    guard next.stride >= n * width, next.stride <= ScaleGrid.extentLimit else {
        throw FathomError(
            .usage, "the next streams' rows are \(next.stride) apart; at least \(n * width) is legal")
    }
    let chunks = max(1, ceilDivide(width, hyperChunk))
    let bundle = max(1, ceilDivide(streams.rowCount * chunks, hyperTaskLimit))
    context.team.run(taskCount: ceilDivide(streams.rowCount * chunks, bundle)) { task, worker in
        let scratch = context.scratch(of: worker)
        for piece in task * bundle..<min((task + 1) * bundle, streams.rowCount * chunks) {
            let (token, chunk) = piece.quotientAndRemainder(dividingBy: chunks)
            let columns = chunk * hyperChunk..<min((chunk + 1) * hyperChunk, width)
            if chunk + 1 < chunks || token + 1 < streams.rowCount {
                // What comes next; every stream goes through memory at a place of its own.
                let after = chunk + 1 < chunks ? (token, columns.upperBound) : (token + 1, 0)
                streams.prefetchStreams(
                    token: after.0, count: n, width: width, from: after.1, context.kernels)
            }
            streams.decodeStreams(
                token: token, count: n, width: width, columns: columns, to: scratch, context.kernels)
            layerOutput.decode(row: token, columns: columns, to: scratch + n * hyperChunk, context.kernels)
            expand(columns, token: token, scratch: scratch)
        }
    }

    /// Mixes decoded columns and stores them.
    func expand(_ columns: Range<Int>, token: Int, scratch: UnsafeMutablePointer<Float>) {
        let kernels = context.kernels
        let factors = scratch + (n + 1) * hyperChunk
        let sums = factors + n * (n + 1)
        let place = coefficients.place(token)
        for stream in 0..<n {
            for other in 0..<n { factors[stream * (n + 1) + other] = place[2 * n + stream * n + other] }
            factors[stream * (n + 1) + n] = place[n + stream]
        }
        var product = OuterProductArguments(
            a: UnsafePointer(factors), aStride: n + 1, b: UnsafePointer(scratch), bStride: hyperChunk, out: sums,
            outStride: hyperChunk, rowCount: n, innerCount: n + 1, columnCount: columns.count, accumulates: false)
        kernels.outerProduct(&product)
        for stream in 0..<n {
            let column = token * next.stride + stream * width + columns.lowerBound
            let out = next.baseAddress + column * next.format.byteCount
            if next.format == .float32 {
                out.copyMemory(from: sums + stream * hyperChunk, byteCount: columns.count * 4)
            } else {
                kernels.roundBFloat16(
                    sums + stream * hyperChunk, out.assumingMemoryBound(to: UInt16.self), columns.count)
            }
        }
    }
}

/// Tasks of one region, far below what the team counts to.
private let hyperTaskLimit = 1 << 14
