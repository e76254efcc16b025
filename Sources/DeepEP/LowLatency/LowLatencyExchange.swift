// SPDX-License-Identifier: MIT

internal import KernelDispatch
internal import Kernels
public import Platform
public import Ranks
internal import Tensors

/// One rank's end of low-latency dispatch and combine: for small batches, with fixed slots for whatever may come, so
/// that nobody has to know counts before rows travel.
///
/// A dispatch and a combine each have two halves. What is between them runs while others send:
///
///     let sent = try exchange.dispatch(rows, selection)
///     …
///     let tokens = try sent.receive()
///     // experts work on tokens.rows
///     let returning = try exchange.combine(made, of: tokens)
///     …
///     let sums = try returning.receive()
///
/// Two dispatches may be under way. All ranks of the group make an exchange with the same arguments and call the same
/// halves in the same order, each from one thread. Rows come in order of (source rank, token) and sums are in top-k
/// order always: results depend on the arguments alone, bit for bit.
///
/// With a `Membership` a lost rank costs its experts and not the exchange: what has not come from it is empty, tokens
/// say that it is missing, and from a later operation on, the same at all ranks, choices of its experts count as none.
/// An operation is a step of the membership. Without one a lost rank is an error at every other.
public final class LowLatencyExchange {
    public let shape: LowLatencyShape
    /// How long a half waits without progress before it fails.
    public var timeoutMilliseconds: Int
    /// How long this rank has waited for each rank, in nanoseconds: to find the slow ones. Where ranks share cores a
    /// rank wakes when all have come, and each of them counts.
    public internal(set) var waitedNanoseconds: [UInt64]

    let group: RankGroup
    /// Who takes part; nil where everybody has to.
    public let membership: Membership?
    /// Whether rows are put into slots even where ranks see each other's memory, as over a network.
    package let putsRows: Bool
    let region: SymmetricRegion
    let memory: LowLatencyMemory
    let kernels: KernelTable
    var machine: LowLatencyProtocol
    /// What is under way, by the operation's parity.
    var runs: [LowLatencyRun?] = [nil, nil]
    private var failure: FathomError?

    /// Makes an exchange; all ranks call it.
    ///
    /// - Parameters:
    ///   - membership: of the group, with two steps under way or more, for the steps of this exchange alone.
    ///   - timeoutMilliseconds: how long a half waits without progress before it fails, or, with a membership, before
    ///     it takes those for lost who have not come.
    /// - Throws: `usage` where arguments differ among ranks or do not fit the group, `unavailable` without memory.
    public convenience init(
        group: RankGroup, shape: LowLatencyShape, membership: Membership? = nil, timeoutMilliseconds: Int = 30_000
    ) throws(FathomError) {
        try self.init(
            group: group, shape: shape, membership: membership, timeoutMilliseconds: timeoutMilliseconds,
            putsRows: false)
    }

    /// As the public initialiser; rows are put even where they could be read, if that is wanted.
    package init(
        group: RankGroup, shape: LowLatencyShape, membership: Membership? = nil, timeoutMilliseconds: Int = 30_000,
        putsRows: Bool
    ) throws(FathomError) {
        guard shape.placement.rankCount == group.rankCount else {
            throw FathomError(
                .usage, "experts placed on \(shape.placement.rankCount) ranks for a group of \(group.rankCount)")
        }
        guard membership.map({ $0.group === group && $0.stepsUnderWay >= 2 }) ?? true else {
            throw FathomError(.usage, "the membership is not the group's, or has fewer than two steps under way")
        }
        self.shape = shape
        self.putsRows = putsRows
        self.membership = membership
        self.timeoutMilliseconds = timeoutMilliseconds
        self.group = group
        memory = LowLatencyMemory(shape)
        machine = LowLatencyProtocol(rankCount: group.rankCount)
        waitedNanoseconds = Array(repeating: 0, count: group.rankCount)
        kernels = try InstructionSetLevel.selected().kernels
        let text = "\(shape)\(putsRows ? ", rows put" : "")"
        for (rank, other) in try group.allGather(Array(text.utf8)).enumerated() where other != Array(text.utf8) {
            throw FathomError(
                .usage,
                """
                rank \(rank) makes an exchange of \(String(decoding: other, as: UTF8.self)), rank \(group.rank) one of \
                \(text)
                """)
        }
        region = try group.symmetricRegion(byteCount: memory.byteCount, signalCount: memory.signalCount)
    }

    /// This rank.
    public var rank: Int { group.rank }

    /// A rank's memory, where it is seen here and rows are read in it.
    func mapped(_ rank: Int) -> UnsafeMutableRawPointer? { putsRows ? nil : region.peer(rank) }

    /// The experts of this rank.
    public var experts: Range<Int> { shape.placement.experts(of: rank) }

