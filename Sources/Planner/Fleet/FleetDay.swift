// SPDX-License-Identifier: MIT

/// What a simulated window came to.
public struct FleetDay: Sendable, Codable, Equatable {
    /// A quarter of an hour.
    public struct Quarter: Sendable, Codable, Equatable {
        /// Seconds since the window's beginning.
        public var start: Double
        /// Nodes, mean.
        public var nodes = 0.0
        public var tokens = TokenTotals(input: 0, hits: 0, output: 0)
        /// Output tokens of the requests that arrived.
        public var askedOutput = 0.0
        /// Seconds in which prefill units worked, and decode units, summed over units.
        public var prefillBusy = 0.0
        public var decodeBusy = 0.0
        /// Seconds of all requests in decode.
        public var requestSeconds = 0.0
        /// Seconds to the first token of all turns, and their number.
        public var firstTokenSeconds = 0.0
        public var firstTokens = 0.0
        /// Tokens per second that one unit could do: computed, and output.
        public var prefillCapacity = 0.0
        public var decodeCapacity = 0.0

        init(start: Double) { self.start = start }
    }

    /// Length of a quarter in seconds.
    public static let quarterSeconds = 900.0

    /// Tokens that were served.
    public var tokens: TokenTotals
    public var nodes: NodeSchedule
    /// Nodes of prefill and of decode, mean over time, those that start or drain included.
    public var prefillNodes: Double
    public var decodeNodes: Double
    public var answers: Int
    /// Turns that found no room in the fleet.
    public var refused: Int
    /// Tokens per second of an answer: tokens over time, all answers together.
    public var answerSpeed: Double
    /// Tokens in the cache of a request, mean over output tokens.
    public var meanCachedTokens: Double
    /// Seconds to the first token that 50, 90 and 99 % of the turns stay below.
    public var firstTokenSeconds: [Double]
    /// The largest cache of a GPU over the mean of its unit, mean over steps.
    public var cacheSpread: Double
    /// Tokens of the fullest GPU over the mean, mean over passes.
    public var passSpread: Double
    /// The largest load of a GPU's experts over the mean: prefill and decode.
    public var expertImbalance: [Double]
    public var quarters: [Quarter]
    /// Dollars of rent per hour, mean.
    public var dollarsPerHour: Double

    /// Dollars of rent.
    public var cost: Double { dollarsPerHour * nodes.seconds / 3600 }
    /// Tokens per second of a prefill node, hits included.
    public var prefillRate: Double { prefillNodes > 0 ? tokens.input / nodes.seconds / prefillNodes : 0 }
    /// Tokens per second of a decode node.
    public var decodeRate: Double { decodeNodes > 0 ? tokens.output / nodes.seconds / decodeNodes : 0 }
}

extension NodeSchedule {
    /// Mean of the nodes between two times.
    public func mean(from start: Double, to end: Double) -> Double {
        guard end > start else { return Double(nodes(at: start)) }
        var sum = 0.0
        for (index, step) in steps.enumerated() {
            let stop = index + 1 < steps.count ? steps[index + 1].start : seconds
            sum += Double(step.nodes) * max(0, min(stop, end) - max(step.start, start))
        }
        return sum / (end - start)
    }
}
