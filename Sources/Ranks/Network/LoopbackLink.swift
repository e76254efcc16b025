// SPDX-License-Identifier: MIT

internal import Platform
internal import Synchronization

/// A network inside one process, so that what needs a link can be tried without one: ranks that do not see each
/// other's memory, and writes that arrive at once.
final class LoopbackNetwork: Sendable {
    private struct End {
        var memories: [SharedSegment] = []
        var changed: (@Sendable () -> Void)?
        /// Ranks with which nothing is exchanged any more.
        var expelled: Set<Int> = []
    }

    private let ends: Mutex<[End]>

    /// - Parameter controls: memory 0 of each rank.
    init(controls: [SharedSegment]) { ends = Mutex(controls.map { End(memories: [$0]) }) }

    fileprivate func register(_ segment: SharedSegment, of rank: Int) -> Int {
        ends.withLock { ends in
            ends[rank].memories.append(segment)
            return ends[rank].memories.count - 1
        }
    }

    fileprivate func connect(_ rank: Int, changed: @escaping @Sendable () -> Void) {
        ends.withLock { $0[rank].changed = changed }
    }

    fileprivate func expel(_ other: Int, by rank: Int) { ends.withLock { _ = $0[rank].expelled.insert(other) } }

    /// Lets `write` have an address in a rank's memory, then tells the rank; does nothing between ranks of which one
    /// has expelled the other.
    fileprivate func write(
        from source: Int, to rank: Int, memory: Int, at offset: Int, _ write: (UnsafeMutableRawPointer) -> Void
    ) {
        let (end, isCut) = ends.withLock {
            ($0[rank], $0[rank].expelled.contains(source) || $0[source].expelled.contains(rank))
        }
        guard !isCut else { return }
        write(end.memories[memory].baseAddress + offset)
        end.changed?()
    }
}

/// One rank's end of a `LoopbackNetwork`.
final class LoopbackLink: NetworkLink {
    private let rank: Int
    private let rankCount: Int
    private let network: LoopbackNetwork

    init(rank: Int, rankCount: Int, network: LoopbackNetwork) {
        self.rank = rank
        self.rankCount = rankCount
        self.network = network
    }

    var address: [UInt8] { [] }

    func connect(
        _ addresses: [[UInt8]], rank: Int, heartbeat: @escaping @Sendable (Int) -> UInt64,
        changed: @escaping @Sendable () -> Void
    ) throws(FathomError) {
        network.connect(rank, changed: changed)
    }

    func register(_ segment: SharedSegment) -> Int { network.register(segment, of: rank) }

    func put(_ bytes: UnsafeRawBufferPointer, to rank: Int, memory: Int, at offset: Int) {
        guard let source = bytes.baseAddress else { return }
        network.write(from: self.rank, to: rank, memory: memory, at: offset) {
            $0.copyMemory(from: source, byteCount: bytes.count)
        }
    }

    func set(_ value: UInt64, to rank: Int, memory: Int, at offset: Int) {
        network.write(from: self.rank, to: rank, memory: memory, at: offset) {
            // SAFETY: an aligned word, used only atomically; an atomic has its value's layout.
            $0.assumingMemoryBound(to: Atomic<UInt64>.self).pointee.store(value, ordering: .releasing)
        }
    }

    func add(_ value: UInt64, to rank: Int, memory: Int, at offset: Int) {
        network.write(from: self.rank, to: rank, memory: memory, at: offset) {
            // SAFETY: as above.
            _ = $0.assumingMemoryBound(to: Atomic<UInt64>.self).pointee
                .wrappingAdd(value, ordering: .acquiringAndReleasing)
        }
    }

    func announce(_ value: UInt64, memory: Int, at offset: Int) {
        for other in 0..<rankCount where other != rank { set(value, to: other, memory: memory, at: offset) }
    }

    func loss(of rank: Int) -> String? { nil }

    func expel(_ rank: Int) { network.expel(rank, by: self.rank) }

    func disconnect() {}
}
