// SPDX-License-Identifier: MIT

public import Platform
internal import Ranks
internal import Synchronization
internal import Telemetry

/// Failures, and going on after them.
extension ExpertExchange {
    /// The rank of the group that has given up this generation, if one has.
    var rankThatFailed: Int? {
        let told = region.value(ExchangeMemory.failureWord(groupSize: group.rankCount))
        return Int(told >> 32) == generation && told & 0xFFFF_FFFF != 0 ? Int(told & 0xFFFF_FFFF) - 1 : nil
    }

    /// - Throws: `unavailable` naming the rank that has given up.
    func checkOthers(_ name: String) throws(FathomError) {
        guard let other = rankThatFailed else { return }
        throw FathomError(
            .unavailable, "rank \(other) could not complete an exchange; rank \(group.rank) was in \(name)")
    }

    /// Ends the use of this exchange, here and at the others, until it is renewed.
    func fail(_ error: FathomError) {
        failure = failure ?? error
        // Where another rank is to blame, its name goes on.
        tellFailure(of: rankThatFailed ?? group.rank, except: group.rank)
    }

    /// Tells members that `culprit` has given up this generation.
    private func tellFailure(of culprit: Int, except silent: Int?) {
        let value = UInt64(generation) << 32 | UInt64(culprit + 1)
        for other in members.indices where members[other] != silent {
            region.signal(other, ExchangeMemory.failureWord(groupSize: group.rankCount), value)
        }
    }

    /// Makes the operation that runs, and all later ones until a renewal, fail here and at the others.
    func giveUp() {
        isGivenUp.store(true, ordering: .sequentiallyConsistent)
        tellFailure(of: group.rank, except: nil)
    }

    /// Gives up: every member's operation ends with an error that names this rank, until the exchange is renewed.
    public func abandon() { fail(FathomError(.unavailable, "rank \(group.rank) has given up")) }

    /// Goes on after a failure, or with other members: all of them call it with the same arguments, which they have
    /// agreed upon by other means. Handles and received tokens from before are void.
    ///
    /// Nothing that a member still had on its way can spoil what comes after: each waits for a word of all others,
    /// which comes behind what they sent before, and nobody writes to a rank that has not entered an exchange.
    ///
    /// - Parameters:
    ///   - members: ranks of the group, ascending, this one among them. Nothing may come from the others any more: a
    ///     process that hangs has to be ended, or to be cut off.
    ///   - placement: of the experts on the members.
    ///   - capacity: bounds for so many ranks.
    ///   - generation: higher than any before.
    /// - Throws: `usage` for a shape that needs more memory than there is, `unavailable` naming a member that is
    ///   lost, has given up or does not come.
    public func renew(
        members: [Int], placement: ExpertPlacement, capacity: ExchangeCapacity, generation: Int
    ) throws(FathomError) {
        precondition(generation > self.generation, "generations count upwards")
        let span = Spans.begin()
        defer { Spans.end(span, .renewal, members.count, generation) }
        try awaitBegun()
        guard let rank = members.firstIndex(of: group.rank), placement.rankCount == members.count,
            members == members.sorted(), Set(members).count == members.count, members.allSatisfy(isInGroup)
        else {
            throw FathomError(
                .usage, "an exchange of ranks \(members) with experts on \(placement.rankCount), at rank \(group.rank)")
        }
        let memory = ExchangeMemory(
            placement: placement, format: format, returnFormat: returnFormat, topK: topK, capacity: capacity,
            nodeCount: twoHop ? placement.nodeCount : 1)
        guard memory.byteCount <= region.region.byteCount, !twoHop || placement.hasEvenNodes else {
            throw FathomError(
                .usage,
                """
                an exchange of \(members.count) ranks and \(placement.expertCount) experts needs \(memory.byteCount) \
                bytes of \(region.region.byteCount), and equal nodes for two hops
                """)
        }
        self.placement = placement
        self.capacity = capacity
        self.memory = memory
        self.generation = generation
        region.members = members
        wiring = ExchangeWiring(placement: placement, rank: rank, twoHop: twoHop)
        failure = nil
        isGivenUp.store(false, ordering: .sequentiallyConsistent)
        do throws(FathomError) { try meet() } catch {
            fail(error)
            throw error
        }
    }

    private func isInGroup(_ rank: Int) -> Bool { (0..<group.rankCount).contains(rank) }

    /// Bits of an epoch in the word that renews.
    private static let epochBits: UInt64 = 40

    /// Waits for all members, and goes on counting where the one has counted furthest.
    private func meet() throws(FathomError) {
        let own = UInt64(generation) << Self.epochBits | UInt64(epoch)
        let word = ExchangeMemory.renewalWord(from: group.rank, groupSize: group.rankCount)
        for member in members.indices { region.signal(member, word, own) }
        func said(_ other: Int) -> UInt64 {
            region.value(ExchangeMemory.renewalWord(from: other, groupSize: group.rankCount))
        }
        func missing() -> [Int] { members.filter { said($0) >> Self.epochBits < UInt64(generation) } }
        while case let absent = missing(), !absent.isEmpty {
            let came = try group.wait(
                timeoutMilliseconds: timeoutMilliseconds, watching: absent, for: "an exchange to be renewed",
                until: { rankThatFailed != nil || missing().count < absent.count })
            try checkOthers("the renewal of an exchange")
            guard came else {
                throw FathomError(
                    .unavailable, "rank \(absent[0]) did not renew an exchange within \(timeoutMilliseconds) ms")
            }
        }
        epoch = members.map { Int(said($0) & (1 << Self.epochBits - 1)) }.max() ?? epoch
    }
}
