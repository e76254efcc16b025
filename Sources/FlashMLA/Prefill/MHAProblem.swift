// SPDX-License-Identifier: MIT

/// Which tokens belong together, and how they attend: variable-length attention over packed requests.
///
/// Request r has the query tokens queryOffsets[r] ..< queryOffsets[r + 1] and the key tokens of `keyOffsets`
/// likewise; either may be empty. Query i of a request with s_q queries and s_k keys sees key j if the problem is not
/// causal or j ≤ i + s_k − s_q: the last query sees every key.
public struct MHAProblem: Sendable {
    /// Cumulative lengths [requests + 1], from 0 to the token count, never falling (`cu_seqlens_qo`).
    public var queryOffsets: [Int32]
    /// The same for keys and values (`cu_seqlens_kv`).
    public var keyOffsets: [Int32]
    public var isCausal: Bool
    /// Multiplies the dot products before the softmax; usually 1 / √width.
    public var scale: Float

    public init(queryOffsets: [Int32], keyOffsets: [Int32], isCausal: Bool, scale: Float) {
        self.queryOffsets = queryOffsets
        self.keyOffsets = keyOffsets
        self.isCausal = isCausal
        self.scale = scale
    }

    /// Requests of these lengths, one after the other.
    public init(queryLengths: [Int], keyLengths: [Int], isCausal: Bool, scale: Float) {
        self.init(
            queryOffsets: Self.offsets(queryLengths), keyOffsets: Self.offsets(keyLengths), isCausal: isCausal,
            scale: scale)
    }

    /// Cumulative lengths. What Int32 cannot hold is cut off here and does not match the token count later.
    private static func offsets(_ lengths: [Int]) -> [Int32] {
        var total: Int32 = 0
        return [0]
            + lengths.map { length in
                total = Int32(clamping: Int(total) + Int(Int32(clamping: length)))
                return total
            }
    }

    /// Requests; `queryOffsets` must not be empty.
    var requestCount: Int { queryOffsets.count - 1 }
}
