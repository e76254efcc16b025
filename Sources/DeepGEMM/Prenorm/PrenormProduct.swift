// SPDX-License-Identifier: MIT

public import KernelDispatch
internal import Kernels
public import Platform
public import Tensors
internal import Workers

/// A product and the squares that a later RMSNorm needs: what `prenormProduct` makes.
public struct PrenormProduct: Sendable {
    /// Parts of the summed dimension: 1, or what was asked for.
    public let splitCount: Int
    public let rowCount: Int
    public let outputCount: Int
    /// D, [splitCount, rowCount, outputCount]. The splits add up to A·Bᵀ.
    public let products: AlignedBuffer<Float>
    /// Σₖ a², [splitCount, rowCount]. The splits add up to the row's sum.
    public let squareSums: AlignedBuffer<Float>
}

/// D = A·Bᵀ together with the sum of squares of each row of A, read once: DeepGEMM's `tf32_hc_prenorm_gemm`, with which
/// hyper-connections project before they normalise. The norm is finished later, with 1/√(s/K + ε).
///
/// Everything is float32; the original rounds B to TF32. Sums go in chunks of `linearChunk` as in `linear`, so a row's
/// result does not depend on the other rows or the number of threads, bit for bit.
///
/// - Parameters:
///   - a: [m, k], bfloat16 or float32.
///   - b: [n, k], float32 or bfloat16.
///   - splitCount: how many parts of K to keep apart, for few rows and many threads. Split i has the elements from
///     i · w to (i + 1) · w, where w is ⌈k / splitCount⌉ rounded up to 64.
/// - Throws: `usage` naming the extent that does not fit, `unavailable` without memory.
public func prenormProduct(
    _ a: FloatRows, _ b: FloatRows, splitCount: Int = 1, on context: ComputeContext
) throws(FathomError) -> PrenormProduct {
    guard a.columnCount == b.columnCount else {
        throw FathomError(
            .usage, "A has \(a.columnCount) columns, B \(b.columnCount); equal numbers are legal")
    }
    guard splitCount >= 1, splitCount <= 1 << 16 else {
        throw FathomError(.usage, "\(splitCount) splits of K; 1…\(1 << 16) is legal")
    }
    let count = try elementCount([splitCount, a.rowCount, b.rowCount], of: "the product")
    let result = PrenormProduct(
        splitCount: splitCount, rowCount: a.rowCount, outputCount: b.rowCount,
        products: try AlignedBuffer(count: count, purpose: "the product"),
        squareSums: try AlignedBuffer(
            count: elementCount([splitCount, a.rowCount], of: "sums of squares"), purpose: "sums of squares"))
    let work = PrenormTasks(a: a, b: b, result: result, threads: context.team.threadCount)
    context.team.run(taskCount: work.taskCount) { task, worker in
        for part in work.parts(of: task) { work.compute(part, context.kernels, context.scratch(of: worker)) }
    }
    return result
}

/// Blocks of rows times runs of outputs times splits.
private struct PrenormTasks {
    let a: FloatRows
    let b: FloatRows
    let result: PrenormProduct
    let outputsPerPart: Int
    let outputParts: Int
    let rowParts: Int
    let splitWidth: Int
    let bundle: Int

    static let rowsPerPart = 48
    /// Floats between decoded rows.
    static let stride = linearChunk + 16

    init(a: FloatRows, b: FloatRows, result: PrenormProduct, threads: Int) {
        self.a = a
        self.b = b
        self.result = result
        splitWidth = ceilDivide(ceilDivide(a.columnCount, result.splitCount), 64) * 64
        rowParts = ceilDivide(a.rowCount, Self.rowsPerPart)
        // Few rows are shared out by their outputs.
        outputsPerPart = rowParts * result.splitCount >= threads * 4 ? 96 : 12
        // Without outputs there are still squares.
        outputParts = max(1, ceilDivide(b.rowCount, outputsPerPart))
        bundle = max(1, ceilDivide(rowParts * outputParts * result.splitCount, 1 << 18))
    }

    private var partCount: Int { rowParts * outputParts * result.splitCount }
    var taskCount: Int { ceilDivide(partCount, bundle) }

    func parts(of task: Int) -> Range<Int> {
        task * bundle..<min((task + 1) * bundle, partCount)
    }

    func compute(_ part: Int, _ kernels: KernelTable, _ scratch: UnsafeMutablePointer<Float>) {
        let firstOutput = part % outputParts * outputsPerPart
        let firstRow = part / outputParts % rowParts * Self.rowsPerPart
        let split = part / outputParts / rowParts
        let rows = min(Self.rowsPerPart, a.rowCount - firstRow)
        let outputs = min(outputsPerPart, b.rowCount - firstOutput)
        // SAFETY: rows and outputs lie inside both operands and the result, whose buffers start as zeros; scratch
        // holds 48 decoded rows of A and 96 of B.
        let panel = scratch + Self.rowsPerPart * Self.stride
        let row = split * a.rowCount + firstRow
        let squares = result.squareSums.baseAddress + row
        let end = min((split + 1) * splitWidth, a.columnCount)
        var chunk = split * splitWidth
        while chunk < end {
            let count = min(linearChunk, end - chunk)
            decode(a, firstRow, rows, chunk, count, to: scratch, kernels)
            if firstOutput == 0 {
                for index in 0..<rows {
                    squares[index] += kernels.sumOfSquares(scratch + index * Self.stride, count)
                }
            }
            decode(b, firstOutput, outputs, chunk, count, to: panel, kernels)
            var block = DotBlockArguments(
                // SAFETY: as above.
                a: UnsafePointer(scratch), aStride: Self.stride, rowCount: rows, b: UnsafePointer(panel),
                bStride: Self.stride, outputCount: outputs, count: count, factor: 1,
                out: result.products.baseAddress + (row * b.rowCount + firstOutput), outStride: b.rowCount)
            kernels.dotBlock(&block)
            chunk += count
        }
    }

    private func decode(
        _ matrix: FloatRows, _ firstRow: Int, _ rows: Int, _ column: Int, _ count: Int,
        to destination: UnsafeMutablePointer<Float>, _ kernels: KernelTable
    ) {
        for row in 0..<rows {
            // SAFETY: the row and the columns lie inside the matrix; the destination has room for `stride` a row.
            let offset = (firstRow + row) * matrix.rowStride + column
            let source = matrix.baseAddress + offset * matrix.element.byteCount
            let place = destination + row * Self.stride
            if matrix.element == .bfloat16 {
                kernels.decodeBFloat16(source, place, count, 1)
            } else {
                // SAFETY: as above.
                UnsafeMutableRawPointer(place).copyMemory(from: source, byteCount: count * 4)
            }
        }
    }
}
