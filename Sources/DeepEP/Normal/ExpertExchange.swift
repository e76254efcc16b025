// SPDX-License-Identifier: MIT

internal import CFathom
internal import KernelDispatch
public import Platform
public import Ranks
internal import Synchronization
internal import Tensors

/// One rank's end of dispatch and combine: tokens to the ranks of their experts, and what these make of them back.
///
/// All ranks of the group make an exchange with the same arguments and call the same operations in the same order, each
/// from one thread. What an operation returns depends on its arguments alone, bit for bit: not on the transport, the
/// bounds of the queues, or timing. If a rank is lost or does not come, every operation ends with an error that names
/// it, and the exchange cannot be used any more.
public final class ExpertExchange: @unchecked Sendable {
    // SAFETY: @unchecked Sendable because operations, which alone use the variables without a lock, run one after
    // another: one that is begun waits for the event of the one before, and one that is called waits for all begun.

    /// Where the experts are, among `members`.
    public internal(set) var placement: ExpertPlacement
    /// Of the rows that are dispatched.
    public let format: RowFormat
    /// Of the rows that come back, and of their sums.
    public let returnFormat: RowFormat
    public let topK: Int
    public internal(set) var capacity: ExchangeCapacity
    /// The ranks of the group that take part, ascending. Everywhere else in an exchange a rank is an index into them.
    public var members: [Int] { region.members }
    /// Whether tokens go to other nodes over the rank with the same index there.
    public let twoHop: Bool
    /// How long an operation waits without progress before it fails.
    public var timeoutMilliseconds: Int {
        get { timeLimit.load(ordering: .relaxed) }
        set { timeLimit.store(newValue, ordering: .relaxed) }
    }
    /// How long this rank has waited for each rank of the group, in nanoseconds: to find the slow ones.
    public var waitedNanoseconds: [UInt64] { waited.withLock { $0 } }

    let group: RankGroup
    var region: MemberRegion
    var memory: ExchangeMemory
    var wiring: ExchangeWiring
    var epoch = 0
    /// How often the members have been renewed.
    var generation = 0
    /// The threads for operations that are begun and not called.
    let workers: CommunicationWorkers
    /// The end of the operation that was begun last.
    let lastBegun = Mutex<ExchangeEvent?>(nil)
    private let timeLimit: Atomic<Int>
    private let waited: Mutex<[UInt64]>
    let isGivenUp = Atomic<Bool>(false)
    var failure: FathomError?
    private var seen: [UInt64]
    /// The rows of the sum that is being made.
    var addends: [UnsafeRawPointer] = []

    /// Makes an exchange; all ranks call it.
    ///
    /// - Parameters:
    ///   - format: of the rows that are dispatched.
    ///   - returning: of the rows that come back, BF16 or float; where left out as many numbers, float where `format`
    ///     is.
    ///   - topK: choices per token.
    ///   - twoHop: whether tokens go to other nodes over the rank with the same index there.
    ///   - communicationWorkers: what operations that are begun (`beginDispatch`, …) run on; without one the exchange
    ///     has `CommunicationWorkers.usualLimit` of its own.
    /// - Throws: `usage` where arguments differ among ranks or do not fit the group, `unavailable` without memory.
    public init(
        group: RankGroup, placement: ExpertPlacement, format: RowFormat, returning: RowFormat? = nil, topK: Int,
        capacity: ExchangeCapacity, twoHop: Bool = false, timeoutMilliseconds: Int = 30_000,
        communicationWorkers: CommunicationWorkers? = nil
    ) throws(FathomError) {
        guard placement.rankCount == group.rankCount else {
            throw FathomError(
                .usage, "experts placed on \(placement.rankCount) ranks for a group of \(group.rankCount)")
        }
        guard !twoHop || placement.hasEvenNodes else {
            throw FathomError(
                .usage,
                "\(placement.rankCount) ranks, \(placement.ranksPerNode) to a node: two hops need equal nodes")
        }
        guard topK >= 1, topK <= Self.maximumTopK else {
            throw FathomError(.usage, "top-\(topK); 1 to \(Self.maximumTopK) are legal")
        }
        guard capacity.landingRows >= placement.rankCount else {
            throw FathomError(.usage, "\(capacity.landingRows) landing slots for \(placement.rankCount) ranks")
        }
        guard returning?.scaleBytes ?? 0 == 0 else {
            throw FathomError(.usage, "rows come back in FP8; BF16 and floats are legal")
        }
        // What sums are computed with: the environment may name what this processor has not.
        _ = try InstructionSetLevel.selected()
        self.placement = placement
        self.format = format
        returnFormat = returning ?? format.ofSums
        self.topK = topK
        self.capacity = capacity
        self.twoHop = twoHop
        timeLimit = Atomic(timeoutMilliseconds)
        workers = if let communicationWorkers { communicationWorkers } else { try CommunicationWorkers() }
        self.group = group
        wiring = ExchangeWiring(placement: placement, rank: group.rank, twoHop: twoHop)
        memory = ExchangeMemory(
            placement: placement, format: format, returnFormat: returnFormat, topK: topK, capacity: capacity,
            nodeCount: wiring.nodeCount)
        waited = Mutex(Array(repeating: 0, count: placement.rankCount))
        seen = Array(repeating: 0, count: ExchangeWiring.wordCount(rankCount: placement.rankCount))
        try Self.checkAgreement(group, placement, format, returnFormat, topK, capacity, twoHop)
        let region = try group.symmetricRegion(
            byteCount: memory.byteCount, signalCount: ExchangeMemory.signalCount(groupSize: group.rankCount))
        self.region = MemberRegion(region: region, members: Array(0..<group.rankCount))
    }

