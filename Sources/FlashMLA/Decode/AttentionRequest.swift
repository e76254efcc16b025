// SPDX-License-Identifier: MIT

public import Tensors

/// Queries of consecutive tokens of one sequence, to attend to the sequence's cached rows.
///
/// Causal: the token at position p sees positions 0…p, whose rows must be in the cache already, its own included.
/// The pointers must stay valid until the call that takes the request returns.
public struct AttentionRequest {
    /// Absorbed queries [tokenCount, heads, rowWidth], dense: per head the part for the latent, then the rotated part.
    public var queries: UnsafeRawPointer
    /// `float32` or `bfloat16`: the latter is what a bfloat16 cache is fast with.
    public var queryType: ScalarType
    /// Results [tokenCount, heads, valueWidth], dense.
    public var out: UnsafeMutablePointer<Float>
    public var tokenCount: Int
    /// The position of the first token.
    public var firstPosition: Int
    /// The sequence's cache blocks, ⌈(firstPosition + tokenCount) / blockSize⌉ at least.
    public var blockTable: UnsafePointer<Int32>

    public init(
        queries: UnsafeRawPointer, _ queryType: ScalarType = .float32, out: UnsafeMutablePointer<Float>,
        tokenCount: Int, firstPosition: Int, blockTable: UnsafePointer<Int32>
    ) {
        self.queries = queries
        self.queryType = queryType
        self.out = out
        self.tokenCount = tokenCount
        self.firstPosition = firstPosition
        self.blockTable = blockTable
    }
}
