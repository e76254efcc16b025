// SPDX-License-Identifier: MIT

internal import CFathom
public import Platform
internal import Synchronization

#if canImport(Glibc)
internal import Glibc
#elseif canImport(Musl)
internal import Musl
#endif

/// The threads on which exchanges run meanwhile: how many cores communication may take from computing, as the SM count
/// of the original.
///
/// Operations are taken in the order in which they were begun. Exchanges that share workers must therefore be begun in
/// the same order by all ranks; then the first operation that has not ended runs on every rank, whatever the counts.
/// Threads start when they are needed and end with the last exchange that uses them.
public final class CommunicationWorkers: Sendable {
    /// Threads at most.
    public let limit: Int
    /// What is used unless told otherwise: an exchange runs one operation at a time.
    public static let usualLimit = 1
    public static let maximumLimit = 64
    /// Operations that have been begun and have not ended, at most.
    public static let maximumPending = 256

    private let queue: WorkQueue
    private let threads = Mutex<[pthread_t]>([])

    /// - Throws: `usage` unless the limit is 1 … `maximumLimit`.
    public init(limit: Int = CommunicationWorkers.usualLimit) throws(FathomError) {
        guard limit >= 1, limit <= Self.maximumLimit else {
            throw FathomError(.usage, "\(limit) communication workers; 1 to \(Self.maximumLimit) are legal")
        }
        self.limit = limit
        queue = WorkQueue()
    }

    /// Threads of all workers of this process that run now.
    package static var threadCount: Int { WorkQueue.threadCount.load(ordering: .acquiring) }

    /// - Throws: `usage` if too much is pending, `unavailable` if the system refuses a thread; then nothing was begun.
    func submit(_ work: @escaping @Sendable () -> Void) throws(FathomError) {
        let failure = threads.withLock { threads -> FathomError? in
            let pending = queue.pendingCount
            guard pending < Self.maximumPending else {
                return FathomError(
                    .usage, "\(pending) exchanges have been begun and not ended; at most \(Self.maximumPending) may")
            }
            if threads.count < min(limit, pending + 1) {
                do throws(FathomError) { threads.append(try queue.startThread()) } catch { return error }
            }
            queue.append(work)
            return nil
        }
        if let failure { throw failure }
    }

    deinit {
        queue.stop()
        threads.withLock { threads in
            for thread in threads {
                // The last reference may have been an operation's own.
                if pthread_equal(thread, pthread_self()) != 0 {
                    pthread_detach(thread)
                } else {
                    pthread_join(thread, nil)
                }
            }
        }
    }
}

/// What the threads of a `CommunicationWorkers` share; outlives it until they have ended.
private final class WorkQueue: Sendable {
    private struct State {
        var waiting: [@Sendable () -> Void] = []
        var running = 0
        var isStopped = false
    }

    static let threadCount = Atomic<Int>(0)
    private let state = Mutex(State())
    private let bell = Doorbell()

    var pendingCount: Int { state.withLock { $0.waiting.count + $0.running } }

    func append(_ work: @escaping @Sendable () -> Void) {
        state.withLock { $0.waiting.append(work) }
        bell.ring()
    }

    /// Lets threads end once nothing is waiting.
    func stop() {
        state.withLock { $0.isStopped = true }
        bell.ring()
    }

    func startThread() throws(FathomError) -> pthread_t {
        var id = pthread_t()
        // SAFETY: Unmanaged carries one retained reference into the thread, which takes it over.
        let argument = Unmanaged.passRetained(self)
        Self.threadCount.wrappingAdd(1, ordering: .acquiringAndReleasing)
        let status = pthread_create(
            &id, nil,
            { raw in
                // SAFETY: the retained object that pthread_create was given, taken once.
                guard let raw else { return nil }
                Unmanaged<WorkQueue>.fromOpaque(raw).takeRetainedValue().run()
                WorkQueue.threadCount.wrappingSubtract(1, ordering: .acquiringAndReleasing)
                return nil
            }, argument.toOpaque())
        guard status == 0 else {
            argument.release()
            Self.threadCount.wrappingSubtract(1, ordering: .acquiringAndReleasing)
            throw FathomError(.unavailable, "cannot start a communication worker: \(systemErrorText(status))")
        }
        return id
    }

    private func run() {
        while true {
            let seen = bell.rings
            let (work, isStopped) = state.withLock { state -> ((@Sendable () -> Void)?, Bool) in
                guard !state.waiting.isEmpty else { return (nil, state.isStopped) }
                state.running += 1
                return (state.waiting.removeFirst(), false)
            }
            if let work {
                work()
                state.withLock { $0.running -= 1 }
            } else if isStopped {
                return
            } else {
                bell.wait(unlessRungSince: seen)
            }
        }
    }
}
