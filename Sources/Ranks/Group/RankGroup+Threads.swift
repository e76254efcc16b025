// SPDX-License-Identifier: MIT

public import Platform
internal import Synchronization

#if canImport(Glibc)
internal import Glibc
#elseif canImport(Musl)
internal import Musl
#endif

extension RankGroup {
    /// Runs `body` as each rank of a group, every rank on a thread of its own, and returns what each made.
    ///
    /// - Throws: the first rank's error, by rank, after all have ended; the others learn that it failed when they wait
    ///   for it. `unavailable` if the system refuses a thread.
    public static func threads<Result: Sendable>(
        _ topology: Topology, limits: Limits = Limits(),
        body: @escaping @Sendable (RankGroup) throws(FathomError) -> Result
    ) throws(FathomError) -> [Result] {
        let memory = try SharedMemory(
            byteCount: ControlBlock.byteCount(rankCount: topology.rankCount), purpose: "a group of threads")
        let segment = SharedSegment(memory)
        let table = SegmentTable()
        return try run(topology, body) { rank throws(FathomError) in
            try RankGroup(rank: rank, topology: topology, segment: segment, limits: limits, table: table)
        }
    }

    /// As `threads`, but no rank sees another's memory: everything goes over a link, as between machines.
    package static func linkedThreads<Result: Sendable>(
        _ topology: Topology, limits: Limits = Limits(),
        body: @escaping @Sendable (RankGroup) throws(FathomError) -> Result
    ) throws(FathomError) -> [Result] {
        var controls: [SharedSegment] = []
        for _ in 0..<topology.rankCount {
            let memory = try SharedMemory(
                ownByteCount: ControlBlock.byteCount(rankCount: topology.rankCount), purpose: "a group of threads")
            controls.append(SharedSegment(memory))
        }
        let segments = controls
        let network = LoopbackNetwork(controls: segments)
        return try run(topology, body) { rank throws(FathomError) in
            try RankGroup(
                rank: rank, topology: topology, segment: segments[rank], limits: limits,
                link: LoopbackLink(rank: rank, rankCount: topology.rankCount, network: network),
                addresses: segments.map { _ in [] })
        }
    }

    /// Runs `body` as each rank of the group that `join` makes.
    private static func run<Result: Sendable>(
        _ topology: Topology, _ body: @escaping @Sendable (RankGroup) throws(FathomError) -> Result,
        join: @escaping @Sendable (_ rank: Int) throws(FathomError) -> RankGroup
    ) throws(FathomError) -> [Result] {
        let members = (0..<topology.rankCount).map { rank in
            RankThread { () throws(FathomError) -> Result in
                let group = try join(rank)
                do throws(FathomError) {
                    try group.awaitOthers()
                    return try body(group)
                } catch {
                    group.leave(as: .failed)
                    throw error
                }
            }
        }
        var failure: FathomError?
        for member in members {
            do throws(FathomError) { try member.start() } catch { failure = failure ?? error }
        }
        let outcomes = members.map { $0.outcome() }
        if let failure { throw failure }
        // A rank that only learnt of another's failure is not the one to name.
        let errors = outcomes.compactMap { outcome in
            if case .failure(let error)? = outcome { return error }
            return nil
        }
        if let first = errors.first(where: { $0.code != .unavailable }) ?? errors.first { throw first }
        return outcomes.compactMap { try? $0?.get() }
    }
}

/// A thread with a result.
private final class RankThread<Value: Sendable>: Sendable {
    private let body: @Sendable () throws(FathomError) -> Value
    private let result = Mutex<Result<Value, FathomError>?>(nil)
    private let thread = Mutex<pthread_t?>(nil)

    init(_ body: @escaping @Sendable () throws(FathomError) -> Value) { self.body = body }

    func start() throws(FathomError) {
        // SAFETY: Unmanaged carries one retained reference into the thread, which takes it over.
        let argument = Unmanaged.passRetained(
            RankThreadBody { [self] in
                let outcome = Result { () throws(FathomError) in try self.body() }
                result.withLock { $0 = outcome }
            })
        var id = pthread_t()
        let status = pthread_create(
            &id, nil,
            { raw in
                // SAFETY: the retained object that pthread_create was given, taken once.
                guard let raw else { return nil }
                Unmanaged<RankThreadBody>.fromOpaque(raw).takeRetainedValue().run()
                return nil
            }, argument.toOpaque())
        guard status == 0 else {
            argument.release()
            throw FathomError(.unavailable, "cannot start a rank's thread: \(systemErrorText(status))")
        }
        thread.withLock { $0 = id }
    }

    /// What the body made, once the thread has ended; nil if it never began.
    func outcome() -> Result<Value, FathomError>? {
        if let id = thread.withLock({ $0 }) { pthread_join(id, nil) }
        return result.withLock { $0 }
    }
}

/// What a new thread runs: a class without parameters, which a C function can name.
private final class RankThreadBody: Sendable {
    let run: @Sendable () -> Void

    init(_ run: @escaping @Sendable () -> Void) { self.run = run }
}
