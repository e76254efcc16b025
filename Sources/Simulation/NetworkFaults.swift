// SPDX-License-Identifier: MIT

/// What a simulated network and its nodes do to messages. Times are in virtual nanoseconds.
public struct NetworkFaults: Sendable {
    /// The least time that a message takes.
    public var minimumDelay = 1_000
    /// The most that chance adds.
    public var maximumExtraDelay = 20_000
    /// One in so many messages takes `slowDelay` more; 0 is none.
    public var slowOnceIn = 0
    public var slowDelay = 2_000_000
    /// One in so many messages is lost; 0 is none.
    public var loseOnceIn = 0
    /// One in so many messages arrives twice; 0 is none.
    public var duplicateOnceIn = 0
    /// One in so many deliveries finds its node stalled for up to `stallLimit`; 0 is none.
    public var stallOnceIn = 0
    public var stallLimit = 1_000_000

    public init() {}

    /// Faults of a kind that the seed chooses, all of which a reliable network may show: delays, reorderings, stalls.
    public static func reliable(_ random: inout SimulationRandom) -> NetworkFaults {
        var faults = NetworkFaults()
        faults.maximumExtraDelay = [0, 500, 20_000, 500_000][random.number(below: 4)]
        faults.slowOnceIn = [0, 50, 7][random.number(below: 3)]
        faults.stallOnceIn = [0, 100, 10][random.number(below: 3)]
        return faults
    }
}
