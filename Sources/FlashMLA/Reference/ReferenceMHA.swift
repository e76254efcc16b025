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
        zip(a, b).reduce(0) { $0 + $1.0 * $1.1 }
    }

    /// ln Σ e^score over the keys that query i sees; +∞ if there is none.
    public func logSum(_ i: Int) -> Double {
        let scores = keys.indices.filter { isVisible(i, $0) }.map { scale * dot(queries[i], keys[$0]) }
        guard let peak = scores.max() else { return .infinity }
        return peak + log(scores.reduce(0) { $0 + exp($1 - peak) })
    }

    /// The weight of key j for query i.
    public func weight(_ i: Int, _ j: Int, logSum: Double) -> Double {
        isVisible(i, j) ? exp(scale * dot(queries[i], keys[j]) - logSum) : 0
    }

    /// Results [queries][value width]; zero where nothing is seen. `valueWidth` serves requests without keys.
    public func out(valueWidth: Int) -> [[Double]] {
        queries.indices.map { i in
            let lse = logSum(i)
            var row = [Double](repeating: 0, count: valueWidth)
            for j in keys.indices {
                let p = weight(i, j, logSum: lse)
                for c in 0..<valueWidth { row[c] += p * values[j][c] }
            }
            return row
        }
    }

    /// Gradients by queries, keys and values, from the gradient by the results [queries][value width].
    public func gradients(
        outGradient: [[Double]]
    ) -> (queries: [[Double]], keys: [[Double]], values: [[Double]]) {
        var dq = queries.map { $0.map { _ in 0.0 } }
        var dk = keys.map { $0.map { _ in 0.0 } }
        var dv = values.map { $0.map { _ in 0.0 } }
        let out = out(valueWidth: values.first?.count ?? 0)
        for i in queries.indices {
            let lse = logSum(i)
            let product = dot(outGradient[i], out[i])
            for j in keys.indices where isVisible(i, j) {
                let p = weight(i, j, logSum: lse)
                let ds = scale * p * (dot(outGradient[i], values[j]) - product)
                for c in dv[j].indices { dv[j][c] += p * outGradient[i][c] }
                for c in dq[i].indices {
                    dq[i][c] += ds * keys[j][c]
                    dk[j][c] += ds * queries[i][c]
                }
            }
        }
        return (dq, dk, dv)
    }
}
