// SPDX-License-Identifier: MIT
// SAFETY: In this file a module's handle is loaded once and unloaded once; the driver reads the machine code only
// during the call, and writes into variables of this thread.

public import Platform

/// Machine code loaded into a context. A reference, because its kernels hold it.
public final class DeviceModule: @unchecked Sendable {
    public let context: DeviceContext
    public let binary: KernelBinary
    private let handle: OpaquePointer

    /// Loads `binary`.
    ///
    /// - Throws: `unavailable` where it is for another architecture.
    public init(_ binary: KernelBinary, context: DeviceContext) throws(FathomError) {
        try context.enter()
        var handle: OpaquePointer?
        let code = binary.cubin.withUnsafeBytes { bytes in
            bytes.baseAddress.map { context.functions.loadModule(&handle, $0) }
        }
        guard let code else { throw FathomError(.internal, "a binary without machine code cannot be loaded") }
        let size = binary.cubin.count
        try context.driver.check(code, "cuModuleLoadData(\(size) bytes) on \(context.device.name)")
        guard let handle else { throw FathomError(.internal, "cuModuleLoadData gave no module") }
        self.context = context
        self.binary = binary
        self.handle = handle
    }

    deinit {
        context.enterQuietly()
        _ = context.functions.unloadModule(handle)
    }

    /// The kernel of a name expression, or the `extern "C"` kernel of that name.
    public func kernel(_ name: String) throws(FathomError) -> DeviceKernel {
        let symbol = binary.symbol(name)
        try context.enter()
        var function: OpaquePointer?
        try context.driver.check(
            context.functions.moduleFunction(&function, handle, symbol), "cuModuleGetFunction(\(symbol))")
        guard let function else { throw FathomError(.internal, "cuModuleGetFunction(\(symbol)) gave no kernel") }
        return try DeviceKernel(name: name, module: self, function: function)
    }
}
