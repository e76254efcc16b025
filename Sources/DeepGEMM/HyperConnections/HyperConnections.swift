// SPDX-License-Identifier: MIT

public import Platform

/// The parameters with which one layer is connected to n residual streams: manifold-constrained hyper-connections
/// (arXiv 2512.24880).
///
/// For a token's streams x [n, C], flattened to v [n · C]:
///
///     u      = φ v / √(mean(v²) + ε)                                [2n + n²]
///     pre    = sigmoid(α_pre u_pre + b_pre)                         [n]
///     post   = 2 sigmoid(α_post u_post + b_post)                    [n]
///     res    = Sinkhorn-Knopp(exp(α_res u_res + b_res))             [n, n]
///
/// and then the layer's input is Σⱼ pre[j] x[j], and the next streams are Σⱼ res[i, j] x[j] + post[i] y for the layer's
/// output y. Sinkhorn-Knopp divides every column by its sum and then every row by its own, again and again, so that
/// `res` comes near to a doubly stochastic matrix, which neither amplifies nor loses signals. A weight of the norm of v
/// belongs into φ.
public struct HyperConnections: Sendable {
    /// n.
    public let streamCount: Int
    /// C: width of one stream.
    public let width: Int
    /// φ [2n + n², n · C], bfloat16 or float32: the rows of pre, of post, and of res with row i · n + j for res[i, j],
    /// which takes stream j to stream i.
    public let projection: FloatRows
    /// b [2n + n²], in the order of the projection's rows.
    public let bias: [Float]
    /// α.
    public let gains: Gains
    /// Times that columns and rows are divided by their sums.
    public let iterations: Int
    /// ε of the norm over all streams.
    public let epsilon: Float

    /// α of pre, post and res.
    public struct Gains: Sendable, Hashable {
        public var pre: Float
        public var post: Float
        public var res: Float

        public init(pre: Float, post: Float, res: Float) {
            self.pre = pre
            self.post = post
            self.res = res
        }
    }

    /// The most streams, bounded by a thread's scratch memory.
    public static var streamLimit: Int { 32 }
    /// The widest stream, bounded by the same.
    public static var widthLimit: Int { 1 << 18 }
    /// The most iterations.
    public static var iterationLimit: Int { 1000 }

    /// Coefficients of a token, n + n + n².
    public var coefficientCount: Int { Self.coefficientCount(streamCount) }

    static func coefficientCount(_ streamCount: Int) -> Int { (2 + streamCount) * streamCount }

    /// - Throws: `usage` naming the extent that does not fit.
    public init(
        streamCount: Int, projection: FloatRows, bias: [Float], gains: Gains, iterations: Int = 20,
        epsilon: Float = 1e-6
    ) throws(FathomError) {
        guard streamCount >= 1, streamCount <= Self.streamLimit else {
            throw FathomError(.usage, "\(streamCount) residual streams; 1…\(Self.streamLimit) is legal")
        }
        let rows = Self.coefficientCount(streamCount)
        guard projection.rowCount == rows else {
            throw FathomError(
                .usage,
                "the connections' projection has \(projection.rowCount) rows; \(rows) is legal with \(streamCount) "
                    + "streams: two for each and one for each pair")
        }
        guard projection.columnCount % streamCount == 0, projection.columnCount >= streamCount,
            projection.columnCount / streamCount <= Self.widthLimit
        else {
            throw FathomError(
                .usage,
                "the connections' projection has \(projection.columnCount) columns; \(streamCount) times the width of "
                    + "a stream, 1…\(Self.widthLimit), is legal")
        }
        guard bias.count == rows else {
            throw FathomError(.usage, "the connections' bias has \(bias.count) numbers; \(rows) is legal")
        }
        guard iterations >= 1, iterations <= Self.iterationLimit else {
            throw FathomError(.usage, "\(iterations) Sinkhorn iterations; 1…\(Self.iterationLimit) is legal")
        }
        guard epsilon >= 0, epsilon.isFinite else {
            throw FathomError(.usage, "the connections' epsilon is \(epsilon); 0 or a finite number above is legal")
        }
        self.streamCount = streamCount
        width = projection.columnCount / streamCount
        self.projection = projection
        self.bias = bias
        self.gains = gains
        self.iterations = iterations
        self.epsilon = epsilon
    }
}
