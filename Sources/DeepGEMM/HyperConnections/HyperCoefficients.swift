// SPDX-License-Identifier: MIT

public import Platform
public import Tensors

/// How much of which stream goes where, for every token: pre, post and res of `HyperConnections`.
public struct HyperCoefficients: Sendable {
    public let tokenCount: Int
    /// n.
    public let streamCount: Int
    /// [tokenCount, n + n + n²]: a token's pre, post, and res row by row.
    public let values: AlignedBuffer<Float>

    /// Coefficients of zeros, to be filled through `values`.
    ///
    /// - Throws: `usage` naming an extent that is not legal, `unavailable` without memory.
    public init(tokenCount: Int, streamCount: Int) throws(FathomError) {
        guard tokenCount >= 0, streamCount >= 1, streamCount <= HyperConnections.streamLimit else {
            throw FathomError(
                .usage,
                "coefficients of \(tokenCount) tokens and \(streamCount) streams; 0 or more and "
                    + "1…\(HyperConnections.streamLimit) are legal")
        }
        self.tokenCount = tokenCount
        self.streamCount = streamCount
        values = try AlignedBuffer(
            count: elementCount([tokenCount, HyperConnections.coefficientCount(streamCount)], of: "coefficients"),
            purpose: "coefficients")
    }

    /// What the layer's input takes of each stream, [n].
    public func pre(_ token: Int) -> [Float] { read(token, 0, streamCount) }

    /// What each stream takes of the layer's output, [n].
    public func post(_ token: Int) -> [Float] { read(token, streamCount, streamCount) }

    /// What each stream takes of each stream, [n, n]: of stream j to stream i at i · n + j.
    public func res(_ token: Int) -> [Float] { read(token, 2 * streamCount, streamCount * streamCount) }

    private func read(_ token: Int, _ first: Int, _ count: Int) -> [Float] {
        precondition(token >= 0 && token < tokenCount, "outside the coefficients")
        let place = self.place(token) + first
        // SAFETY: inside the token's coefficients.
        return (0..<count).map { place[$0] }
    }

    /// A token's coefficients.
    func place(_ token: Int) -> UnsafeMutablePointer<Float> {
        // SAFETY: the callers keep the token inside.
        values.baseAddress + token * HyperConnections.coefficientCount(streamCount)
    }
}
