// SPDX-License-Identifier: MIT

public import CUDA
public import Platform
internal import Synchronization

/// What a product needs to run on a GPU: kernels, a queue, scratch memory. One product after the other runs in the
/// queue; use one value for each queue.
public final class GemmDevice: Sendable {
    public let library: KernelLibrary
    public let stream: DeviceStream
    /// What the choice of kernels goes by.
    public let machine: CUDAGemmMachine
    /// A wait inside a kernel that takes longer is an error; nil for no limit. For tests: it costs a little.
    public let waitLimitNanoseconds: Int?

    /// Most plans that are kept.
    private static let planLimit = 4096
    private let plans = Mutex<[PlanKey: CUDAGemmPlan]>([:])
    private let scratch = Mutex<Scratch>(Scratch())

    private struct PlanKey: Hashable {
        var shape: CUDAGemmShape
        var limit: Int?
    }

    /// Workspace of split products, which grows to the largest.
    private struct Scratch: ~Copyable {
        var workspace: DeviceMemory?
        var counters: DeviceMemory?
    }

    /// - Throws: `unavailable` for a device that is no Hopper, or without a compiler.
    public init(library: KernelLibrary, waitLimitNanoseconds: Int? = nil) throws(FathomError) {
        try library.context.device.requireHopper()
        self.library = library
        self.waitLimitNanoseconds = waitLimitNanoseconds
        stream = try DeviceStream(context: library.context)
        machine = CUDAGemmMachine(library.context.device)
    }

    /// The plan for a shape, made once.
    func plan(_ shape: CUDAGemmShape, multiprocessorLimit: Int?) -> CUDAGemmPlan {
        let key = PlanKey(shape: shape, limit: multiprocessorLimit)
        if let known = plans.withLock({ $0[key] }) { return known }
        let plan = CUDAGemmPlan(shape, on: machine, multiprocessorLimit: multiprocessorLimit)
        plans.withLock { plans in
            if plans.count >= Self.planLimit { plans.removeAll() }
            plans[key] = plan
        }
        return plan
    }

    /// Addresses of `count` float32 and `counters` zeroed counters, good until the next call.
    func scratch(count: Int, counters: Int) throws(FathomError) -> (workspace: UInt64, counters: UInt64) {
        let context = library.context
        return try scratch.withLock { (scratch) throws(FathomError) in
            // Freeing memory waits for the kernels that use it.
            if (scratch.workspace?.byteCount ?? 0) < count * 4 {
                scratch.workspace = nil
                scratch.workspace = try DeviceMemory(byteCount: count * 4, context: context)
            }
            if (scratch.counters?.byteCount ?? 0) < counters * 4 {
                scratch.counters = nil
                let fresh = try DeviceMemory(byteCount: counters * 4, context: context)
                try fresh.fill(0, on: stream)
                scratch.counters = consume fresh
            }
            return (scratch.workspace?.address ?? 0, scratch.counters?.address ?? 0)
        }
    }
}

extension CUDAGemmMachine {
    /// A device's figures where it tells them, an H200's otherwise.
    public init(_ device: CUDADevice) {
        self = .h200
        multiprocessors = device.limits.multiprocessorCount
        if device.limits.multiprocessorClockKilohertz > 0 {
            clocksPerSecond = Double(device.limits.multiprocessorClockKilohertz) * 1000
        }
        if device.limits.nominalMemoryBandwidth > 0 { memoryBandwidth = device.limits.nominalMemoryBandwidth }
    }
}
