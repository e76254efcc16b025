// SPDX-License-Identifier: MIT

internal import CFathom
public import Platform
internal import Synchronization

/// Something that completes once, with or without an error: the end of an exchange that runs meanwhile, or what an
/// exchange waits for before it reads its input. DeepEP's `EventOverlap`.
public final class ExchangeEvent: Sendable {
    private let result = Mutex<Result<Void, FathomError>?>(nil)
    private let bell = Doorbell()

    /// An event that `complete` or `fail` ends.
    public init() {}

    /// How long `wait` waits unless told otherwise. An exchange ends by itself long before, unless others go on slowly.
    public static let usualWaitMilliseconds = 600_000

    /// Whether it has ended, with or without an error.
    public var isComplete: Bool { result.withLock { $0 != nil } }

    /// Ends the event; does nothing to one that has ended.
    public func complete() { end(.success(())) }

    /// Ends the event with an error; does nothing to one that has ended.
    public func fail(_ error: FathomError) { end(.failure(error)) }

    private func end(_ outcome: Result<Void, FathomError>) {
        result.withLock { $0 = $0 ?? outcome }
        bell.ring()
    }

    /// Waits for the end. What was done before it is visible afterwards.
    ///
    /// - Throws: the error with which it ended; `unavailable` if it has not ended within the time, and it may be waited
    ///   for again.
    public func wait(timeoutMilliseconds: Int = ExchangeEvent.usualWaitMilliseconds) throws(FathomError) {
        let deadline = ContinuousClock.now + .milliseconds(timeoutMilliseconds)
        while true {
            let seen = bell.rings
            if let outcome = result.withLock({ $0 }) { return try outcome.get() }
            guard ContinuousClock.now < deadline else {
                throw FathomError(.unavailable, "an exchange has not ended within \(timeoutMilliseconds) ms")
            }
            bell.wait(unlessRungSince: seen)
        }
    }
}

/// An exchange that runs meanwhile, and what it makes.
public final class PendingExchange<Value: Sendable>: Sendable {
    /// Its end; operations begun later may wait for it.
    public let event = ExchangeEvent()
    private let value = Mutex<Value?>(nil)
    private let giveUp: @Sendable () -> Void

    init(giveUp: @escaping @Sendable () -> Void) { self.giveUp = giveUp }

    /// Whether it has ended, with or without an error.
    public var isComplete: Bool { event.isComplete }

    /// Waits for the end; returns what was made, every time it is called.
    ///
    /// - Throws: the operation's error, or `unavailable` if it has not ended within the time; it goes on and may be
    ///   waited for again.
    public func wait(
        timeoutMilliseconds: Int = ExchangeEvent.usualWaitMilliseconds
    ) throws(FathomError) -> Value {
        try event.wait(timeoutMilliseconds: timeoutMilliseconds)
        guard let made = value.withLock({ $0 }) else {
            throw FathomError(.internal, "an exchange ended with neither a value nor an error")
        }
        return made
    }

    /// Gives the operation up, unless it has ended: `wait` then throws `cancelled`, the other ranks learn that this one
    /// could not complete it, and the exchange object is not used any more, as after any failure.
    public func cancel() {
        if !isComplete { giveUp() }
    }

    func finish(_ outcome: Result<Value, FathomError>) {
        switch outcome {
        case .success(let made):
            value.withLock { $0 = made }
            event.complete()
        case .failure(let error): event.fail(error)
        }
    }
}

/// A word to sleep on until somebody rings.
final class Doorbell: @unchecked Sendable {
    // SAFETY: @unchecked Sendable because the word is allocated and initialised here, lives until deinit and is only
    // used atomically.

    private let word: UnsafeMutablePointer<Atomic<UInt32>>
    /// An upper bound on any sleep, so that nothing hangs on a missed ring.
    private static let sliceNanoseconds: UInt64 = 50_000_000

    init() {
        word = .allocate(capacity: 1)
        word.initialize(to: Atomic(0))
    }

    deinit {
        word.deinitialize(count: 1)
        word.deallocate()
    }

    var rings: UInt32 { word.pointee.load(ordering: .acquiring) }

    /// Wakes all that sleep.
    func ring() {
        word.pointee.wrappingAdd(1, ordering: .sequentiallyConsistent)
        // SAFETY: an atomic word has the layout of the number, which the system call reads itself.
        UnsafeMutableRawPointer(word).withMemoryRebound(to: UInt32.self, capacity: 1) {
            fathom_futex_wake($0, .max)
        }
    }

    /// Sleeps for a slice of time, or until somebody rings.
    func wait(unlessRungSince rings: UInt32) {
        // SAFETY: as above.
        UnsafeMutableRawPointer(word).withMemoryRebound(to: UInt32.self, capacity: 1) {
            fathom_futex_wait($0, rings, Self.sliceNanoseconds)
        }
    }
}
