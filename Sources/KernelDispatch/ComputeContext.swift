// SPDX-License-Identifier: MIT

public import Kernels
public import Platform
internal import Synchronization
internal import Tensors
public import Workers

/// What an operation computes with: a team of threads, the kernels of one instruction set, and scratch memory.
public final class ComputeContext: Sendable {
    public let team: WorkerTeam
    public let level: InstructionSetLevel
    public let kernels: KernelTable
    /// Products of bfloat16 pairs; nil where the instruction set has none.
    public let pairKernels: PairKernels?
    /// Attention on bfloat16 pairs; nil where the instruction set has none.
    public let pairAttention: PairAttentionKernels?
    private let scratch: [AlignedBuffer<Float>]
    private let shared: Mutex<AlignedBuffer<Float>>

    /// Floats of scratch that each worker has: 4 MiB, of which only what is touched becomes resident.
    public static let scratchCount = 1 << 20

    /// Floats that the workers share during a call: 32 MiB, of which only what is touched becomes resident.
    public static let sharedCount = 1 << 23

    /// - Parameters:
    ///   - threadCount: threads that compute, at least 1.
    ///   - level: the instruction set; nil chooses the highest available unless `FATHOM_ISA` says otherwise.
    public init(threadCount: Int, level: InstructionSetLevel? = nil) throws(FathomError) {
        team = try WorkerTeam(threadCount: threadCount)
        let selected = if let level { level } else { try InstructionSetLevel.selected() }
        self.level = selected
        kernels = selected.kernels
        pairKernels = selected.pairKernels
        pairAttention = selected.pairAttention
        var buffers: [AlignedBuffer<Float>] = []
        for _ in 0..<threadCount {
            buffers.append(try AlignedBuffer(count: Self.scratchCount, purpose: "kernel scratch"))
        }
        scratch = buffers
        shared = Mutex(try AlignedBuffer(count: Self.sharedCount, purpose: "shared kernel scratch"))
    }

    /// Lends `sharedCount` floats to one call at a time, which fills them in one region of the team and reads them in
    /// the next. `body` runs outside of regions.
    public func withShared(_ body: (UnsafeMutablePointer<Float>) -> Void) {
        // SAFETY: the lock is held as long as the memory is lent.
        shared.withLock { body($0.baseAddress) }
    }

    /// The same for any number of floats: `sharedCount` of them are there, for more memory is mapped for the call.
    ///
    /// - Throws: `unavailable` without memory, naming `purpose`.
    public func withShared(
        count: Int, purpose: String, _ body: (UnsafeMutablePointer<Float>) -> Void
    ) throws(FathomError) {
        guard count > Self.sharedCount else { return withShared(body) }
        let buffer = try AlignedBuffer<Float>(count: count, purpose: purpose)
        withExtendedLifetime(buffer) { body(buffer.baseAddress) }
    }

    /// `scratchCount` floats that belong to `worker` during a task.
    public func scratch(of worker: Int) -> UnsafeMutablePointer<Float> {
        // SAFETY: the team gives each running task a worker index of its own.
        scratch[worker].baseAddress
    }
}
