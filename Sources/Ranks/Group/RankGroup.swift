// SPDX-License-Identifier: MIT

internal import CFathom
public import Platform
internal import Synchronization

/// One rank's membership in a group: who the others are, small collectives, and memory that the others can write to.
///
/// Ranks are threads of one process (`threads(_:body:)`) or processes of one machine (`host(_:)`, `join(_:)`). Nobody
/// waits for ever: each wait has a limit, and a rank that dies, leaves or hangs is named to those who wait for it.
///
/// A failed collective leaves the group out of step: only signals of regions can be used then.
public final class RankGroup: Sendable {
    public static let maximumRankCount = 1024

    /// How long things may take.
    public struct Limits: Sendable {
        /// How long a collective waits for the others.
        public var timeoutMilliseconds = 30_000
        /// How long a process may go without a heartbeat before it counts as hung; several times `heartbeat`.
        public var hangMilliseconds = 5_000
        /// Time between two heartbeats of a process.
        public var heartbeatMilliseconds = 100

        public init() {}
    }

    public let rank: Int
    public let topology: Topology
    public let limits: Limits
    let control: ControlBlock
    /// What keeps the control block's memory.
    private let segment: SharedSegment
    /// To ranks whose memory is not mapped here; nil where all memory is.
    let link: (any NetworkLink)?
    /// Where threads of one process find each other's memory; nil where ranks are processes.
    let table: SegmentTable?
    private let liveness: Liveness
    private let barrierCount = Atomic<UInt64>(0)
    private let spinLimit: Int
    /// Whether ranks of this machine share cores, so that a wake-up takes the core from somebody.
    private let sharesCores: Bool

    public var rankCount: Int { topology.rankCount }
    /// Whether every rank's part of a region is mapped at every other.
    public var sharesMemory: Bool { link == nil }

    /// Joins; does not wait for others.
    ///
    /// - Parameters:
    ///   - link: connected, where the segment is this rank's alone.
    ///   - table: the same for all ranks, where they are threads of this process.
    init(
        rank: Int, topology: Topology, segment: SharedSegment, limits: Limits, link: (any NetworkLink)? = nil,
        table: SegmentTable? = nil
    ) throws(FathomError) {
        self.link = link
        self.table = table
        self.rank = rank
        self.topology = topology
        self.limits = limits
        self.segment = segment
        control = ControlBlock(segment.baseAddress, rankCount: topology.rankCount)
        // Ranks that share a core gain nothing from one another's spinning.
        let neighbours = link == nil ? topology.rankCount : topology.ranksPerNode
        sharesCores = neighbours > max(1, Int(fathom_usable_core_count()))
        spinLimit = sharesCores ? 50 : 4_000
        liveness = try Liveness(rank: rank, control: control, limits: limits, link: link)
        publishState()
    }

    deinit { leave(as: .left) }

    /// Tells the others that nothing more will come from this rank, because its work is done. Whoever ends without it
    /// counts as lost.
    public func leave() { leave(as: .left) }

    /// Whether a rank has said that its work is done.
    public func hasLeft(_ rank: Int) -> Bool { control.state(rank) == .left }

    /// Tells the others that nothing more will come from this rank.
    func leave(as state: ControlBlock.State) {
        liveness.stop()
        guard control.state(rank) == .joined else { return }
        control.stateWord(rank).pointee.store(state.rawValue, ordering: .releasing)
        publishState()
        for other in 0..<rankCount { ring(other) }
        link?.disconnect()
    }

    /// A rank that is not there any more, and how that is known.
    public struct LostRank: Sendable, Equatable {
        public let rank: Int
        public let reason: String

        package init(rank: Int, reason: String) {
            self.rank = rank
            self.reason = reason
        }
    }

    /// The ranks that have left, died or hung by now.
    public func lostRanks() -> [LostRank] {
        (0..<rankCount).compactMap { other in
            liveness.loss(of: other).map { LostRank(rank: other, reason: $0) }
        }
    }

