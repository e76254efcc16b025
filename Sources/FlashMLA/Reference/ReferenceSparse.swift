// SPDX-License-Identifier: MIT

public import LowPrecision

#if canImport(Glibc)
internal import Glibc
#elseif canImport(Musl)
internal import Musl
#endif

/// Sparse attention of one head of one token as a definition, in Double; `sparseDecode` says what it computes.
public struct ReferenceSparse: Sendable {
    /// [valueWidth], after the sink; zero where there is no key.
    public var out: [Double]
    /// The largest score, −∞ where there is no key.
    public var maximum: Double
    /// ln Σ e^score without the sink, +∞ where there is no key.
    public var logSum: Double

    /// - Parameters:
    ///   - query: [rowWidth].
    ///   - keys: the rows that the list names, void entries left out, each as often as it is listed.
    ///   - sink: the score of one more key, whose value is zero; nil for none.
    public init(query: [Float], keys: [[Float]], valueWidth: Int, scale: Float, sink: Float?) {
        let scores = keys.map { key in
            Double(scale) * zip(query, key).reduce(0.0) { $0 + Double($1.0) * Double($1.1) }
        }
        out = Array(repeating: 0, count: valueWidth)
        guard let peak = scores.max() else {
            maximum = -.infinity
            logSum = .infinity
            return
        }
        maximum = peak
        logSum = peak + log(scores.reduce(0) { $0 + exp($1 - peak) })
        let factor = sink.map { 1 / (1 + exp(Double($0) - logSum)) } ?? 1
        for (key, score) in zip(keys, scores) {
            let weight = exp(score - logSum) * factor
            for c in 0..<valueWidth { out[c] += weight * Double(key[c]) }
        }
    }
}

/// The row that packed bytes stand for, as a definition.
///
/// - Parameters:
///   - codes: E4M3, one for each column of the latent.
///   - scales: one for each group of columns.
///   - rope: the columns that follow.
public func referencePackedRow(codes: [Float8E4M3], scales: [Float], rope: [BFloat16]) -> [Float] {
    let width = codes.count / scales.count
    return codes.indices.map { Float(BFloat16(Float(codes[$0]) * scales[$0 / width])) } + rope.map { Float($0) }
}
