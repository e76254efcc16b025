// SPDX-License-Identifier: MIT

/// What a launcher does when ranks end or somebody wants them to: no clock, no processes.
///
/// The first rank that fails decides the status. Then the others are asked to end (SIGTERM), and made to (SIGKILL) when
/// the grace is over, unless ranks are to keep going. A signal to the launcher goes to all; one that asks to end starts
/// the grace as well.
package struct LaunchSupervision {
    /// How a rank ended.
    package enum Ending: Equatable, Sendable {
        case exited(Int32)
        case signalled(Int32)

        /// The status that a shell shows.
        package var status: Int32 {
            switch self {
            case .exited(let status): status
            case .signalled(let signal): 128 + signal
            }
        }
    }

    /// What happened.
    package enum Event: Equatable {
        case ended(rank: Int, Ending)
        case signal(Int32)
        /// Time has passed.
        case clock
    }

    /// What to do.
    package enum Action: Equatable {
        case send(signal: Int32, rank: Int)
        /// For whoever watches.
        case say(String)
    }

    /// Signal numbers of every Linux.
    package enum Signal {
        package static let hangUp: Int32 = 1
        package static let interrupt: Int32 = 2
        package static let quit: Int32 = 3
        package static let kill: Int32 = 9
        package static let user1: Int32 = 10
        package static let user2: Int32 = 12
        package static let terminate: Int32 = 15
        package static let resume: Int32 = 18

        package static let forwarded = [hangUp, interrupt, quit, user1, user2, terminate]
        package static let ending: Set<Int32> = [hangUp, interrupt, quit, terminate]
    }

    private let keepsGoing: Bool
    private let graceMilliseconds: Int
    private var running: Set<Int>
    private var firstFailure: Ending?
    /// When the grace is over.
    private var killTime: Int?

    /// The launcher's own status: that of the first rank that failed, else 0.
    package var status: Int32 { firstFailure?.status ?? 0 }
    /// Whether all ranks have ended.
    package var isFinished: Bool { running.isEmpty }

    /// - Parameter keepsGoing: whether the others go on when a rank fails.
    package init(rankCount: Int, keepsGoing: Bool, graceMilliseconds: Int) {
        self.keepsGoing = keepsGoing
        self.graceMilliseconds = graceMilliseconds
        running = Set(0..<rankCount)
    }

    /// Takes note of an event, at a time that never goes back.
    package mutating func handle(_ event: Event, atMilliseconds now: Int) -> [Action] {
        switch event {
        case .ended(let rank, let ending): return end(rank, ending, now)
        case .signal(let signal):
            if Signal.ending.contains(signal), killTime == nil { killTime = now + graceMilliseconds }
            return toAll(signal)
        case .clock:
            guard let killTime, now >= killTime, !running.isEmpty else { return [] }
            self.killTime = nil
            let names = running.sorted().map(String.init).joined(separator: ", ")
            return [.say("rank \(names) did not end within \(graceMilliseconds) ms and is killed")] + toAll(Signal.kill)
        }
    }

    private mutating func end(_ rank: Int, _ ending: Ending, _ now: Int) -> [Action] {
        guard running.remove(rank) != nil, ending.status != 0 else { return [] }
        guard firstFailure == nil else { return [] }
        firstFailure = ending
        var text =
            switch ending {
            case .exited(let status): "rank \(rank) ended with status \(status)"
            case .signalled(let signal): "rank \(rank) was ended by signal \(signal)"
            }
        guard !keepsGoing, !running.isEmpty else { return [.say(text)] }
        if killTime == nil { killTime = now + graceMilliseconds }
        text += "; the others are asked to end"
        // A stopped process hears only after it is resumed.
        return [.say(text)] + toAll(Signal.terminate) + toAll(Signal.resume)
    }

    private func toAll(_ signal: Int32) -> [Action] {
        running.sorted().map { .send(signal: signal, rank: $0) }
    }
}
