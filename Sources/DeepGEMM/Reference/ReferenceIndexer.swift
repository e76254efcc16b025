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
