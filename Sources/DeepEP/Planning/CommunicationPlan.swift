// SPDX-License-Identifier: MIT

public import Platform

#if canImport(Glibc)
internal import Glibc
#elseif canImport(Musl)
internal import Musl
#endif

/// How much of each kind of traffic a dispatch makes, and how many streaming multiprocessors keep up with it on a GPU:
/// the original's analytic planner. Choices are taken to be uniform.
public struct CommunicationPlan: Sendable, Codable, Equatable {
    /// What a group and its links are like.
    public struct Group: Sendable, Codable {
        /// Nodes: domains that RDMA connects.
        public var scaleOut: Int
        /// Ranks of each node: a domain that NVLink connects.
        public var scaleUp: Int
        public var experts: Int
        public var topK: Int
        /// 10⁹ bytes per second of a rank's network card and of its NVLink.
        public var rdmaGigabytesPerSecond: Double
        public var nvlinkGigabytesPerSecond: Double

        public init(
            scaleOut: Int, scaleUp: Int, experts: Int = 256, topK: Int = 8, rdmaGigabytesPerSecond: Double = 50,
            nvlinkGigabytesPerSecond: Double = 430
        ) {
            self.scaleOut = scaleOut
            self.scaleUp = scaleUp
            self.experts = experts
            self.topK = topK
            self.rdmaGigabytesPerSecond = rdmaGigabytesPerSecond
            self.nvlinkGigabytesPerSecond = nvlinkGigabytesPerSecond
        }
    }

    /// Ranks, and nodes, that a token goes to on average.
    public let ranksPerToken: Double
    public let nodesPerToken: Double
    /// Traffic for each byte that a rank receives: read and written by the multiprocessors, over RDMA, over NVLink.
    public let read: Double
    public let write: Double
    public let rdma: Double
    public let nvlink: Double
    /// Multiprocessors that keep up with the slower link, even and 4 or more.
    public let multiprocessors: Int

    /// What a multiprocessor reads and writes, in 10⁹ bytes per second.
    static let readRate = 200.0
    static let writeRate = 50.0
    static let margin = 1.25

    /// - Throws: `usage` for counts below 1, more choices than experts, or links without speed.
    public init(_ group: Group) throws(FathomError) {
        let (outer, inner) = (group.scaleOut, group.scaleUp)
        guard outer >= 1, inner >= 1, group.topK >= 1, group.topK <= group.experts, outer <= 1 << 20, inner <= 1 << 20
        else {
            throw FathomError(
                .usage,
                "\(outer) nodes of \(inner) ranks, top-\(group.topK) of \(group.experts) experts; each is 1 or more")
        }
        guard group.rdmaGigabytesPerSecond > 0, group.nvlinkGigabytesPerSecond > 0 else {
            throw FathomError(.usage, "links need a speed above 0")
        }
        let ranks = Double(outer * inner)
        let perRank = Self.expectedGroups(outer * inner, group)
        let perNode = Self.expectedGroups(outer, group)
        ranksPerToken = perRank
        nodesPerToken = perNode
        if outer > 1 {
            let share = perNode / perRank
            read = 1 / perRank + share
            write = 1 / perRank + share / Double(outer) + 1
            rdma = share * (1 - 1 / Double(outer))
            nvlink = 1 - 1 / Double(inner)
        } else {
            read = 1 / perRank
            write = 1
            rdma = 0
            nvlink = 1 - 1 / ranks
        }
        let overRDMA = rdma / group.rdmaGigabytesPerSecond
        let overNVLink = nvlink / group.nvlinkGigabytesPerSecond
        // The time of a byte on the slower link; the other parts have as long.
        let time = max(overRDMA, overNVLink)
        guard time > 0 else {
            multiprocessors = 4
            return
        }
        let needed = max(read / time / Self.readRate, write / time / Self.writeRate) * Self.margin
        let whole = max(4, Int(needed.rounded(.up)))
        multiprocessors = whole + whole % 2
    }

    /// The number of equal groups of experts, out of `count`, that a token's choices fall into on average:
    /// count · (1 − C(E − E/count, K) / C(E, K)).
    private static func expectedGroups(_ count: Int, _ group: Group) -> Double {
        let experts = Double(group.experts)
        let rest = experts - experts / Double(count)
        var missed = 1.0
        for choice in 0..<group.topK { missed *= max(0, rest - Double(choice)) / (experts - Double(choice)) }
        return Double(count) * (1 - missed)
    }
}
