// SPDX-License-Identifier: MIT

public import CUDA
public import Platform
internal import Synchronization

/// What latent attention needs to run on a GPU: kernels, a queue, memory for the pieces of requests that are cut. One
/// call after the other runs in the queue; use one value for each queue.
public final class MLADevice: Sendable {
    public let library: KernelLibrary
    public let stream: DeviceStream
    /// A wait inside a kernel that takes longer is an error; nil for no limit. For tests: it costs a little.
    public let waitLimitNanoseconds: Int?

    /// Memory that grows to the largest call.
    private struct Scratch: ~Copyable {
        var memory: DeviceMemory?
    }
    private let scratch = Mutex<Scratch>(Scratch())

    /// - Throws: `unavailable` for a device that is no Hopper, or without a compiler.
    public init(library: KernelLibrary, waitLimitNanoseconds: Int? = nil) throws(FathomError) {
        try library.context.device.requireHopper()
        self.library = library
        self.waitLimitNanoseconds = waitLimitNanoseconds
        stream = try DeviceStream(context: library.context)
    }

    var multiprocessorCount: Int { library.context.device.limits.multiprocessorCount }

    /// The address of `byteCount` bytes, good until the next call.
    func scratch(byteCount: Int) throws(FathomError) -> UInt64 {
        let context = library.context
        return try scratch.withLock { (scratch) throws(FathomError) in
            if (scratch.memory?.byteCount ?? 0) < byteCount {
                // Freeing memory waits for the kernels that use it.
                scratch.memory = nil
                scratch.memory = try DeviceMemory(byteCount: byteCount, context: context)
            }
            return scratch.memory?.address ?? 0
        }
    }
}
