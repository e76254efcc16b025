// SPDX-License-Identifier: MIT

import DeepEP
import Platform
import Ranks
import TestSupport
import Testing

@Suite("Dispatch and combine on ranks", .timeLimit(.minutes(5)))
struct ExpertExchangeTests {
    @Test("threads give the reference's bits, whatever the queues", arguments: 0..<40 as Range<UInt64>)
    func threads(seed: UInt64) throws {
        var random = RandomNumbers(seed: seed)
        let twoHop = seed % 2 == 1
        let group = try TestGroup(seed: seed, evenNodes: twoHop)
        let ranks = group.placement.rankCount
        let narrow = random.number(below: 2) == 0
        let capacity = try ExchangeCapacity(
            landingRows: narrow ? ranks * 2 : 1000, relayRows: 1 + random.number(below: 4),
            returnRows: 1 + random.number(below: 4), chunkRows: 1 + random.number(below: 4), rankCount: ranks)
        let biasCount = random.number(below: 3)
        var biases: [[[[UInt8]]]] = []
        for selection in group.selections {
            biases.append(
                (0..<biasCount).map { _ in
                    (0..<selection.tokenCount).map { _ in TestGroup.bytes(random.normals(group.format.hidden)) }
                })
        }
        let exchange = TestExchange(group: group, twoHop: twoHop, capacity: capacity, biases: biases)
        let reference = try exchange.reference()
        let outcomes = try RankGroup.threads(try Topology(rankCount: ranks)) { ranks throws(FathomError) in
            try exchange.run(ranks)
        }
        for (rank, rounds) in outcomes.enumerated() {
            for outcome in rounds { #expect(outcome == reference[rank], "rank \(rank)") }
        }
    }

    @Test("ranks that share mappings, as processes do, give the reference's bits", arguments: [3, 11] as [UInt64])
    func sharedMappings(seed: UInt64) throws {
        let group = try TestGroup(seed: seed, evenNodes: true)
        let count = group.placement.rankCount
        let topology = try Topology(rankCount: count)
        let exchange = TestExchange(
            group: group, twoHop: true, capacity: try .fitting(tokensPerRank: 14, rankCount: count),
            biases: group.selections.map { _ in [] })
        let reference = try exchange.reference()
        let outcomes = try RankGroup.threads(topology) { threads throws(FathomError) in
            if threads.rank == 0 {
                let host = try GroupHost(topology)
                _ = try threads.broadcast(Array(host.address.text.utf8), from: 0)
                return try exchange.run(try host.group())
            }
            let text = String(decoding: try threads.broadcast([], from: 0), as: UTF8.self)
            return try exchange.run(try RankGroup.join(try GroupAddress(text: text), rank: threads.rank))
        }
        for (rank, rounds) in outcomes.enumerated() {
            for outcome in rounds { #expect(outcome == reference[rank], "rank \(rank)") }
        }
    }

    @Test(
        "ranks that share no memory give the reference's bits and no rows in place", arguments: 40..<52 as Range<UInt64>
    )
    func networks(seed: UInt64) throws {
        let twoHop = seed % 2 == 1
        let group = try TestGroup(seed: seed, evenNodes: true)
        let count = group.placement.rankCount
        let capacity: ExchangeCapacity =
            seed % 3 == 0
            ? try .fitting(tokensPerRank: 14, rankCount: count)
            : try ExchangeCapacity(
                landingRows: count * 2, relayRows: 2, returnRows: 3, chunkRows: 2, rankCount: count)
        let exchange = TestExchange(
            group: group, twoHop: twoHop, capacity: capacity, biases: group.selections.map { _ in [] })
        let reference = try exchange.reference()
        let outcomes = try RankGroup.linkedThreads(try Topology(rankCount: count)) { ranks throws(FathomError) in
            try exchange.run(ranks)
        }
        for (rank, rounds) in outcomes.enumerated() {
            for outcome in rounds { #expect(outcome == reference[rank], "rank \(rank)") }
        }
    }

    @Test("rows cannot be returned in place between ranks that share no memory, and an error says so")
    func networkInPlace() throws {
        let placement = try ExpertPlacement(rankCount: 2, expertCount: 2)
        let format = try RowFormat(hidden: 4, element: .bfloat16)
        let selection = try TopKSelection(topK: 1, experts: [0])
        let messages = try RankGroup.linkedThreads(try Topology(rankCount: 2)) { group throws(FathomError) -> String in
            let exchange = try ExpertExchange(
                group: group, placement: placement, format: format, topK: 1,
                capacity: .fitting(tokensPerRank: 1, rankCount: 2))
            let rows = try TestExchange.rows([TestGroup.bytes([1, 2, 3, 4])], format: format)
            let (_, handle) = try exchange.dispatch(rows, selection)
            // A rank whose next call fails tells those that have not ended this one.
            try group.barrier()
            guard exchange.returnArea(for: handle) == nil else { return "an area" }
            do throws(FathomError) { _ = try exchange.combineReturnArea(handle: handle) } catch { return error.message }
            return "no error"
        }
        for message in messages { #expect(message.contains("share no memory"), "\(message)") }
    }

    @Test("a rank that gives up is told to those who wait for it, and a rank that does not come is named")
    func lostRanks() throws {
        let placement = try ExpertPlacement(rankCount: 3, expertCount: 6)
        let format = try RowFormat(hidden: 4, element: .bfloat16)
        let selection = try TopKSelection(topK: 2, experts: [0, 5])
        let wrong = try TopKSelection(topK: 2, experts: [0, 9])
        for silent in [false, true] {
            let errors = try RankGroup.threads(try Topology(rankCount: 3)) { group throws(FathomError) -> String in
                let exchange = try ExpertExchange(
                    group: group, placement: placement, format: format, topK: 2,
                    capacity: .fitting(tokensPerRank: 1, rankCount: 3), timeoutMilliseconds: silent ? 300 : 20_000)
                let rows = try TestExchange.rows([TestGroup.bytes([1, 2, 3, 4])], format: format)
                var message = ""
                if !(silent && group.rank == 1) {
                    do throws(FathomError) {
                        _ = try exchange.dispatch(rows, group.rank == 1 ? wrong : selection)
                    } catch {
                        message = error.message
                    }
                }
                try group.barrier()
                return message
            }
            if silent {
                #expect(errors[0].contains("rank 1") || errors[0].contains("rank 2 could not"), "\(errors[0])")
            } else {
                #expect(errors[1].contains("expert 9"))
                #expect(errors[0].contains("could not complete"), "\(errors[0])")
            }
            #expect(!errors[0].isEmpty && !errors[2].isEmpty)
        }
    }
}
