// SPDX-License-Identifier: MIT

/// The rows of one pool that each token of some requests sees.
public struct SparseSelection {
    public var pool: SparsePool
    /// Rows of the pool [requests, tokens, topK], page · pageSize + offset; −1 is a hole. A row listed more than once
    /// counts as often.
    public var indices: UnsafeBufferPointer<Int32>
    /// Entries in each list.
    public var topK: Int
    /// For each request how many entries of its lists are read [requests]; nil for all.
    public var lengths: UnsafeBufferPointer<Int32>?

    public init(
        pool: SparsePool, indices: UnsafeBufferPointer<Int32>, topK: Int, lengths: UnsafeBufferPointer<Int32>? = nil
    ) {
        self.pool = pool
        self.indices = indices
        self.topK = topK
        self.lengths = lengths
    }

    /// How many entries of the lists of `request` are read.
    func length(_ request: Int) -> Int {
        lengths.map { Int($0[request]) } ?? topK
    }
}

/// The results of sparse attention.
public struct SparseResults {
    /// Rows [tokens, heads, value width] for results.
    public var out: MHATensor
    /// ln Σ e^score, without the sink; +∞ where a token has no valid entry. Nil if not wanted.
    public var logSums: UnsafeMutableBufferPointer<Float>?
    /// The largest score; −∞ where a token has no valid entry. Nil if not wanted.
    public var maxima: UnsafeMutableBufferPointer<Float>?

    public init(
        out: MHATensor, logSums: UnsafeMutableBufferPointer<Float>? = nil,
        maxima: UnsafeMutableBufferPointer<Float>? = nil
    ) {
        self.out = out
        self.logSums = logSums
        self.maxima = maxima
    }
}