    /// Choices per token at most.
    public static let maximumTopK = 1024

    /// This rank: its index among the members.
    public var rank: Int { wiring.rank }

    /// - Throws: `usage` naming a rank whose arguments differ.
    private static func checkAgreement(
        _ group: RankGroup, _ placement: ExpertPlacement, _ format: RowFormat, _ returning: RowFormat, _ topK: Int,
        _ capacity: ExchangeCapacity, _ twoHop: Bool
    ) throws(FathomError) {
        let text = "\(placement) \(format) \(returning) top-\(topK) \(capacity) \(twoHop ? "two hops" : "direct")"
        for (rank, other) in try group.allGather(Array(text.utf8)).enumerated() where other != Array(text.utf8) {
            throw FathomError(
                .usage,
                """
                rank \(rank) makes an exchange of \(String(decoding: other, as: UTF8.self)), rank \(group.rank) one of \
                \(text)
                """)
        }
    }

    // MARK: Running a protocol

    /// Performs an action; returns the event that answers it, if one does.
    typealias Perform<Machine> = (_ action: ExchangeAction, _ machine: Machine) throws(FathomError) -> ProtocolEvent?

    /// Runs a protocol to its end: hands it what the signals say, and has its actions performed in order.
    func run<Machine: ExchangeMachine>(
        _ machine: inout Machine, named name: String, perform: Perform<Machine>
    ) throws(FathomError) {
        if let failure { throw failure }
        do throws(FathomError) {
            try checkCancelled()
            var actions: [ExchangeAction] = []
            for index in seen.indices { seen[index] = 0 }
            machine.start(&actions)
            try work(&actions, &machine, perform)
            while !machine.isFinished {
                var changed = false
                for word in seen.indices {
                    let value = region.value(word)
                    guard value != seen[word] else { continue }
                    seen[word] = value
                    changed = true
                    machine.handle(.signal(word: word, value: value), &actions)
                    try work(&actions, &machine, perform)
                }
                if !changed { try awaitSignal(machine.awaited, arrivals: machine.awaitedArrivals, name) }
            }
        } catch {
            fail(error)
            throw error
        }
    }

    /// Performs actions, and those that answers lead to.
    private func work<Machine: ExchangeMachine>(
        _ actions: inout [ExchangeAction], _ machine: inout Machine, _ perform: Perform<Machine>
    ) throws(FathomError) {
        var next = 0
        while next < actions.count {
            let action = actions[next]
            next += 1
            if case .signal(let peer, let word, let value) = action {
                fathom_store_fence()
                region.signal(peer, word, value, counts: true)
                try checkCancelled()
            } else if let answer = try perform(action, machine) {
                machine.handle(answer, &actions)
            }
        }
        actions.removeAll(keepingCapacity: true)
    }

    /// - Throws: `cancelled` after `giveUp`.
    func checkCancelled() throws(FathomError) {
        guard isGivenUp.load(ordering: .relaxed) else { return }
        throw FathomError(.cancelled, "rank \(group.rank) gave an exchange up")
    }

    /// Sleeps until a signal changes.
    private func awaitSignal(_ awaited: [Int], arrivals: Int, _ name: String) throws(FathomError) {
        let awaited = awaited.map { members[$0] }
        let start = ContinuousClock.now
        let came = try group.wait(
            timeoutMilliseconds: timeoutMilliseconds, watching: awaited, for: "\(name) \(epoch)",
            // Those that have come since are fewer to come.
            arrivals: { arrivals - seen.indices.count { region.value($0) != seen[$0] } },
            until: { rankThatFailed != nil || seen.indices.contains { region.value($0) != seen[$0] } })
        let elapsed = UInt64(max(0, (ContinuousClock.now - start) / .nanoseconds(1)))
        waited.withLock { for other in awaited where other != group.rank { $0[other] += elapsed } }
        try checkCancelled()
        try checkOthers("\(name) \(epoch)")
        guard came else {
            let names = awaited.map(String.init).joined(separator: ", ")
            throw FathomError(
                .unavailable,
                "rank \(group.rank) waited \(timeoutMilliseconds) ms in \(name) \(epoch) for rank \(names)")
        }
    }

    /// Whether the processor's cache is too small for `bytes` of each rank that shares it; what is written had better
    /// go past it then.
    func exceedsCache(_ bytes: Int) -> Bool {
        bytes * placement.ranksPerNode > Machine.lastLevelCacheSize ?? Self.usualCacheSize
    }

    /// Bytes of a last-level cache that the system does not tell.
    private static let usualCacheSize = 16 << 20

    /// Whether this rank reads what every rank of its node keeps.
    var seesNode: Bool {
        (0..<placement.rankCount).allSatisfy { rank in
            rank / wiring.nodeSize != wiring.node || region.peer(rank) != nil
        }
    }
}

/// A protocol's state machine, as `ExpertExchange` runs it.
protocol ExchangeMachine {
    /// Whether this rank has nothing left to do.
    var isFinished: Bool { get }
    /// The ranks that this one waits for.
    var awaited: [Int] { get }
    /// Signals that have to come before this rank can do anything worth waking up for.
    var awaitedArrivals: Int { get }
    mutating func start(_ actions: inout [ExchangeAction])
    mutating func handle(_ event: ProtocolEvent, _ actions: inout [ExchangeAction])
}

extension DispatchProtocol: ExchangeMachine {}
extension CombineProtocol: ExchangeMachine {}
