// SPDX-License-Identifier: MIT

public import Platform

/// Queries [queryCount, headCount, depth] of the indexer with a weight per query and head.
///
/// A scale per row of FP8 queries multiplies the weight, since it is positive; the originals leave that to the caller.
public struct IndexerQueries: Sendable {
    /// Rows [queryCount · headCount, depth].
    public let values: IndexerMatrix
    public let headCount: Int
    /// [queryCount, headCount], float32 or bfloat16.
    public let weights: FloatRows

    /// How many queries there are.
    public var queryCount: Int { weights.rowCount }

    /// - Throws: `usage` if the extents of values and weights do not fit together.
    public init(values: IndexerMatrix, headCount: Int, weights: FloatRows) throws(FathomError) {
        guard headCount >= 1 else {
            throw FathomError(.usage, "the indexer has \(headCount) heads; at least 1 is legal")
        }
        guard weights.columnCount == headCount else {
            throw FathomError(
                .usage, "weights have \(weights.columnCount) columns; the indexer has \(headCount) heads")
        }
        guard values.rowCount / headCount == weights.rowCount, values.rowCount % headCount == 0 else {
            throw FathomError(
                .usage,
                "\(values.rowCount) query rows for \(weights.rowCount) rows of weights and \(headCount) heads; "
                    + "as many as rows of weights times heads are legal")
        }
        self.values = values
        self.headCount = headCount
        self.weights = weights
    }
}
