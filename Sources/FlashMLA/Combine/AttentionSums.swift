// SPDX-License-Identifier: MIT

internal import Kernels

#if canImport(Glibc)
internal import Glibc
#elseif canImport(Musl)
internal import Musl
#endif

/// What the online softmax knows of some rows: for each the running maximum of its scores, the sum of
/// e^(score − maximum), and the values weighted alike, not yet divided by that sum.
///
/// A row that saw no key has maximum −∞, sum 0 and output 0. Sums over parts of the keys are merged in ascending order
/// of the parts, so that the result does not depend on who computed them.
struct AttentionSums {
    let rowCount: Int
    let valueWidth: Int
    let maxima: UnsafeMutablePointer<Float>
    let sums: UnsafeMutablePointer<Float>
    /// [rowCount, valueWidth], dense.
    let out: UnsafeMutablePointer<Float>

    /// Floats that `rowCount` rows need.
    static func floatCount(rowCount: Int, valueWidth: Int) -> Int { rowCount * (2 + valueWidth) }

    /// - Parameter memory: `floatCount` floats, which this value only refers to.
    init(rowCount: Int, valueWidth: Int, memory: UnsafeMutablePointer<Float>) {
        self.rowCount = rowCount
        self.valueWidth = valueWidth
        maxima = memory
        sums = memory + rowCount
        out = memory + 2 * rowCount
    }

    /// Forgets all keys.
    func clear() {
        maxima.update(repeating: -.infinity, count: rowCount)
        (maxima + rowCount).update(repeating: 0, count: rowCount * (1 + valueWidth))
    }

    /// Folds in the sums of the same rows over keys that follow.
    func merge(_ later: AttentionSums, _ kernels: KernelTable) {
        for row in 0..<rowCount { merge(later, row: row, kernels) }
    }

    /// Folds in the sums of one row over keys that follow.
    func merge(_ later: AttentionSums, row: Int, _ kernels: KernelTable) {
        kernels.mergeAttention(
            maxima + row, sums + row, out + row * valueWidth, later.maxima[row], later.sums[row],
            later.out + row * valueWidth, valueWidth)
    }

    /// Copies everything to memory for as many rows.
    func copy(to memory: UnsafeMutablePointer<Float>) {
        memory.update(from: maxima, count: Self.floatCount(rowCount: rowCount, valueWidth: valueWidth))
    }

    /// Row `row`'s result: its output divided by its sum, to `result` [valueWidth]. Returns ln Σ e^score.
    ///
    /// A sink is one more key with that score and the value zero; it is not part of the returned sum. A row without
    /// keys has the result 0 and the sum +∞, as in the original.
    @discardableResult
    func finish(row: Int, sink: Float? = nil, to result: UnsafeMutablePointer<Float>) -> Float {
        let source = out + row * valueWidth
        guard maxima[row] != -.infinity else {
            result.update(repeating: 0, count: valueWidth)
            return .infinity
        }
        let logSum = maxima[row] + logf(sums[row])
        var factor = 1 / sums[row]
        if let sink { factor /= 1 + expf(sink - logSum) }
        for column in 0..<valueWidth { result[column] = source[column] * factor }
        return logSum
    }
}
