// SPDX-License-Identifier: MIT

public import Platform
internal import Tensors
internal import Workers

/// How fast this machine copies memory: what an exchange is held against.
public struct CopyBandwidth: Sendable {
    private let source: AlignedBuffer<UInt8>
    private let target: AlignedBuffer<UInt8>
    private let team: WorkerTeam

    /// Many times any cache.
    private static let byteCount = 1 << 28

    /// - Parameter threadCount: threads that copy at the same time.
    public init(threadCount: Int) throws(FathomError) {
        source = try AlignedBuffer(count: Self.byteCount, purpose: "the copy measurement")
        target = try AlignedBuffer(count: Self.byteCount, purpose: "the copy measurement")
        team = try WorkerTeam(threadCount: threadCount)
        for index in stride(from: 0, to: Self.byteCount, by: 4096) {
            source.baseAddress[index] = UInt8(truncatingIfNeeded: index >> 12)
            target.baseAddress[index] = 1
        }
    }

    /// One copy by all threads together, in 10⁹ bytes per second.
    public func sample() -> Double {
        let part = Self.byteCount / team.threadCount
        let seconds =
            ContinuousClock().measure {
                team.run(taskCount: team.threadCount) { task, _ in
                    // SAFETY: each task copies a part of its own inside both buffers.
                    UnsafeMutableRawPointer(target.baseAddress + task * part)
                        .copyMemory(from: source.baseAddress + task * part, byteCount: part)
                }
            } / .seconds(1)
        return Double(part * team.threadCount) / seconds / 1e9
    }
}
