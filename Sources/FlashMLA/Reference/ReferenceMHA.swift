// SPDX-License-Identifier: MIT

#if canImport(Glibc)
internal import Glibc
#elseif canImport(Musl)
internal import Musl
#endif

/// Dense attention of one head of one request as a definition, in Double; `multiHeadAttention` says what it computes.
public struct ReferenceMHA: Sendable {
    /// Rows of numbers: queries and keys of one width, values of another.
    public var queries: [[Double]]
    public var keys: [[Double]]
    public var values: [[Double]]
    public var isCausal: Bool
    public var scale: Double

    public init(queries: [[Double]], keys: [[Double]], values: [[Double]], isCausal: Bool, scale: Double) {
        self.queries = queries
        self.keys = keys
        self.values = values
        self.isCausal = isCausal
        self.scale = scale
    }

    /// Whether query i sees key j.
    public func isVisible(_ i: Int, _ j: Int) -> Bool {
        !isCausal || j <= i + keys.count - queries.count
    }

    private func dot(_ a: [Double], _ b: [Double]) -> Double {
        var sum = 0.0
        for c in a.indices { sum += a[c] * b[c] }
        return sum
    }

    /// The weight of every key for query i, zero where it is not seen, and ln Σ e^score over those that are; +∞ if
    /// there is none.
    public func weights(_ i: Int) -> (weights: [Double], logSum: Double) {
        let scores = keys.indices.map { isVisible(i, $0) ? scale * dot(queries[i], keys[$0]) : -.infinity }
        guard keys.indices.contains(where: { isVisible(i, $0) }), let peak = scores.max() else {
            return (scores.map { _ in 0 }, .infinity)
        }
        let logSum = peak + log(scores.reduce(0) { $0 + exp($1 - peak) })
        return (scores.map { exp($0 - logSum) }, logSum)
    }

    /// Results [queries][value width], zero where nothing is seen. `valueWidth` serves requests without keys.
    public func out(valueWidth: Int) -> [[Double]] {
        queries.indices.map { i in
            let p = weights(i).weights
            var row = [Double](repeating: 0, count: valueWidth)
            for j in keys.indices where p[j] != 0 {
                for c in 0..<valueWidth { row[c] += p[j] * values[j][c] }
            }
            return row
        }
    }

    /// Gradients by queries, keys and values, from the gradient by the results [queries][value width].
    ///
    /// - Parameter out: the forward results as the gradient takes them, which may have been rounded.
    public func gradients(
        outGradient: [[Double]], out: [[Double]]
    ) -> (queries: [[Double]], keys: [[Double]], values: [[Double]]) {
        var dq = queries.map { $0.map { _ in 0.0 } }
        var dk = keys.map { $0.map { _ in 0.0 } }
        var dv = values.map { $0.map { _ in 0.0 } }
        for i in queries.indices {
            let p = weights(i).weights
            let product = dot(outGradient[i], out[i])
            for j in keys.indices where isVisible(i, j) {
                let ds = scale * p[j] * (dot(outGradient[i], values[j]) - product)
                for c in dv[j].indices { dv[j][c] += p[j] * outGradient[i][c] }
                for c in dq[i].indices {
                    dq[i][c] += ds * keys[j][c]
                    dk[j][c] += ds * queries[i][c]
                }
            }
        }
        return (dq, dk, dv)
    }
}
