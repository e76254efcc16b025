// SPDX-License-Identifier: MIT

internal import Platform

/// What a rank says when it comes: one frame to rank 0.
struct RendezvousHello: Equatable, Sendable {
    var rank: Int
    var rankCount: Int
    var ranksPerNode: Int
    var job: String
    /// Ranks of equal machines can share memory.
    var machine: String
    /// What others need to reach the rank through a network; empty where it has none.
    var address: [UInt8] = []

    var bytes: [UInt8] {
        var frame = FrameWriter()
        for number in [rank, rankCount, ranksPerNode] { frame.append(number) }
        frame.append(Array(job.utf8))
        frame.append(Array(machine.utf8))
        frame.append(address)
        return frame.framed
    }

    /// - Throws: `badData` for a payload of other form.
    init(payload: [UInt8]) throws(FathomError) {
        var reader = FrameReader(payload)
        rank = try reader.number()
        rankCount = try reader.number()
        ranksPerNode = try reader.number()
        job = String(decoding: try reader.bytes(), as: UTF8.self)
        machine = String(decoding: try reader.bytes(), as: UTF8.self)
        address = try reader.bytes()
    }

    init(rank: Int, topology: Topology, job: String, machine: String, address: [UInt8] = []) {
        self.rank = rank
        rankCount = topology.rankCount
        ranksPerNode = topology.ranksPerNode
        self.job = job
        self.machine = machine
        self.address = address
    }
}

/// What rank 0 answers: one frame to each rank.
enum RendezvousReply: Equatable, Sendable {
    /// All have come: where the group's memory is, and each rank's machine and network address.
    case welcome(group: String, machines: [String], addresses: [[UInt8]])
    /// The group cannot form, and why.
    case refused(String)
    /// Rank 0 listens for another job; the right one may come yet.
    case otherJob

    var bytes: [UInt8] {
        var frame = FrameWriter()
        switch self {
        case .welcome(let group, let machines, let addresses):
            frame.append(0)
            frame.append(Array(group.utf8))
            frame.append(machines.count)
            for machine in machines { frame.append(Array(machine.utf8)) }
            for address in addresses { frame.append(address) }
        case .refused(let reason):
            frame.append(1)
            frame.append(Array(reason.utf8))
        case .otherJob: frame.append(2)
        }
        return frame.framed
    }

    /// - Throws: `badData` for a payload of other form.
    init(payload: [UInt8]) throws(FathomError) {
        var reader = FrameReader(payload)
        switch try reader.number() {
        case 0:
            let group = String(decoding: try reader.bytes(), as: UTF8.self)
            let count = try reader.number()
            guard count <= RankGroup.maximumRankCount else {
                throw FathomError(.badData, "a welcome of \(count) ranks; legal are \(RankGroup.maximumRankCount)")
            }
            var machines: [String] = []
            var addresses: [[UInt8]] = []
            for _ in 0..<count { machines.append(String(decoding: try reader.bytes(), as: UTF8.self)) }
            for _ in 0..<count { addresses.append(try reader.bytes()) }
            self = .welcome(group: group, machines: machines, addresses: addresses)
        case 1: self = .refused(String(decoding: try reader.bytes(), as: UTF8.self))
        case 2: self = .otherJob
        case let kind: throw FathomError(.badData, "an answer of kind \(kind); legal are 0 to 2")
        }
    }
}

/// A frame: eight bytes that name the protocol, its version, the payload's size, the payload. Numbers are 32 bits,
/// little end first.
enum RendezvousFrame {
    static let magic = Array("fathomrv".utf8)
    static let version = 1
    static let headerByteCount = 16
    /// A welcome of 1024 ranks with their network addresses fits many times.
    static let maximumPayload = 16 << 20

    /// The payload of the frame at the front of `input`, which loses it; nil as long as it is not complete.
    ///
    /// - Throws: `badData` if this is another protocol or another version of it.
    static func take(from input: inout [UInt8]) throws(FathomError) -> [UInt8]? {
        guard input.starts(with: magic.prefix(input.count)) else {
            throw FathomError(.badData, "somebody who does not speak Fathom's protocol")
        }
        guard input.count >= headerByteCount else { return nil }
        var header = FrameReader(Array(input[8..<16]))
        let found = try header.number()
        guard found == version else {
            throw FathomError(.badData, "version \(found) of the rendezvous; this is version \(version)")
        }
        let size = try header.number()
        guard size <= maximumPayload else {
            throw FathomError(.badData, "a frame of \(size) bytes; legal are \(maximumPayload)")
        }
        guard input.count >= headerByteCount + size else { return nil }
        let payload = Array(input[headerByteCount..<headerByteCount + size])
        input.removeFirst(headerByteCount + size)
        return payload
    }
}

/// Writes numbers and byte strings behind each other.
struct FrameWriter {
    private(set) var payload: [UInt8] = []

    mutating func append(_ number: Int) {
        let bits = UInt32(truncatingIfNeeded: number)
        for shift in [0, 8, 16, 24] as [UInt32] { payload.append(UInt8(truncatingIfNeeded: bits >> shift)) }
    }

    mutating func append(_ bytes: [UInt8]) {
        append(bytes.count)
        payload += bytes
    }

    var framed: [UInt8] {
        var header = FrameWriter()
        header.append(RendezvousFrame.version)
        header.append(payload.count)
        return RendezvousFrame.magic + header.payload + payload
    }
}

/// Reads what `FrameWriter` writes.
struct FrameReader {
    private var rest: ArraySlice<UInt8>

    init(_ bytes: [UInt8]) { rest = bytes[...] }

    mutating func number() throws(FathomError) -> Int {
        guard rest.count >= 4 else { throw FathomError(.badData, "a message of the rendezvous that is cut off") }
        let bits = rest.prefix(4).reversed().reduce(UInt32(0)) { $0 << 8 | UInt32($1) }
        rest.removeFirst(4)
        return Int(bits)
    }

    mutating func bytes() throws(FathomError) -> [UInt8] {
        let count = try number()
        guard rest.count >= count else { throw FathomError(.badData, "a message of the rendezvous that is cut off") }
        defer { rest.removeFirst(count) }
        return Array(rest.prefix(count))
    }
}
