// SPDX-License-Identifier: MIT

internal import KernelDispatch
internal import Kernels

/// What lies between the two products of an expert: a row of sums [gate, up] becomes a row of the second product's A.
///
///     gate, up = bf16(sums); gate = min(gate, limit), up within ± limit, where there is one
///     a = gate / (1 + e^−gate) · up · weight, in float32
///
/// A NaN is left as it is by the limit.
struct ExpertUnit {
    /// A bfloat16 number, or nil for no limit.
    var limit: Float?

    /// Replaces the first half of a row of sums.
    ///
    /// - Parameters:
    ///   - values: `count` sums of the gate and as many of up.
    ///   - bits: room for as many bfloat16 numbers.
    func run(
        _ values: UnsafeMutablePointer<Float>, count: Int, weight: Float, bits: UnsafeMutablePointer<Float>,
        _ kernels: KernelTable
    ) {
        // SAFETY: both halves lie in the row, and the bits in memory of their own.
        let up = values + count
        let rounded = UnsafeMutableRawPointer(bits).assumingMemoryBound(to: UInt16.self)
        kernels.roundBFloat16(values, rounded, 2 * count)
        kernels.decodeBFloat16(rounded, values, 2 * count, 1)
        if let limit {
            for column in 0..<count {
                if values[column] > limit { values[column] = limit }
                if up[column] > limit { up[column] = limit }
                if up[column] < -limit { up[column] = -limit }
            }
        }
        kernels.siluMultiply(values, up, count)
        for column in 0..<count { values[column] *= weight }
    }
}
