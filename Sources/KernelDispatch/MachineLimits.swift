// SPDX-License-Identifier: MIT

internal import Kernels
public import Platform
internal import Tensors
internal import Workers

/// What this machine can do at most, measured: the floor that every benchmark is printed beside.
public struct MachineLimits: Sendable, Codable {
    /// Fused multiply-adds on registers, all threads together, in 10⁹ floating-point operations per second.
    public var multiplyAddGigaflops: Double
    /// The same for products of bfloat16 pairs; nil where the processor has none.
    public var pairGigaflops: Double?
    /// Sequential reading of memory that fits no cache, all threads together, in 10⁹ bytes per second.
    public var readGigabytesPerSecond: Double

    /// Measures both with the team of `context`; about a second. The best of several runs, since other work on the
    /// machine can only slow a run down.
    public static func measure(on context: ComputeContext) throws(FathomError) -> MachineLimits {
        let bandwidth = try ReadBandwidth(on: context)
        return MachineLimits(
            // Twelve vectors of eight lanes, two operations each.
            multiplyAddGigaflops: measure(192, context, context.kernels.multiplyAddProbe),
            // Of sixteen lanes, four operations each.
            pairGigaflops: context.pairKernels.map { measure(768, context, $0.probe) },
            readGigabytesPerSecond: (0..<5).map { _ in bandwidth.sample() }.max() ?? 0)
    }

    /// Each limit the better of this and another look, since what else runs can only slow a look down.
    public func better(_ other: MachineLimits) -> MachineLimits {
        MachineLimits(
            multiplyAddGigaflops: max(multiplyAddGigaflops, other.multiplyAddGigaflops),
            pairGigaflops: pairGigaflops.map { max($0, other.pairGigaflops ?? 0) },
            readGigabytesPerSecond: max(readGigabytesPerSecond, other.readGigabytesPerSecond))
    }

    /// Operations of all threads per second in 10⁹; `operations` per iteration of the probe.
    private static func measure(
        _ operations: Int, _ context: ComputeContext, _ probe: @escaping @Sendable (Int) -> Float
    ) -> Double {
        let iterations = 5_000_000
        let threads = context.team.threadCount
        let clock = ContinuousClock()
        let seconds = (0..<5).map { _ in
            clock.measure {
                context.team.run(taskCount: threads) { _, _ in
                    blackHole(probe(iterations))
                }
            } / .seconds(1)
        }
        return Double(threads * iterations * operations) / (seconds.min() ?? .infinity) / 1e9
    }
}

/// Reads memory that fits no cache, once per sample.
///
/// The bandwidth of a shared machine may change within seconds: what is held against it takes its samples in turn
/// with the thing measured.
public final class ReadBandwidth: Sendable {
    /// Many times any cache.
    private static let byteCount = 1 << 29
    private let buffer: AlignedBuffer<UInt64>
    private let context: ComputeContext

    public init(on context: ComputeContext) throws(FathomError) {
        buffer = try AlignedBuffer(count: Self.byteCount / 8, purpose: "the bandwidth measurement")
        for index in stride(from: 0, to: buffer.count, by: 64) { buffer.baseAddress[index] = UInt64(index) }
        self.context = context
    }

    /// All threads together, in 10⁹ bytes per second.
    public func sample() -> Double {
        let tasks = context.team.threadCount * 16
        let part = Self.byteCount / tasks
        // SAFETY: the parts lie in the buffer, which lives as long as this object.
        let base = UnsafeRawPointer(buffer.baseAddress)
        let seconds =
            ContinuousClock().measure {
                context.team.run(taskCount: tasks) { task, _ in
                    blackHole(context.kernels.readProbe(base + task * part, part))
                }
            } / .seconds(1)
        return Double(part * tasks) / seconds / 1e9
    }
}

/// Keeps a value from being optimised away.
@inline(never)
package func blackHole<Value>(_ value: Value) {}
