// SPDX-License-Identifier: MIT

#if canImport(Glibc)
internal import Glibc
#elseif canImport(Musl)
internal import Musl
#endif

/// The definition of `HyperConnections` for one token, in Double. For tests.
public struct ReferenceHyperConnections {
    /// n and C.
    public let streamCount: Int
    public let width: Int
    /// [n], [n] and [n, n].
    public let pre: [Double]
    public let post: [Double]
    public let res: [Double]
    private let streams: [Double]

    /// - Parameters:
    ///   - streams: [n, C].
    ///   - projection: φ [2n + n², n · C].
    public init(
        streams: [Double], streamCount n: Int, projection: [Double], bias: [Double], gains: HyperConnections.Gains,
        iterations: Int, epsilon: Double
    ) {
        let count = streams.count
        let mean = streams.reduce(0) { $0 + $1 * $1 } / Double(count)
        let root = (mean + epsilon).squareRoot()
        func value(_ row: Int, _ gain: Float) -> Double {
            let dot = (0..<count).reduce(0.0) { $0 + projection[row * count + $1] * streams[$1] }
            return Double(gain) * dot / root + bias[row]
        }
        pre = (0..<n).map { 1 / (1 + exp(-value($0, gains.pre))) }
        post = (0..<n).map { 2 / (1 + exp(-value(n + $0, gains.post))) }
        let exponents = (0..<n * n).map { value(2 * n + $0, gains.res) }
        let peak = exponents.max() ?? 0
        var matrix = exponents.map { exp($0 - peak) }
        for _ in 0..<iterations {
            let columns = (0..<n).map { column in (0..<n).reduce(0) { $0 + matrix[$1 * n + column] } }
            for index in matrix.indices { matrix[index] /= columns[index % n] }
            let rows = (0..<n).map { row in (0..<n).reduce(0) { $0 + matrix[row * n + $1] } }
            for index in matrix.indices { matrix[index] /= rows[index / n] }
        }
        res = matrix
        self.streams = streams
        streamCount = n
        width = count / n
    }

    /// The layer's input [C]: the mix, with a norm's weight normalised.
    public func input(normWeight: [Double]? = nil, epsilon: Double = 1e-6) -> [Double] {
        let mix = (0..<width).map { column in
            (0..<streamCount).reduce(0) { $0 + pre[$1] * streams[$1 * width + column] }
        }
        guard let normWeight else { return mix }
        let root = (mix.reduce(0) { $0 + $1 * $1 } / Double(width) + epsilon).squareRoot()
        return mix.indices.map { mix[$0] / root * normWeight[$0] }
    }

    /// The next streams [n, C] for a layer's output [C].
    public func output(_ layerOutput: [Double]) -> [Double] {
        (0..<streamCount * width).map { place in
            let (stream, column) = place.quotientAndRemainder(dividingBy: width)
            return (0..<streamCount).reduce(post[stream] * layerOutput[column]) {
                $0 + res[stream * streamCount + $1] * streams[$1 * width + column]
            }
        }
    }
}
