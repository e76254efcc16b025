// SPDX-License-Identifier: MIT

public import Platform
import Synchronization

/// Kernels of one context, compiled and loaded when first asked for.
public final class KernelLibrary: Sendable {
    public let context: DeviceContext
    public let cache: KernelCache
    private let modules = Mutex<[KernelSource: DeviceModule]>([:])

    public init(context: DeviceContext, cache: KernelCache) {
        self.context = context
        self.cache = cache
    }

    /// A library with the process's compiler and the user's cache.
    ///
    /// - Throws: `unavailable` where there is no compiler.
    public convenience init(context: DeviceContext) throws(FathomError) {
        self.init(context: context, cache: try KernelCache.shared())
    }

    /// The module of `source`.
    public func module(_ source: KernelSource) throws(FathomError) -> DeviceModule {
        if let known = modules.withLock({ $0[source] }) { return known }
        let made = try DeviceModule(try cache.binary(for: source), context: context)
        // Two threads may have made one each; all use the first.
        return modules.withLock { modules in
            let kept = modules[source] ?? made
            modules[source] = kept
            return kept
        }
    }

    /// The kernel `name` of `source`: a name expression of it, or an `extern "C"` kernel.
    public func kernel(_ name: String, of source: KernelSource) throws(FathomError) -> DeviceKernel {
        try module(source).kernel(name)
    }
}
