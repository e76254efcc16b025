// SPDX-License-Identifier: MIT

/// Which rows (or K indices) of A belong to which matrix of B.
///
/// Counts, ids and offsets are read when the product begins. Groups may be empty.
public enum GroupLayout {
    /// M-grouped contiguous by ids: row m of A [M, K] is multiplied with matrix `ids[m]` of B [G, N, K]; −1 marks
    /// padding. No alignment is needed; rows of one id that follow each other are computed together.
    ///
    /// - Parameter zeroesPadding: whether the rows of D with id −1 become 0; else they keep what they hold.
    case ids(UnsafePointer<Int32>, zeroesPadding: Bool = false)
    /// M-grouped contiguous by prefix ends: rows start(g) ..< ends[g] of A [M, K] are multiplied with matrix g of B
    /// [G, N, K], where start(g) is ends[g − 1] rounded up to `alignment`, and start(0) is 0. The rest is padding.
    case ends(UnsafePointer<Int32>, alignment: Int = 1, zeroesPadding: Bool = false)
    /// M-grouped masked: the first `counts[g]` rows of matrix g of A [G, Mmax, K] with matrix g of B [G, N, K]; the
    /// other rows of D [G, Mmax, N] keep what they hold.
    case masked(UnsafePointer<Int32>)
    /// Matrix g of A [G, M, K] with matrix g of B [G, N, K] into matrix g of D [G, M, N].
    case batched
    /// D [M, N] = Σ over g of A[g]·B[g]ᵀ, in ascending order of g.
    case summed
    /// K-grouped: D[g] [M, N] = C[g] + the product of the K indices of group g. A [M, ΣK] and B [N, ΣK] are cut along K
    /// into parts of `counts[g]`, one per matrix of D; `groups` is their number.
    case depth(UnsafePointer<Int32>, groups: Int, storage: DepthStorage = .oneMatrix)

    /// How the operands of a K-grouped product lie.
    public enum DepthStorage: String, Sendable, CaseIterable {
        /// Each operand is one matrix with its stride, of either order.
        case oneMatrix
        /// Group after group, each a K-major matrix [M, K_g] or [N, K_g] without gaps. `stride` does not matter.
        case blocks
    }
}
