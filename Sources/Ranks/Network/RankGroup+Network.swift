// SPDX-License-Identifier: MIT

internal import Platform
internal import Synchronization

extension RankGroup {
    /// Makes a group whose ranks reach each other through a link only.
    ///
    /// - Parameters:
    ///   - segment: a control block of this rank's own, which is the link's memory 0.
    ///   - addresses: of all ranks.
    convenience init(
        rank: Int, topology: Topology, segment: SharedSegment, limits: Limits, link: any NetworkLink,
        addresses: [[UInt8]]
    ) throws(FathomError) {
        let control = ControlBlock(segment.baseAddress, rankCount: topology.rankCount)
        try link.connect(addresses, rank: rank) {
            control.heartbeat($0).pointee.load(ordering: .relaxed)
        } changed: {
            Self.ring(control, rank)
        }
        try self.init(rank: rank, topology: topology, segment: segment, limits: limits, link: link)
    }

    /// Shows the others, where they do not see this rank's memory, what it is doing.
    func publishState() {
        guard let link else { return }
        let state = control.stateWord(rank).pointee.load(ordering: .relaxed)
        let process = control.process(rank).pointee.load(ordering: .relaxed)
        for other in 0..<rankCount where other != rank {
            link.set(UInt64(state) | UInt64(process) << 32, to: other, memory: 0, at: control.stateOffset(rank))
        }
    }

    /// Shows the others, where they do not see this rank's memory, the beginning of its slot.
    func publishSlot(byteCount: Int) {
        guard let link else { return }
        // SAFETY: a slot has room for what was written to it.
        let bytes = UnsafeRawBufferPointer(start: control.slot(rank), count: byteCount)
        for other in 0..<rankCount where other != rank {
            link.put(bytes, to: other, memory: 0, at: control.slotOffset(rank))
        }
    }
}