    /// Whether it is certain that a lost rank does nothing any more, and not only hangs or is out of reach.
    public func isGone(_ rank: Int) -> Bool { liveness.isGone(rank) }

    /// Sees to it that a rank that hangs cannot write to this rank's memory later: ends its process, or, where it
    /// writes through a network, takes nothing from it any more. Does nothing to a thread of this process.
    public func expel(_ rank: Int) {
        liveness.kill(rank)
        link?.expel(rank)
    }

    // MARK: Waiting

    /// How long a rank sleeps before it looks again at the clock and at the others.
    private static let sliceNanoseconds: UInt64 = 10_000_000

    /// Rings a rank's bell. A ring that counts wakes it only if it is the last one that it sleeps for.
    func ring(_ other: Int, counts: Bool = false) { Self.ring(control, other, counts: counts) }

    /// Rings a rank's bell.
    static func ring(_ control: ControlBlock, _ other: Int, counts: Bool = false) {
        let bell = control.bell(other)
        let rings = bell.pointee.wrappingAdd(1, ordering: .sequentiallyConsistent).newValue
        guard control.sleepers(other).pointee.load(ordering: .sequentiallyConsistent) > 0 else { return }
        let wanted = control.wanted(other).pointee.load(ordering: .sequentiallyConsistent)
        if !counts || Int32(bitPattern: rings &- wanted) >= 0 {
            // SAFETY: an atomic word has the layout of the number, which the system call reads itself.
            UnsafeMutableRawPointer(bell).withMemoryRebound(to: UInt32.self, capacity: 1) {
                fathom_shared_futex_wake($0, .max)
            }
        }
    }

    /// Waits until `condition` holds: spins a little, then sleeps until somebody rings.
    ///
    /// - Parameters:
    ///   - watched: the ranks without which it cannot come to hold.
    ///   - purpose: what is waited for, for the error.
    ///   - arrivals: how many signals that count have to come before it is worth waking up. Where ranks share cores
    ///     nobody wakes this one earlier; rings that do not count always do.
    /// - Returns: false if the time was over.
    /// - Throws: `unavailable` naming a watched rank that is lost.
    package func wait(
        timeoutMilliseconds: Int, watching watched: some Sequence<Int>, for purpose: @autoclosure () -> String,
        arrivals: () -> Int = { 1 }, until condition: () -> Bool
    ) throws(FathomError) -> Bool {
        for _ in 0..<spinLimit {
            if condition() { return true }
            fathom_spin_hint()
        }
        let bell = control.bell(rank)
        let sleepers = control.sleepers(rank)
        let wanted = control.wanted(rank)
        let deadline = ContinuousClock.now + .milliseconds(timeoutMilliseconds)
        while true {
            let others = sleepers.pointee.wrappingAdd(1, ordering: .sequentiallyConsistent).oldValue
            let seen = bell.pointee.load(ordering: .sequentiallyConsistent)
            let holds = condition()
            if !holds {
                // With two threads asleep any ring wakes both. Whoever rings has set its signal before: what is missing
                // now will ring.
                let rings = sharesCores && others == 0 ? max(1, UInt32(clamping: arrivals())) : 1
                wanted.pointee.store(seen &+ rings, ordering: .sequentiallyConsistent)
                // SAFETY: as in `ring`.
                UnsafeMutableRawPointer(bell).withMemoryRebound(to: UInt32.self, capacity: 1) {
                    fathom_shared_futex_wait($0, seen, Self.sliceNanoseconds)
                }
            }
            if sleepers.pointee.wrappingSubtract(1, ordering: .sequentiallyConsistent).newValue > 0 {
                wanted.pointee.store(bell.pointee.load(ordering: .relaxed), ordering: .sequentiallyConsistent)
            }
            if holds || condition() { return true }
            for other in watched where other != rank {
                guard let reason = liveness.loss(of: other) else { continue }
                // What it did last may just have come.
                if condition() { return true }
                throw FathomError(
                    .unavailable, "rank \(other) \(reason); rank \(rank) waited for it: \(purpose())")
            }
            if ContinuousClock.now >= deadline { return condition() }
        }
    }

