// SPDX-License-Identifier: MIT

#if canImport(Glibc)
internal import Glibc
#elseif canImport(Musl)
internal import Musl
#endif

/// Dense paged decoding as a definition, in Double, one key after the other.
///
/// Token j of a request is the cache's row block = table[j / page], offset = j % page; query head h reads key head
/// h / (heads / keyHeads); token i of `tokens` sees j < length and, if causal, j ≤ length − tokens + i.
public struct ReferenceDecode: Sendable {
    /// Extents: query tokens of a request, query heads, key heads, page, row width, value width.
    public var tokens: Int
    public var heads: Int
    public var keyHeads: Int
    public var pageSize: Int
    public var rowWidth: Int
    public var valueWidth: Int
    public var isCausal: Bool
    public var scale: Double

    public init(
        tokens: Int, heads: Int, keyHeads: Int = 1, pageSize: Int, rowWidth: Int, valueWidth: Int, isCausal: Bool,
        scale: Double
    ) {
        self.tokens = tokens
        self.heads = heads
        self.keyHeads = keyHeads
        self.pageSize = pageSize
        self.rowWidth = rowWidth
        self.valueWidth = valueWidth
        self.isCausal = isCausal
        self.scale = scale
    }

    /// One request.
    ///
    /// - Parameters:
    ///   - queries: [tokens, heads, rowWidth], dense.
    ///   - cache: [blocks, pageSize, keyHeads, rowWidth], dense; only rows that are seen are read.
    ///   - blocks: the request's row of the block table; only entries that its length needs are read.
    ///   - length: keys.
    /// - Returns: out [tokens, heads, valueWidth] and ln Σ e^score [heads, tokens]; 0 and +∞ where no key is seen.
    public func callAsFunction(
        queries: [Float], cache: [Float], blocks: [Int32], length: Int
    ) -> (out: [Double], logSums: [Double]) {
        precondition(queries.count == tokens * heads * rowWidth)
        var out = [Double](repeating: 0, count: tokens * heads * valueWidth)
        var logSums = [Double](repeating: .infinity, count: heads * tokens)
        for token in 0..<tokens {
            let visible = isCausal ? max(0, length - tokens + token + 1) : length
            guard visible > 0 else { continue }
            for head in 0..<heads {
                let row = token * heads + head
                let starts = (0..<visible).map { position in
                    let place = Int(blocks[position / pageSize]) * pageSize + position % pageSize
                    return (place * keyHeads + head / (heads / keyHeads)) * rowWidth
                }
                let scores = starts.map { start in
                    var dot = 0.0
                    for k in 0..<rowWidth { dot += Double(queries[row * rowWidth + k]) * Double(cache[start + k]) }
                    return dot * scale
                }
                let peak = scores.max() ?? 0
                logSums[head * tokens + token] = peak + log(scores.reduce(0) { $0 + exp($1 - peak) })
                for (start, weight) in zip(starts, softmax(scores)) {
                    for v in 0..<valueWidth { out[row * valueWidth + v] += weight * Double(cache[start + v]) }
                }
            }
        }
        return (out, logSums)
    }
}
