// SPDX-License-Identifier: MIT

public import KernelDispatch
public import Platform

/// Root-mean-square normalisation of every head's query: q · weights / √(mean q² + epsilon).
public struct QueryNorm {
    /// [row width].
    public var weights: UnsafeBufferPointer<Float>
    public var epsilon: Float

    public init(weights: UnsafeBufferPointer<Float>, epsilon: Float) {
        self.weights = weights
        self.epsilon = epsilon
    }
}

/// Rotary positions of the last columns of queries and results: neighbours (a, b) of pair i turn by the angle of their
/// token's position, (a · cos − b · sin, a · sin + b · cos).
public struct QueryRotation {
    /// Cosines and sines [positions, columnCount / 2].
    public var cosines: UnsafeBufferPointer<Float>
    public var sines: UnsafeBufferPointer<Float>
    /// Columns that turn: 64 in the original. Even.
    public var columnCount: Int
    /// The row of the tables for each token [requests · tokens].
    public var positions: UnsafeBufferPointer<Int32>

    public init(
        cosines: UnsafeBufferPointer<Float>, sines: UnsafeBufferPointer<Float>, columnCount: Int,
        positions: UnsafeBufferPointer<Int32>
    ) {
        self.cosines = cosines
        self.sines = sines
        self.columnCount = columnCount
        self.positions = positions
    }
}

/// Results as the product that follows takes them: FP8 E4M3 with a power of two for every 32 columns.
public struct QuantizedResults {
    /// Codes [tokens, heads · value width]; heads may be read as [groups, heads of a group].
    public var codes: UnsafeMutableBufferPointer<UInt8>
    /// UE8M0 scales, four neighbours in a word with the first in its lowest byte, column by column
    /// [heads · value width / 128, scaleStride]: the words of all tokens for four runs of 32 columns lie side by side.
    public var scales: UnsafeMutableBufferPointer<UInt32>
    /// Words from one column of scales to the next, at least the number of tokens.
    public var scaleStride: Int
    /// As `SparseResults` has them.
    public var logSums: UnsafeMutableBufferPointer<Float>?
    public var maxima: UnsafeMutableBufferPointer<Float>?

    public init(
        codes: UnsafeMutableBufferPointer<UInt8>, scales: UnsafeMutableBufferPointer<UInt32>, scaleStride: Int,
        logSums: UnsafeMutableBufferPointer<Float>? = nil, maxima: UnsafeMutableBufferPointer<Float>? = nil
    ) {
        self.codes = codes
        self.scales = scales
        self.scaleStride = scaleStride
        self.logSums = logSums
        self.maxima = maxima
    }
}

/// Sparse attention with what stands around it in a model: FlashMLA's `fused_norm_rope_attn_rope_cast`.
///
/// For each token and head: the query is normalised (if wanted), its last columns are turned by the token's position,
/// and it is rounded to bfloat16; then comes `sparseDecode` over rows that are value in their whole width; the last
/// columns of the result are turned back; and it becomes FP8 with a scale for every 32 columns. The result is in memory
/// only as FP8.
///
/// A result with a NaN has a NaN scale in its run of 32 columns. Memory beyond the arguments is that of `sparseDecode`.
///
/// - Parameters:
///   - queries: [requests · tokens, heads, row width], row width a multiple of 128.
///   - norm: nil for none.
///   - results: of the heads' whole rows; must not overlap the inputs.
///   - requestCount, selection, extra, scale, sinks: as `sparseDecode` has them.
/// - Throws: as `sparseDecode`; then nothing was written.
public func fusedSparseAttention(
    queries: MHATensor, norm: QueryNorm? = nil, rotation: QueryRotation, requestCount: Int,
    selection: SparseSelection, extra: SparseSelection? = nil, scale: Float,
    sinks: UnsafeBufferPointer<Float>? = nil, results: QuantizedResults, on context: ComputeContext
) throws(FathomError) {
    try SparseRule.check(
        queries: queries, scale: scale, sinks: sinks, logSums: results.logSums?.count, maxima: results.maxima?.count)
    try SparseRule.check(norm: norm, rotation, results, queries: queries)
    // SAFETY: only the view's extents are used; results are written as codes.
    let out = MHATensor(
        reading: queries.baseAddress, queries.scalarType, tokenCount: queries.tokenCount,
        headCount: queries.headCount, width: queries.width)
    try runSparseDecode(
        queries: queries, requestCount: requestCount, selection: selection, extra: extra, scale: scale, sinks: sinks,
        results: SparseResults(out: out, logSums: results.logSums, maxima: results.maxima),
        fusion: SparseFusion(norm: norm, rotation: rotation, results: results), on: context)
}

extension SparseRule {
    /// Norm, tables and results fit the queries.
    static func check(
        norm: QueryNorm?, _ rotation: QueryRotation, _ results: QuantizedResults, queries: MHATensor
    ) throws(FathomError) {
        guard queries.width % 128 == 0 else {
            throw FathomError(
                .usage,
                """
                queries are \(queries.width) wide; four scales of 32 columns make a word, so multiples of 128 are legal
                """)
        }
        if let norm, norm.weights.count != queries.width || !(norm.epsilon >= 0) {
            throw FathomError(
                .usage,
                """
                the norm has \(norm.weights.count) weights and epsilon \(norm.epsilon); legal are \(queries.width) \
                weights and 0 or more
                """)
        }
        let columns = rotation.columnCount
        guard (0...queries.width).contains(columns), columns % 2 == 0 else {
            throw FathomError(
                .usage, "\(columns) columns turn; legal are even numbers from 0 to \(queries.width)")
        }
        guard rotation.cosines.count == rotation.sines.count, rotation.cosines.count % max(columns / 2, 1) == 0 else {
            throw FathomError(
                .usage,
                """
                there are \(rotation.cosines.count) cosines and \(rotation.sines.count) sines; legal are equally many, \
                \(columns / 2) for each position
                """)
        }
        guard rotation.positions.count == queries.tokenCount else {
            throw FathomError(
                .usage,
                "there are \(rotation.positions.count) positions; \(queries.tokenCount) tokens need as many")
        }
        let rows = columns == 0 ? Int.max : rotation.cosines.count / (columns / 2)
        for (token, position) in rotation.positions.enumerated() where position < 0 || Int(position) >= rows {
            throw FathomError(
                .usage, "the position of token \(token) is \(position); the tables have \(rows), from 0")
        }
        let (rowBytes, words) = (queries.headCount * queries.width, queries.headCount * queries.width / 128)
        guard results.codes.count == queries.tokenCount * rowBytes else {
            throw FathomError(
                .usage,
                """
                there is room for \(results.codes.count) codes; \(queries.tokenCount) tokens of \(rowBytes) need \
                \(queries.tokenCount * rowBytes)
                """)
        }
        let (needed, overflow) = results.scaleStride.multipliedReportingOverflow(by: words)
        guard results.scaleStride >= queries.tokenCount, !overflow, results.scales.count == needed else {
            throw FathomError(
                .usage,
                """
                there is room for \(results.scales.count) words of scales in columns of \(results.scaleStride); legal \
                are \(words) columns of \(queries.tokenCount) or more
                """)
        }
    }
}
