// SPDX-License-Identifier: MIT
// SAFETY: In this file a stream's handle is created once and destroyed once.

public import Platform

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#elseif canImport(Darwin)
import Darwin
#endif

/// A queue of work on a device, done in order; destroyed when the value dies, after its work.
public struct DeviceStream: ~Copyable, @unchecked Sendable {
    /// How long `synchronize` waits where it is not told, in milliseconds.
    public static let defaultLimitMilliseconds = 60_000

    public let context: DeviceContext
    let handle: OpaquePointer

    /// A stream that does not wait for the default one.
    public init(context: DeviceContext) throws(FathomError) {
        let nonBlocking: UInt32 = 1
        try context.enter()
        var handle: OpaquePointer?
        try context.driver.check(
            context.functions.createStream(&handle, nonBlocking), "cuStreamCreate(non-blocking)")
        guard let handle else { throw FathomError(.internal, "cuStreamCreate gave no stream") }
        self.context = context
        self.handle = handle
    }

    deinit {
        context.enterQuietly()
        _ = context.functions.destroyStream(handle)
    }

    /// Waits until all work in the stream is done.
    ///
    /// - Throws: what the work failed with, or `unavailable` once the limit has passed: the device then still works,
    ///   and freeing its memory would wait for it.
    public func synchronize(limitMilliseconds: Int = defaultLimitMilliseconds) throws(FathomError) {
        try context.enter()
        try context.wait("work in a stream", limitMilliseconds: limitMilliseconds) {
            context.functions.queryStream(handle)
        }
    }

    /// Lets later work of the stream wait for `event`.
    public func wait(for event: borrowing DeviceEvent) throws(FathomError) {
        try context.enter()
        try context.driver.check(
            context.functions.streamWaitsForEvent(handle, event.handle, 0), "cuStreamWaitEvent()")
    }
}

extension DeviceContext {
    /// Polls until `query` says that it is done: often at first, then every 50 µs.
    ///
    /// A blocking call of the driver could not be left when a kernel hangs.
    func wait(_ what: String, limitMilliseconds: Int, query: () -> Int32) throws(FathomError) {
        let spins = 2000
        var start: ContinuousClock.Instant?
        var count = 0
        while true {
            let code = query()
            if code != CUDACode.notReady { return try driver.check(code, what) }
            let now = ContinuousClock.now
            let begin = start ?? now
            start = begin
            if begin.duration(to: now) > .milliseconds(limitMilliseconds) {
                throw FathomError(
                    .unavailable,
                    "\(what) on \(device.name) is not done after \(limitMilliseconds) ms; a kernel may hang, and only "
                        + "the end of the process stops it")
            }
            count += 1
            if count > spins { usleep(50) }
        }
    }
}
