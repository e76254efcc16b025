// SPDX-License-Identifier: MIT

public import Platform

#if canImport(Glibc)
internal import Glibc
#elseif canImport(Musl)
internal import Musl
#endif

/// Shows that a group works: barriers, collectives, and bytes that are there when their signal is.
///
/// Each round every rank writes to every other in random order and random pieces, signals, waits for the others'
/// signals and compares all bytes.
public struct GroupCheck: Sendable {
    /// A moment at which a drill can strike.
    public enum Step: String, Sendable, CaseIterable {
        /// Before a barrier that the others wait at.
        case barrier
        /// In the middle of writing to another rank.
        case put
        /// Before waiting for the others' signals.
        case wait
    }

    /// What a rank says of itself.
    public struct Member: Sendable, Codable, Equatable {
        public let rank: Int
        public let node: Int
        public let indexOnNode: Int
        public let process: Int
        public let host: String
    }

    /// What was found, equal at all ranks but for the times.
    public struct Outcome: Sendable, Codable {
        public let members: [Member]
        public let rounds: Int
        /// Bytes that this rank has compared.
        public let comparedBytes: Int
        /// A barrier's mean time.
        public let barrierMicroseconds: Double
    }

    public let rounds: Int
    /// What a rank writes to each other rank in a round.
    public let byteCount: Int
    public let seed: UInt64

    public init(rounds: Int = 20, byteCount: Int = 16_384, seed: UInt64 = 1) {
        precondition(rounds > 0 && byteCount > 0)
        self.rounds = rounds
        self.byteCount = byteCount
        self.seed = seed
    }

    /// Runs as one rank; all ranks call it.
    ///
    /// - Parameter reach: called at each step of each round, counted from 1.
    /// - Throws: `unavailable` naming a rank that is lost, `internal` if bytes were not there with their signal.
    public func run(
        _ group: RankGroup, reach: (Step, Int) -> Void = { _, _ in }
    ) throws(FathomError) -> Outcome {
        let members = try introduce(group)
        let count = group.rankCount
        let region = try group.symmetricRegion(byteCount: byteCount * count, signalCount: 2 * count)
        var random = CheckRandom(state: seed &+ UInt64(group.rank) << 32)
        var barrierTime = Duration.zero
        for round in 1...rounds {
            reach(.barrier, round)
            let start = ContinuousClock.now
            try group.barrier()
            barrierTime += ContinuousClock.now - start
            for other in (0..<count).shuffled(using: &random) {
                send(round, to: other, region, &random) { reach(.put, round) }
            }
            reach(.wait, round)
            for other in 0..<count {
                try expect(region, other, UInt64(round), from: other, group)
                try compare(round, from: other, region)
                region.add(other, count + group.rank, 1)
            }
            // Nobody writes again before all have compared.
            for other in 0..<count { try expect(region, count + other, UInt64(round), from: other, group) }
        }
        return Outcome(
            members: members, rounds: rounds, comparedBytes: rounds * byteCount * count,
            barrierMicroseconds: barrierTime / .microseconds(1) / Double(rounds))
    }

    private func introduce(_ group: RankGroup) throws(FathomError) -> [Member] {
        let own = "\(getpid()) \(MachineIdentity.hostName)"
        var members: [Member] = []
        for (rank, bytes) in try group.allGather(Array(own.utf8)).enumerated() {
            let parts = String(decoding: bytes, as: UTF8.self).split(separator: " ", maxSplits: 1)
            members.append(
                Member(
                    rank: rank, node: group.topology.node(of: rank), indexOnNode: group.topology.indexOnNode(of: rank),
                    process: parts.first.flatMap { Int($0) } ?? 0, host: String(parts.last ?? "")))
        }
        let last = try group.broadcast(Array(own.utf8), from: group.rankCount - 1)
        guard String(decoding: last, as: UTF8.self).hasPrefix("\(members[group.rankCount - 1].process) ") else {
            throw FathomError(.internal, "a broadcast and a gather of rank \(group.rankCount - 1) differ")
        }
        return members
    }

    private func send(
        _ round: Int, to other: Int, _ region: SymmetricRegion, _ random: inout CheckRandom, halfway: () -> Void
    ) {
        let bytes = (0..<byteCount).map { Self.byte(at: $0, round: round, from: region.rank) }
        var first = 0
        var isHalf = false
        while first < byteCount {
            let end = min(byteCount, first + Int.random(in: 1...max(1, byteCount / 4), using: &random))
            // SAFETY: the slice lives during the call, which copies it.
            bytes[first..<end].withUnsafeBytes { region.put($0, to: other, at: region.rank * byteCount + first) }
            first = end
            if !isHalf, first * 2 >= byteCount, other != region.rank {
                isHalf = true
                halfway()
            }
        }
        region.signal(other, region.rank, UInt64(round))
    }

    private func expect(
        _ region: SymmetricRegion, _ signal: Int, _ value: UInt64, from other: Int, _ group: RankGroup
    ) throws(FathomError) {
        let limit = group.limits.timeoutMilliseconds
        guard try region.wait(signal, atLeast: value, timeoutMilliseconds: limit, watching: [other]) else {
            throw FathomError(
                .unavailable, "rank \(group.rank) waited \(limit) ms for a signal of rank \(other) in round \(value)")
        }
    }

    private func compare(_ round: Int, from other: Int, _ region: SymmetricRegion) throws(FathomError) {
        // SAFETY: the part that `other` writes to, inside this rank's memory.
        let part = UnsafeRawBufferPointer(start: region.local + other * byteCount, count: byteCount)
        for offset in 0..<byteCount where part[offset] != Self.byte(at: offset, round: round, from: other) {
            throw FathomError(
                .internal,
                "round \(round): byte \(offset) of rank \(other) was not there with its signal at rank \(region.rank)")
        }
    }

    private static func byte(at offset: Int, round: Int, from rank: Int) -> UInt8 {
        UInt8(truncatingIfNeeded: offset &* 7 &+ round &* 31 &+ rank &* 101)
    }
}

/// Numbers that a seed decides (splitmix64).
private struct CheckRandom: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xbf58_476d_1ce4_e5b9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94d0_49bb_1331_11eb
        return mixed ^ (mixed >> 31)
    }
}