    func run(_ operation: Int) throws(FathomError) -> LowLatencyRun {
        guard let run = runs[operation & 1], run.operation == operation else {
            throw FathomError(.usage, "rank \(rank): operation \(operation) is over")
        }
        return run
    }

    // MARK: Running the protocol

    /// Performs what a half asks for; what goes wrong ends the use of this exchange, here and at the others.
    func guarded<Result>(_ body: () throws(FathomError) -> Result) throws(FathomError) -> Result {
        if let failure { throw failure }
        do throws(FathomError) {
            return try body()
        } catch {
            failure = error
            for other in 0..<group.rankCount where other != rank {
                region.signal(other, memory.failureWord, UInt64(rank + 1))
            }
            throw error
        }
    }

    /// Hands the machine what the words say.
    func look() {
        for leg in LowLatencyProtocol.Leg.allCases {
            for other in 0..<group.rankCount {
                machine.arrive(leg, from: other, value: Int(region.value(memory.word(leg, from: other))))
            }
        }
    }

    /// Sleeps until a signal comes from one of the ranks that are awaited.
    func wait(_ leg: LowLatencyProtocol.Leg, _ operation: Int, _ name: String) throws(FathomError) {
        if let membership { return try wait(leg, operation, name, membership) }
        let awaited = machine.awaited(leg, operation)
        let start = ContinuousClock.now
        let came = try group.wait(
            timeoutMilliseconds: timeoutMilliseconds, watching: awaited, for: "low-latency \(name) \(operation)",
            arrivals: {
                awaited.count { region.value(memory.word(leg, from: $0)) < UInt64(operation) }
            },
            until: {
                region.value(memory.failureWord) != 0
                    || awaited.contains { region.value(memory.word(leg, from: $0)) >= UInt64(operation) }
            })
        let elapsed = UInt64(max(0, (ContinuousClock.now - start) / .nanoseconds(1)))
        for other in awaited where other != rank { waitedNanoseconds[other] += elapsed }
        look()
        if case let told = region.value(memory.failureWord), told != 0, !machine.awaited(leg, operation).isEmpty {
            throw FathomError(
                .unavailable,
                "rank \(told - 1) could not complete an exchange; rank \(rank) was in low-latency \(name) \(operation)")
        }
        guard came else {
            let names = awaited.map(String.init).joined(separator: ", ")
            throw FathomError(
                .unavailable,
                "rank \(rank) waited \(timeoutMilliseconds) ms in low-latency \(name) \(operation) for rank \(names)")
        }
    }

    // MARK: With a membership

    /// How long a rank waits before it looks at what else the others say.
    private static let lookMilliseconds = 20

    /// As `wait`, but who is lost or does not come in time is given up.
    private func wait(
        _ leg: LowLatencyProtocol.Leg, _ operation: Int, _ name: String, _ membership: Membership
    ) throws(FathomError) {
        let start = ContinuousClock.now
        var last = start
        let first = machine.awaited(leg, operation)
        while machine.awaited(leg, operation).count == first.count {
            let awaited = machine.awaited(leg, operation)
            _ = try group.wait(
                timeoutMilliseconds: Self.lookMilliseconds, watching: EmptyCollection(), for: name,
                arrivals: { awaited.count { region.value(memory.word(leg, from: $0)) < UInt64(operation) } },
                until: {
                    membership.hasMail
                        || awaited.contains { region.value(memory.word(leg, from: $0)) >= UInt64(operation) }
                })
            let now = ContinuousClock.now
            for other in awaited where other != rank {
                waitedNanoseconds[other] += UInt64(max(0, (now - last) / .nanoseconds(1)))
            }
            last = now
            takeLosses(membership)
            guard !membership.isExpelled else {
                throw FathomError(
                    .unavailable,
                    "rank \(rank) is masked: the others took it for lost while it was in \(name) \(operation)")
            }
            if now - start > .milliseconds(timeoutMilliseconds) {
                for other in machine.awaited(leg, operation) { membership.lose(other) }
                takeLosses(membership)
            }
        }
    }

    /// Gives up whoever is lost.
    func takeLosses(_ membership: Membership) {
        membership.look()
        if case let told = region.value(memory.failureWord), told != 0 { membership.lose(Int(told) - 1) }
        for other in 0..<group.rankCount where membership.isLost[other] { machine.lose(other) }
        // What a rank did last came before it was lost.
        look()
    }
}

/// What an operation needs until its end.
struct LowLatencyRun {
    var operation: Int
    var selection: TopKSelection
    var streams: LowLatencyStreams
    /// The rows to be sent; nothing once they have been.
    var rows: TokenRows?
    /// [source rank, local expert] the slot of the first row, and one line behind.
    var firstSlots: [Int32]
}
