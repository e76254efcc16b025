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
    public func sample() -> Double { Double(Self.byteCount) / copy(Self.byteCount) / 1e9 }

    /// The seconds in which all threads together copy so many bytes again and again, within a cache that holds them:
    /// the median of a few times.
    public func seconds(for byteCount: Int) -> Double {
        let count = max(1, min(byteCount, Self.byteCount))
        let times = (0..<9).map { _ in copy(count) }.dropFirst(2).sorted()
        return times[times.count / 2] * Double(byteCount) / Double(count)
    }

    private func copy(_ byteCount: Int) -> Double {
        let threads = team.threadCount
        return ContinuousClock().measure {
            team.run(taskCount: threads) { task, _ in
                let part = task * byteCount / threads..<(task + 1) * byteCount / threads
                // SAFETY: each task copies a part of its own inside both buffers.
                UnsafeMutableRawPointer(target.baseAddress + part.lowerBound)
                    .copyMemory(from: source.baseAddress + part.lowerBound, byteCount: part.count)
            }
        } / .seconds(1)
    }
}
