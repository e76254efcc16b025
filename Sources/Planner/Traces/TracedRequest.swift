// SPDX-License-Identifier: MIT

/// A request of a trace as a fleet sees it.
public struct TracedRequest: Sendable, Equatable {
    /// Seconds since the trace's beginning.
    public var seconds: Double
    public var inputTokens: Int
    public var outputTokens: Int
    /// Prompt tokens that a prefix cache has.
    public var cachedTokens: Int

    public init(seconds: Double, inputTokens: Int, outputTokens: Int, cachedTokens: Int) {
        self.seconds = seconds
        self.inputTokens = inputTokens
        self.outputTokens = outputTokens
        self.cachedTokens = cachedTokens
    }
}
