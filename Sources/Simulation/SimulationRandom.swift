// SPDX-License-Identifier: MIT

/// Numbers of a simulation: the same for the same seed, on every machine. SplitMix64.
public struct SimulationRandom: RandomNumberGenerator, Sendable {
    private var state: UInt64

    public init(seed: UInt64) {
        state = seed
    }

    public mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }

    /// A number in 0 ..< bound; 0 for a bound below 1.
    public mutating func number(below bound: Int) -> Int {
        Int(truncatingIfNeeded: next() >> 33) % max(bound, 1)
    }

    /// Whether something that happens once in `period` times happens now; never for 0.
    public mutating func happens(onceIn period: Int) -> Bool {
        period > 0 && number(below: period) == 0
    }
}
