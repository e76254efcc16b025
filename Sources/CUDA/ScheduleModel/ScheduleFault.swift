// SPDX-License-Identifier: MIT

/// What is wrong with a schedule, and one order of events that shows it.
package struct ScheduleFault: Hashable, Sendable, CustomStringConvertible {
    /// What can be wrong.
    package enum Kind: String, Sendable {
        /// Nobody can go on and somebody is not done.
        case deadlock
        /// A buffer is read that does not hold what its reader expects.
        case readBeforeArrival
        /// A buffer is filled while somebody reads it.
        case overwriteBeforeRelease
        /// Two copies or writes fill a buffer at once.
        case overlappingWrites
        /// More arrivals in a phase than the barrier counts.
        case excessArrival
        /// All agents are done, but a barrier is within a phase, or after a number of phases that was not asked for.
        case unfinishedBarrier
        /// More states than the limit: the exploration is not complete.
        case limitReached
    }

    package let kind: Kind
    /// Which agent, barrier or buffer.
    package let subject: String
    /// The steps from the start, `agent: step`.
    package let path: [String]

    package var description: String {
        "\(kind.rawValue): \(subject)\n" + path.map { "  \($0)\n" }.joined()
    }
}

/// The outcome of an exploration.
package struct ScheduleExploration: Sendable {
    /// Distinct states that were reached.
    package let states: Int
    /// The first fault found; nil when there is none in any order.
    package let fault: ScheduleFault?
}
