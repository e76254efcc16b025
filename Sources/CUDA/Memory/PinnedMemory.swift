// SPDX-License-Identifier: MIT
// SAFETY: In this file memory that the driver gave is used between its first and last byte while the value lives.

public import Platform

/// Memory of the host that the device reaches directly, for copies that run beside other work; freed when the value
/// dies.
public struct PinnedMemory: ~Copyable, @unchecked Sendable {
    public let context: DeviceContext
    public let byteCount: Int
    let base: UnsafeMutableRawPointer

    /// Takes `byteCount` bytes, at least one. They hold anything.
    public init(byteCount: Int, context: DeviceContext) throws(FathomError) {
        precondition(byteCount >= 0)
        try context.enter()
        var base: UnsafeMutableRawPointer?
        let code = context.functions.allocateHost(&base, max(1, byteCount), 0)
        try context.driver.check(code, "cuMemHostAlloc(\(byteCount) bytes)")
        guard let base else { throw FathomError(.internal, "cuMemHostAlloc(\(byteCount) bytes) gave no memory") }
        self.context = context
        self.byteCount = byteCount
        self.base = base
    }

    deinit {
        context.enterQuietly()
        _ = context.functions.freeHost(base)
    }

    /// Calls `body` with the bytes. No copy may be under way that touches what `body` touches.
    public func withBytes<Result, Failure: Error>(
        _ body: (UnsafeMutableRawBufferPointer) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        try body(UnsafeMutableRawBufferPointer(start: base, count: byteCount))
    }
}
