// SPDX-License-Identifier: MIT

public import Platform
internal import Synchronization

#if canImport(Glibc)
internal import Glibc
#elseif canImport(Musl)
internal import Musl
#endif

/// Memory of equal size at every rank, which all ranks can write to: what NVSHMEM's symmetric heap is to DeepEP.
///
/// `put` writes bytes to another rank's part, `signal` raises one of its 64-bit signals. A signal is seen only after
/// all that its sender has put to the same rank before. Everything is zero at the start.
public final class SymmetricRegion: Sendable {
    private let group: RankGroup
    /// The bytes at each rank.
    public let byteCount: Int
    /// The signals at each rank.
    public let signalCount: Int
    /// This rank's segment, and those of others that are mapped here.
    private let segments: [SharedSegment?]
    private let own: SharedSegment
    /// The link's number for the memory, where others are not mapped.
    private let linked: Int?

    public var rank: Int { group.rank }
    public var rankCount: Int { group.rankCount }

    fileprivate init(
        group: RankGroup, byteCount: Int, signalCount: Int, segments: [SharedSegment?], own: SharedSegment,
        linked: Int?
    ) {
        self.group = group
        self.byteCount = byteCount
        self.signalCount = signalCount
        self.segments = segments
        self.own = own
        self.linked = linked
    }

    /// Bytes before the first signal.
    fileprivate static func signalOffset(_ byteCount: Int) -> Int { (byteCount + 63) / 64 * 64 }

    private func signalOffset(_ index: Int) -> Int { Self.signalOffset(byteCount) + 8 * index }

    /// This rank's part.
    public var local: UnsafeMutableRawPointer { own.baseAddress }

    /// Another rank's part, where the transport maps it.
    public func peer(_ rank: Int) -> UnsafeMutableRawPointer? { segments[rank]?.baseAddress }

    /// A signal's word; nil where the rank's memory is not mapped.
    private func word(_ rank: Int, _ index: Int) -> UnsafeMutablePointer<Atomic<UInt64>>? {
        precondition((0..<signalCount).contains(index), "signals are 0..<\(signalCount)")
        // SAFETY: an aligned word behind the bytes, used only atomically; an atomic has its value's layout.
        return segments[rank].map {
            ($0.baseAddress + signalOffset(index)).assumingMemoryBound(to: Atomic<UInt64>.self)
        }
    }

    /// Writes bytes to rank `rank`, from `offset` of its part on. They may be used again at once.
    public func put(_ bytes: UnsafeRawBufferPointer, to rank: Int, at offset: Int) {
        precondition(offset >= 0 && offset <= byteCount - bytes.count, "a put ends inside the region")
        guard let source = bytes.baseAddress, bytes.count > 0 else { return }
        // SAFETY: checked above; who may write there now is for the ranks to arrange with signals.
        if let segment = segments[rank] {
            (segment.baseAddress + offset).copyMemory(from: source, byteCount: bytes.count)
        } else if let linked {
            group.link?.put(bytes, to: rank, memory: linked, at: offset)
        }
    }

    /// Sets a signal at rank `rank`, after everything that was put there before.
    public func signal(_ rank: Int, _ index: Int, _ value: UInt64) { signal(rank, index, value, counts: false) }

    /// As the public one.
    ///
    /// - Parameter counts: whether the rank, if it sleeps until several have signalled, need not wake for this one.
    package func signal(_ rank: Int, _ index: Int, _ value: UInt64, counts: Bool) {
        if let word = word(rank, index) {
            word.pointee.store(value, ordering: .releasing)
            group.ring(rank, counts: counts)
        } else if let linked {
            group.link?.set(value, to: rank, memory: linked, at: signalOffset(index))
        }
    }

    /// Adds to a signal at rank `rank`, after everything that was put there before.
    public func add(_ rank: Int, _ index: Int, _ value: UInt64) {
        if let word = word(rank, index) {
            word.pointee.wrappingAdd(value, ordering: .acquiringAndReleasing)
            group.ring(rank)
        } else if let linked {
            group.link?.add(value, to: rank, memory: linked, at: signalOffset(index))
        }
    }

