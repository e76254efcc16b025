// SPDX-License-Identifier: MIT
// SAFETY: In this file a context's handle is retained once and released once; the driver writes into variables of this
// thread that live during the call.

public import Platform

/// The primary context of a device: what memory, streams and kernels live in.
///
/// A reference, because everything made in it holds it: it goes when the last of them has gone, whatever the order
/// in which values die. All calls may come from any thread.
public final class DeviceContext: @unchecked Sendable {
    public let device: CUDADevice
    private let handle: OpaquePointer

    var driver: CUDADriver { device.driver }
    var functions: DriverFunctions { device.driver.functions }

    /// Retains the primary context of `device`.
    public init(device: CUDADevice) throws(FathomError) {
        let driver = device.driver
        var handle: OpaquePointer?
        let code = driver.functions.retainPrimaryContext(&handle, Int32(device.ordinal))
        try driver.check(code, "cuDevicePrimaryCtxRetain(\(device.ordinal))")
        guard let handle else {
            throw FathomError(.internal, "cuDevicePrimaryCtxRetain(\(device.ordinal)) gave no context")
        }
        self.device = device
        self.handle = handle
    }

    /// The primary context of the first device of the process's driver, or of number `ordinal`.
    ///
    /// - Throws: `unavailable` where there is no driver or no such device.
    public convenience init(ordinal: Int = 0) throws(FathomError) {
        try self.init(device: try CUDADevice(ordinal, driver: try CUDADriver.shared()))
    }

    deinit { _ = functions.releasePrimaryContext(Int32(device.ordinal)) }

    /// Makes the context the calling thread's: threads of a pool come from anywhere.
    func enter() throws(FathomError) {
        try driver.check(functions.setCurrentContext(handle), "cuCtxSetCurrent(device \(device.ordinal))")
    }

    /// As `enter`, where nobody can be told of a failure: before something is given back.
    func enterQuietly() { _ = functions.setCurrentContext(handle) }

    /// Memory of the device in bytes: what is free now, and all.
    public func memory() throws(FathomError) -> (free: Int, total: Int) {
        try enter()
        var free = 0
        var total = 0
        try driver.check(functions.memoryInfo(&free, &total), "cuMemGetInfo()")
        return (free, total)
    }
}
