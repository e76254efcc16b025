// SPDX-License-Identifier: MIT

/// What the annotations of the host's threads say of the device: when the kernels that were launched inside each one
/// ran. Where the annotations repeat (the layers of an overlapped pair), one turn is given with its means.
public struct PhaseSchedule: Sendable, Encodable {
    /// An annotation: one of a turn, or the means of all turns. Nanoseconds.
    public struct Phase: Sendable, Encodable {
        public var name: String
        public var kernelCount: Double
        /// Computation and communication that it launched, as unions.
        public var compute: Double
        public var communication: Double
        /// Communication that nothing hides.
        public var exposed: Double
        /// When its first kernel starts and its last ends, from the first start of its turn.
        public var start: Double
        public var end: Double
        /// How long the host took for it.
        public var host: Double
        /// The phase whose computation runs most beside this one's communication, and for how long.
        public var hiddenBehind: String?
        public var hiddenBehindTime: Double
    }

    /// In launch order.
    public var phases: [Phase]
    /// How often the sequence occurs.
    public var turns: Int

    /// Turns are looked for up to this many annotations long.
    static let maximumTurn = 512

    /// Nil where no annotation launched anything.
    init?(_ trace: Trace) {
        let members = Self.operations(trace)
        let used = members.keys.sorted()
        guard !used.isEmpty else { return nil }
        let names = used.map { trace.names[trace.annotations[$0].name] }
        let turn = Self.turn(of: names)
        let computation = TimeRanges(trace.operations.lazy.filter { !$0.kernelClass.isCommunication }.map(\.range))
        let parts = used.map { index in Self.part(of: members[index] ?? []) }
        turns = names.count / turn
        let turns = turns
        phases = (0..<turn).map { place in
            var phase = Phase(
                name: names[place], kernelCount: 0, compute: 0, communication: 0, exposed: 0, start: 0, end: 0,
                host: 0, hiddenBehind: nil, hiddenBehindTime: 0)
            var behind: [String: Int64] = [:]
            for round in 0..<turns {
                let index = round * turn + place
                let origin = parts[round * turn..<(round + 1) * turn].map(\.start).min() ?? 0
                let part = parts[index]
                phase.kernelCount += Double(part.count) / Double(turns)
                phase.compute += Double(part.compute.total) / Double(turns)
                phase.communication += Double(part.communication.total) / Double(turns)
                phase.exposed += Double(part.communication.subtracting(computation).total) / Double(turns)
                phase.start += Double(part.start - origin) / Double(turns)
                phase.end += Double(part.end - origin) / Double(turns)
                phase.host += Double(trace.annotations[used[index]].duration) / Double(turns)
                guard part.communication.total > 0 else { continue }
                for other in parts.indices where other != index {
                    behind[names[other], default: 0] += part.communication.intersection(parts[other].compute).total
                }
            }
            if let most = behind.max(by: { ($0.value, $1.key) < ($1.value, $0.key) }), most.value > 0 {
                phase.hiddenBehind = most.key
                phase.hiddenBehindTime = Double(most.value) / Double(turns)
            }
            return phase
        }
    }

    private struct Part {
        var count: Int
        var compute: TimeRanges
        var communication: TimeRanges
        var start: Int64
        var end: Int64
    }

    private static func part(of operations: [Trace.Operation]) -> Part {
        Part(
            count: operations.count,
            compute: TimeRanges(operations.lazy.filter { !$0.kernelClass.isCommunication }.map(\.range)),
            communication: TimeRanges(operations.lazy.filter(\.kernelClass.isCommunication).map(\.range)),
            start: operations.map(\.start).min() ?? 0, end: operations.map(\.end).max() ?? 0)
    }

    private static func operations(_ trace: Trace) -> [Int: [Trace.Operation]] {
        var result: [Int: [Trace.Operation]] = [:]
        for (operation, phase) in zip(trace.operations, trace.phaseOfOperations) where phase >= 0 {
            result[Int(phase), default: []].append(operation)
        }
        return result
    }

    /// The shortest length whose repetition gives the names; all of them where there is none.
    private static func turn(of names: [String]) -> Int {
        for length in 1...min(names.count, maximumTurn) where names.count.isMultiple(of: length) {
            if (length..<names.count).allSatisfy({ names[$0] == names[$0 - length] }) { return length }
        }
        return names.count
    }
}