    /// One of this rank's signals. What its sender put before setting it can be read.
    public func value(_ index: Int) -> UInt64 {
        precondition((0..<signalCount).contains(index), "signals are 0..<\(signalCount)")
        // SAFETY: as in `word`, in this rank's own segment: those who wait read it again and again.
        return (own.baseAddress + signalOffset(index)).assumingMemoryBound(to: Atomic<UInt64>.self).pointee
            .load(ordering: .acquiring)
    }

    /// Waits until one of this rank's signals is at least `value`.
    ///
    /// - Parameter watched: the ranks from which it can come; nil for any.
    /// - Returns: false if it did not come within the time.
    /// - Throws: `unavailable` naming a watched rank that is lost.
    public func wait(
        _ index: Int, atLeast value: UInt64, timeoutMilliseconds: Int, watching watched: [Int]? = nil
    ) throws(FathomError) -> Bool {
        try group.wait(
            timeoutMilliseconds: timeoutMilliseconds, watching: watched ?? Array(0..<rankCount),
            for: "signal \(index) to reach \(value)", until: { self.value(index) >= value })
    }
}

extension RankGroup {
    /// Makes a region; all ranks call it, in the same order, with the same sizes.
    ///
    /// - Throws: `unavailable` if a rank has no memory or does not come, `usage` if ranks ask for different sizes; each
    ///   names the rank.
    public func symmetricRegion(
        byteCount: Int, signalCount: Int, timeoutMilliseconds: Int? = nil
    ) throws(FathomError) -> SymmetricRegion {
        precondition(byteCount >= 0 && signalCount >= 0)
        let purpose = "a region of \(rankCount) ranks"
        let size = SymmetricRegion.signalOffset(byteCount) + 8 * signalCount
        var own: SharedSegment?
        var failure: FathomError?
        do throws(FathomError) {
            own = SharedSegment(
                table == nil
                    ? try SharedMemory(byteCount: size, purpose: purpose)
                    : try SharedMemory(ownByteCount: size, purpose: purpose))
        } catch { failure = error }
        table?[rank] = own
        defer { table?[rank] = nil }
        let shown = [Int(getpid()), own == nil ? -1 : max(Int(own?.descriptor ?? 0), 0), byteCount, signalCount]
        let bytes = shown.withUnsafeBytes { Array($0) }
        let all = try allGather(bytes, timeoutMilliseconds: timeoutMilliseconds).map { bytes in
            bytes.withUnsafeBytes { bytes in (0..<4).map { bytes.loadUnaligned(fromByteOffset: 8 * $0, as: Int.self) } }
        }
        guard let own else { throw failure ?? FathomError(.internal, "no memory and no reason") }
        var segments: [SharedSegment?] = []
        for (other, theirs) in all.enumerated() {
            guard theirs[1] >= 0 else {
                throw FathomError(.unavailable, "rank \(other) has no memory for \(purpose)")
            }
            guard theirs[2] == byteCount, theirs[3] == signalCount else {
                throw FathomError(
                    .usage,
                    "rank \(other) asks for a region of \(theirs[2]) bytes and \(theirs[3]) signals, rank \(rank) for "
                        + "\(byteCount) and \(signalCount); all ranks ask for the same")
            }
            if other == rank {
                segments.append(own)
            } else if link != nil {
                segments.append(nil)
            } else if let table {
                segments.append(table[other])
            } else {
                segments.append(
                    SharedSegment(
                        try SharedMemory(
                            process: Int32(theirs[0]), descriptor: Int32(theirs[1]), byteCount: size,
                            purpose: purpose)))
            }
        }
        let linked = link?.register(own)
        try barrier(timeoutMilliseconds: timeoutMilliseconds)
        for segment in segments { segment?.closeDescriptor() }
        return SymmetricRegion(
            group: self, byteCount: byteCount, signalCount: signalCount, segments: segments, own: own, linked: linked)
    }
}
