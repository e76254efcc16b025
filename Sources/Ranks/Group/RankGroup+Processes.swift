// SPDX-License-Identifier: MIT

public import Platform

#if canImport(Glibc)
internal import Glibc
#elseif canImport(Musl)
internal import Musl
#endif

/// What a process of this machine must know to join a group: where rank 0 has the control block.
public struct GroupAddress: Sendable, Hashable {
    public let topology: Topology
    /// The process that hosts the group, and its descriptor of the control block.
    let process: Int32
    let descriptor: Int32

    /// As text, for an environment variable or a message.
    public var text: String { "\(topology.rankCount)/\(topology.nodeCount)@\(process):\(descriptor)" }

    /// - Throws: `usage` for a text that `text` does not make.
    public init(text: String) throws(FathomError) {
        let numbers = text.split(whereSeparator: { "/@:".contains($0) }).compactMap { Int32($0) }
        guard numbers.count == 4 else {
            throw FathomError(
                .usage, "the address of a group is '\(text)'; legal is RANKS/NODES@PROCESS:DESCRIPTOR, four numbers")
        }
        topology = try Topology(rankCount: Int(numbers[0]), nodeCount: Int(numbers[1]))
        process = numbers[2]
        descriptor = numbers[3]
    }

    init(topology: Topology, process: Int32, descriptor: Int32) {
        self.topology = topology
        self.process = process
        self.descriptor = descriptor
    }
}

/// A group that processes of this machine can join, before its ranks are there. Rank 0 is the process that makes it.
public final class GroupHost: Sendable {
    public let address: GroupAddress
    private let segment: SharedSegment

    /// - Throws: `unavailable` without shared memory.
    public init(_ topology: Topology) throws(FathomError) {
        segment = SharedSegment(
            try SharedMemory(
                byteCount: ControlBlock.byteCount(rankCount: topology.rankCount), purpose: "a group of processes"))
        address = GroupAddress(topology: topology, process: getpid(), descriptor: segment.descriptor)
    }

    /// Becomes rank 0 and waits for the others.
    ///
    /// - Throws: `unavailable` naming the ranks that did not come within the limit.
    public func group(limits: RankGroup.Limits = .init()) throws(FathomError) -> RankGroup {
        let group = try RankGroup(rank: 0, topology: address.topology, segment: segment, limits: limits)
        try group.awaitOthers()
        segment.closeDescriptor()
        return group
    }
}

extension RankGroup {
    /// Joins a group that another process of this machine hosts, as rank `rank`, and waits for the others.
    ///
    /// - Throws: `usage` for a rank that the group has not or that is taken, `unavailable` if the host is gone or
    ///   ranks did not come within the limit.
    public static func join(
        _ address: GroupAddress, rank: Int, limits: Limits = Limits()
    ) throws(FathomError) -> RankGroup {
        let count = address.topology.rankCount
        guard (1..<count).contains(rank) else {
            throw FathomError(
                .usage, "rank \(rank) cannot join a group of \(count); legal are 1 to \(count - 1), 0 is its host")
        }
        let memory = try SharedMemory(
            process: address.process, descriptor: address.descriptor,
            byteCount: ControlBlock.byteCount(rankCount: count), purpose: "the group of process \(address.process)")
        let segment = SharedSegment(memory)
        segment.closeDescriptor()
        guard ControlBlock(segment.baseAddress, rankCount: count).state(rank) == .absent else {
            throw FathomError(.usage, "rank \(rank) of the group of process \(address.process) is taken already")
        }
        let group = try RankGroup(rank: rank, topology: address.topology, segment: segment, limits: limits)
        try group.awaitOthers()
        return group
    }
}