    // MARK: Collectives

    /// Returns when all ranks have called it.
    ///
    /// - Throws: `unavailable` naming the ranks that are lost or did not come within the time.
    public func barrier(timeoutMilliseconds: Int? = nil) throws(FathomError) {
        let number = barrierCount.wrappingAdd(1, ordering: .relaxed).newValue
        control.arrivals(rank).pointee.store(number, ordering: .releasing)
        for other in 0..<rankCount where other != rank {
            link?.set(number, to: other, memory: 0, at: control.arrivalsOffset(rank))
            ring(other, counts: true)
        }
        func missing() -> [Int] {
            (0..<rankCount).filter { control.arrivals($0).pointee.load(ordering: .acquiring) < number }
        }
        let limit = timeoutMilliseconds ?? limits.timeoutMilliseconds
        let came = try wait(
            timeoutMilliseconds: limit, watching: missing(), for: "barrier \(number)",
            arrivals: { missing().count }, until: { missing().isEmpty })
        guard came else {
            let names = missing().map(String.init).joined(separator: ", ")
            throw FathomError(
                .unavailable, "rank \(rank) waited \(limit) ms at barrier \(number); missing: rank \(names)")
        }
    }

    /// Every rank's bytes, in the order of the ranks. They may have different counts; large ones go in several rounds.
    ///
    /// - Throws: as `barrier`.
    public func allGather(_ bytes: [UInt8], timeoutMilliseconds: Int? = nil) throws(FathomError) -> [[UInt8]] {
        let room = ControlBlock.slotByteCount - 8
        var gathered = [[UInt8]](repeating: [], count: rankCount)
        var counts = [Int](repeating: 0, count: rankCount)
        var sent = 0
        repeat {
            let part = bytes[sent..<min(sent + room, bytes.count)]
            let slot = control.slot(rank)
            // SAFETY: the slot has room for the count and the part, and is this rank's to write now.
            slot.storeBytes(of: bytes.count, as: Int.self)
            part.withUnsafeBytes {
                if let start = $0.baseAddress { (slot + 8).copyMemory(from: start, byteCount: part.count) }
            }
            publishSlot(byteCount: 8 + part.count)
            try barrier(timeoutMilliseconds: timeoutMilliseconds)
            for other in 0..<rankCount {
                let theirs = control.slot(other)
                counts[other] = theirs.load(as: Int.self)
                let count = max(0, min(room, counts[other] - sent))
                // SAFETY: a part never exceeds the slot.
                gathered[other] += UnsafeRawBufferPointer(start: theirs + 8, count: count)
            }
            try barrier(timeoutMilliseconds: timeoutMilliseconds)
            sent += room
        } while sent < counts.max() ?? 0
        return gathered
    }

    /// The bytes of rank `root`, at all ranks. What others pass is ignored.
    ///
    /// - Throws: as `barrier`.
    public func broadcast(
        _ bytes: [UInt8], from root: Int, timeoutMilliseconds: Int? = nil
    ) throws(FathomError) -> [UInt8] {
        precondition((0..<rankCount).contains(root), "ranks are 0..<\(rankCount)")
        return try allGather(rank == root ? bytes : [], timeoutMilliseconds: timeoutMilliseconds)[root]
    }

    /// Waits until all ranks have joined.
    func awaitOthers() throws(FathomError) {
        func absent() -> [Int] { (0..<rankCount).filter { control.state($0) == .absent } }
        let came = try wait(
            timeoutMilliseconds: limits.timeoutMilliseconds, watching: [], for: "all ranks to join",
            until: { absent().isEmpty })
        guard came else {
            let names = absent().map(String.init).joined(separator: ", ")
            throw FathomError(
                .unavailable,
                "rank \(rank) waited \(limits.timeoutMilliseconds) ms for \(rankCount) ranks; missing: rank \(names)"
            )
        }
        liveness.watch()
    }
}
