// SPDX-License-Identifier: MIT

/// The definition of `mqaLogits`, in Double, from numbers that are already decoded. For tests.
///
/// - Parameters:
///   - queries: [s, h, d].
///   - keys: [s_kv, d], scales included or not.
///   - scales: [s_kv], or nil for 1.
///   - weights: [s, h].
///   - visible: the keys that each query sees, inside 0..<s_kv.
/// - Returns: [s, s_kv], −∞ where a query does not see a key.
public func referenceMQALogits(
    queries: [Float], keys: [Float], scales: [Float]? = nil, weights: [Float], headCount: Int, depth: Int,
    keyCount: Int, visible: [Range<Int>]
) -> [Double] {
    var logits = [Double](repeating: -.infinity, count: visible.count * keyCount)
    for (query, range) in visible.enumerated() {
        for key in range {
            var sum = 0.0
            for head in 0..<headCount {
                var dot = 0.0
                for c in 0..<depth {
                    dot += Double(queries[(query * headCount + head) * depth + c]) * Double(keys[key * depth + c])
                }
                // Written so that NaN stays NaN.
                sum += Double(weights[query * headCount + head]) * (dot < 0 ? 0 : dot)
            }
            logits[query * keyCount + key] = sum * Double(scales?[key] ?? 1)
        }
    }
    return logits
}

/// The definition of `sparseMQALogits`, from all logits: the listed tokens' in the order of the list. For tests.
///
/// - Parameter logits: [lists.rowCount, keyCount], −∞ where a query does not see a key, as `referenceMQALogits` makes
///   them.
/// - Returns: [lists.rowCount, lists.columnCount], −∞ for holes and for tokens from keyCount on.
public func referenceSparseLogits<Number: BinaryFloatingPoint>(
    _ logits: [Number], keyCount: Int, lists: IndexerBlockLists
) -> [Number] {
    (0..<lists.rowCount * lists.columnCount).map { place in
        let (row, column) = place.quotientAndRemainder(dividingBy: lists.columnCount)
        let block = Int(lists.entries[row * lists.blocksPerRow + column / lists.blockSize])
        let token = block * lists.blockSize + column % lists.blockSize
        return block >= 0 && token < keyCount ? logits[row * keyCount + token] : -.infinity
    }
}
