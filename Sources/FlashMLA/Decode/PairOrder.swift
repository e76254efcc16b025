// SPDX-License-Identifier: MIT

internal import KernelDispatch
internal import Kernels

/// Attention on bfloat16 pairs as one call uses it: its kernels, and the order in which they keep columns.
///
/// Queries, decoded keys and unnormalised outputs are in the order that is cheapest for the kernels; results are put
/// into theirs at the end. Merging sums does not care.
struct PairOrder {
    let kernels: PairAttentionKernels
    /// Leading columns of a row that are packed codes, a multiple of 64; none in a bfloat16 cache.
    let latentWidth: Int
    /// Columns that share a scale.
    let groupWidth: Int

    /// Nil where the instruction set has no pairs or rows are no whole vectors of them.
    ///
    /// - Parameter groupWidth: as if it were 64 where it is less, or where keys of several formats meet.
    init?(_ kernels: PairAttentionKernels?, latentWidth: Int, groupWidth: Int = 64, rowWidth: Int, valueWidth: Int) {
        guard let kernels, rowWidth % 32 == 0, valueWidth % (latentWidth > 0 ? 64 : 32) == 0 else { return nil }
        self.kernels = kernels
        self.latentWidth = latentWidth
        self.groupWidth = max(64, groupWidth)
    }

    /// Vectors of 32 columns whose products are summed before their sum is added to the total: few where scales of
    /// groups may come between.
    func groupVectors(rowWidth: Int) -> Int { (latentWidth > 0 ? groupWidth : rowWidth) / 32 }

    /// Bytes from one copied or decoded key to the next; the excess keeps columns from falling on the same cache sets.
    static func keyStride(_ rowWidth: Int) -> Int { 2 * rowWidth + 64 }

    /// Copies a bfloat16 query [width] into the kernels' order.
    func arrange(_ query: UnsafeRawPointer, width: Int, to target: UnsafeMutableRawPointer) {
        // SAFETY: both have `width` numbers; in runs of 64 columns the even eights come first, then the odd ones.
        for column in stride(from: 0, to: latentWidth, by: 64) {
            for eight in 0..<8 {
                let source = query + 2 * column + 16 * eight
                target.storeBytes(
                    of: source.loadUnaligned(as: SIMD4<UInt32>.self),
                    toByteOffset: 2 * column + 64 * (eight % 2) + 16 * (eight / 2), as: SIMD4<UInt32>.self)
            }
        }
        (target + 2 * latentWidth).copyMemory(from: query + 2 * latentWidth, byteCount: 2 * (width - latentWidth))
    }

    /// Copies an output [width] from the kernels' order into that of columns.
    func restore(_ output: UnsafePointer<Float>, width: Int, to target: UnsafeMutablePointer<Float>) {
        // Sums of a run of columns lie in a few vectors, each with four neighbours from each quarter of the run.
        func restore(run: Int, vectors: Int) {
            for vector in 0..<vectors {
                for quarter in 0..<4 {
                    let from = run + 16 * vector + 4 * quarter
                    let to = run + 4 * vectors * quarter + 4 * vector
                    // SAFETY: both lie in the run, which lies in the output.
                    let four = UnsafeRawPointer(output + from).loadUnaligned(as: SIMD4<Float>.self)
                    UnsafeMutableRawPointer(target + to).storeBytes(of: four, as: SIMD4<Float>.self)
                }
            }
        }
        let latent = min(latentWidth, width)
        for run in stride(from: 0, to: latent, by: 64) { restore(run: run, vectors: 4) }
        for run in stride(from: latent, to: width, by: 32) { restore(run: run, vectors: 2) }
    }
}
