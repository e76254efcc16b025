// SPDX-License-Identifier: MIT

/// One rank's part in low-latency dispatches and combines: a state machine without clock, memory or network.
///
/// An operation is a dispatch and the combine of its tokens, each in two halves: what is sent, and what is received;
/// anything may be done in between. Operations are numbered from 1; number n uses buffer n mod 2 of everything, so two
/// can be under way.
///
/// **When a buffer may be used again** needs no message: operation n is begun only when n − 2 has been combined here.
/// What came back from a rank shows that it had received the dispatch before it answered, so whatever was sent to it
/// has been read. And whoever has received dispatch n from a rank knows that this rank had received combine n − 2, so
/// what was returned to it then has been read as well. The answer is the acknowledgement.
///
/// A rank that is lost is no longer waited for: what has not come from it is empty, and the operation says that it is
/// missing there.
struct LowLatencyProtocol: Sendable {
    /// The two ways of an operation: to the experts, and back.
    enum Leg: Int, Sendable, CaseIterable {
        case out, back
    }

    /// What a rank has to do, in this order.
    enum Action: Sendable, Equatable {
        /// Put where the others can read it whatever belongs to the tokens of operation `n`.
        case stage(Int)
        /// Tell `rank` how many rows come for each of its experts and whose they are; put them into its slots unless it
        /// reads them where they are.
        case send(Int, to: Int)
        /// Take the rows of `source`, which have come or are there to be read, to their places. Sources ascend.
        case take(Int, source: Int)
        /// Nothing comes from `source`: its places are empty.
        case skip(Int, source: Int)
        /// Put into the slots of `rank` what comes back to it, or say where it can be read.
        case giveBack(Int, to: Int)
        /// Sum what has come back, from all but the missing ranks.
        case sum(Int)
        /// Set this rank's word of a leg at `rank`, visible there after everything that was put there before.
        case signal(Leg, to: Int, value: Int)
    }

    private enum Phase: Sendable, Equatable {
        case free
        /// Dispatched; rows of so many sources are in their places.
        case sent(taken: Int)
        case received
        case returned
    }

    private struct Buffer: Sendable {
        var operation = 0
        var phase = Phase.free
        var isMasked: [Bool] = []
        var isMissing: [Bool] = []
    }

    let rankCount: Int
    /// Dispatches begun.
    private(set) var operation = 0
    /// Combines begun.
    private var returned = 0
    private var buffers = [Buffer(), Buffer()]
    /// By leg and rank, the last operation that was signalled.
    private var arrived: [[Int]]
    private(set) var isLost: [Bool]

    init(rankCount: Int) {
        self.rankCount = rankCount
        arrived = Leg.allCases.map { _ in Array(repeating: 0, count: rankCount) }
        isLost = Array(repeating: false, count: rankCount)
    }

    private func buffer(_ operation: Int) -> Buffer { buffers[operation & 1] }

    // MARK: What happens

    /// A word of this rank holds `value`. Told again, it changes nothing.
    mutating func arrive(_ leg: Leg, from rank: Int, value: Int) {
        arrived[leg.rawValue][rank] = max(arrived[leg.rawValue][rank], value)
    }

    /// Nothing more is expected from `rank`.
    mutating func lose(_ rank: Int) { isLost[rank] = true }

    // MARK: The halves

    /// Whether a dispatch can be begun: the operation before the last has been combined.
    var canDispatch: Bool { buffer(operation + 1).phase == .free }

    /// Sends a dispatch.
    ///
    /// - Parameter isMasked: by rank, who takes no part in it.
    mutating func dispatch(isMasked: [Bool]) -> [Action] {
        precondition(canDispatch && isMasked.count == rankCount)
        operation += 1
        buffers[operation & 1] = Buffer(
            operation: operation, phase: .sent(taken: 0), isMasked: isMasked,
            isMissing: Array(repeating: false, count: rankCount))
        var actions = [Action.stage(operation)]
        for rank in 0..<rankCount where !isMasked[rank] && !isLost[rank] {
            actions += [.send(operation, to: rank), .signal(.out, to: rank, value: operation)]
        }
        return actions
    }

    /// Whether a dispatch has been sent and its tokens are not all in their places.
    func isReceiving(_ number: Int) -> Bool {
        if case .sent = buffer(number).phase { return buffer(number).operation == number }
        return false
    }

    /// Goes on receiving a dispatch, as far as rows are there.
    mutating func receive(_ number: Int) -> [Action] {
        precondition(isReceiving(number))
        guard case .sent(var taken) = buffer(number).phase else { return [] }
        var actions: [Action] = []
        while taken < rankCount {
            let has = arrived[Leg.out.rawValue][taken] >= number
            let isOut = buffer(number).isMasked[taken]
            guard has || isOut || isLost[taken] else { break }
            if has, !isOut {
                actions.append(.take(number, source: taken))
            } else {
                actions.append(.skip(number, source: taken))
                if !isOut { buffers[number & 1].isMissing[taken] = true }
            }
            taken += 1
        }
        buffers[number & 1].phase = taken == rankCount ? .received : .sent(taken: taken)
        return actions
    }

    /// Whether the tokens of a dispatch are there to be combined, and those of the one before have been sent back.
    func canCombine(_ number: Int) -> Bool {
        buffer(number).operation == number && buffer(number).phase == .received && returned == number - 1
    }

    /// Sends a combine.
    mutating func combine(_ number: Int) -> [Action] {
        precondition(canCombine(number))
        returned = number
        buffers[number & 1].phase = .returned
        var actions: [Action] = []
        for rank in 0..<rankCount where !buffer(number).isMasked[rank] && !isLost[rank] {
            actions += [.giveBack(number, to: rank), .signal(.back, to: rank, value: number)]
        }
        return actions
    }

    /// Whether a combine has been sent and not been received.
    func isReturning(_ number: Int) -> Bool {
        buffer(number).operation == number && buffer(number).phase == .returned
    }

    /// Receives a combine if everything is there: its sums, and the buffer is free. Empty if something is to come.
    mutating func finish(_ number: Int) -> [Action] {
        precondition(isReturning(number))
        guard awaited(.back, number).isEmpty else { return [] }
        for rank in 0..<rankCount where arrived[Leg.back.rawValue][rank] < number && !buffer(number).isMasked[rank] {
            buffers[number & 1].isMissing[rank] = true
        }
        buffers[number & 1].phase = .free
        return [.sum(number)]
    }

    // MARK: What is known

    /// The ranks whose signal has to come before a half can be completed.
    func awaited(_ leg: Leg, _ number: Int) -> [Int] {
        (0..<rankCount).filter {
            arrived[leg.rawValue][$0] < number && !isLost[$0] && !buffer(number).isMasked[$0]
        }
    }

    /// By rank, whether something of it was not there in an operation that it was to take part in.
    func isMissing(_ number: Int) -> [Bool] { buffer(number).isMissing }

    /// By rank, whether it takes no part in an operation.
    func isMasked(_ number: Int) -> [Bool] { buffer(number).isMasked }

    /// By rank, whether what came back from it in an operation can be summed.
    func isReturned(_ number: Int, by rank: Int) -> Bool {
        arrived[Leg.back.rawValue][rank] >= number && !buffer(number).isMasked[rank]
    }
}
