// SPDX-License-Identifier: MIT
// SAFETY: In this file an event's handle is created once and destroyed once.

public import Platform

/// A moment in a stream, with the device's time; destroyed when the value dies.
public struct DeviceEvent: ~Copyable, @unchecked Sendable {
    public let context: DeviceContext
    let handle: OpaquePointer

    /// An event that nobody has recorded yet.
    public init(context: DeviceContext) throws(FathomError) {
        try context.enter()
        var handle: OpaquePointer?
        try context.driver.check(context.functions.createEvent(&handle, 0), "cuEventCreate()")
        guard let handle else { throw FathomError(.internal, "cuEventCreate gave no event") }
        self.context = context
        self.handle = handle
    }

    deinit {
        context.enterQuietly()
        _ = context.functions.destroyEvent(handle)
    }

    /// Marks the moment at which the work that is now in `stream` is done.
    public func record(on stream: borrowing DeviceStream) throws(FathomError) {
        try context.enter()
        try context.driver.check(context.functions.recordEvent(handle, stream.handle), "cuEventRecord()")
    }

    /// Waits until the moment has come.
    public func synchronize(
        limitMilliseconds: Int = DeviceStream.defaultLimitMilliseconds
    ) throws(FathomError) {
        try context.enter()
        try context.wait("an event", limitMilliseconds: limitMilliseconds) { context.functions.queryEvent(handle) }
    }

    /// Milliseconds from `start` to this moment by the device's clock, about half a microsecond fine.
    /// Both must have come.
    public func milliseconds(since start: borrowing DeviceEvent) throws(FathomError) -> Double {
        try context.enter()
        var elapsed: Float = 0
        try context.driver.check(
            context.functions.elapsedTime(&elapsed, start.handle, handle), "cuEventElapsedTime()")
        return Double(elapsed)
    }
}
