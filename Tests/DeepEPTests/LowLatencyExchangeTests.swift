// SPDX-License-Identifier: MIT

import DeepEP
import LowPrecision
import Platform
import Ranks
import TestSupport
import Testing

@Suite("Low-latency dispatch and combine on ranks", .timeLimit(.minutes(5)))
struct LowLatencyExchangeTests {
    static let shapes: [(RowFormat.Element, LowLatencyShape.Return, Int)] = [
        (.bfloat16, .bfloat16, 1), (.float8E4M3(.float32), .bfloat16, 300), (.float8E4M3(.packedUE8M0), .logFMT10, 640),
        (.bfloat16, .logFMT10, 131),
    ]

    @Test(
        "threads give the reference's bits, reading each other's memory or not", arguments: 0..<24 as Range<UInt64>,
        [false, true])
    func threads(seed: UInt64, putsRows: Bool) throws {
        let test = try TestLowLatency(seed: seed, shape: Self.shapes[Int(seed) % Self.shapes.count])
        let reference = test.reference()
        let outcomes = try RankGroup.threads(try Topology(rankCount: test.rankCount)) { ranks throws(FathomError) in
            try test.run(ranks, putsRows: putsRows)
        }
        for (rank, rounds) in outcomes.enumerated() {
            for (round, outcome) in rounds.enumerated() {
                #expect(outcome == reference[round][rank], "round \(round), rank \(rank)")
            }
        }
    }

    @Test("ranks that share no memory give the reference's bits", arguments: 30..<42 as Range<UInt64>)
    func linked(seed: UInt64) throws {
        let test = try TestLowLatency(seed: seed, shape: Self.shapes[Int(seed) % Self.shapes.count])
        let reference = test.reference()
        let topology = try Topology(rankCount: test.rankCount)
        let outcomes = try RankGroup.linkedThreads(topology) { ranks throws(FathomError) in
            try test.run(ranks)
        }
        for (rank, rounds) in outcomes.enumerated() {
            for (round, outcome) in rounds.enumerated() {
                #expect(outcome == reference[round][rank], "round \(round), rank \(rank)")
            }
        }
    }

    @Test("ranks that share mappings, as processes do, give the reference's bits", arguments: [5, 6] as [UInt64])
    func sharedMappings(seed: UInt64) throws {
        let test = try TestLowLatency(seed: seed, shape: Self.shapes[Int(seed) % Self.shapes.count])
        let reference = test.reference()
        let topology = try Topology(rankCount: test.rankCount)
        let outcomes = try RankGroup.threads(topology) { threads throws(FathomError) in
            if threads.rank == 0 {
                let host = try GroupHost(topology)
                _ = try threads.broadcast(Array(host.address.text.utf8), from: 0)
                return try test.run(try host.group())
            }
            let text = String(decoding: try threads.broadcast([], from: 0), as: UTF8.self)
            return try test.run(try RankGroup.join(try GroupAddress(text: text), rank: threads.rank))
        }
        for (rank, rounds) in outcomes.enumerated() {
            for (round, outcome) in rounds.enumerated() { #expect(outcome == reference[round][rank]) }
        }
    }

    @Test(
        "a rank that leaves is masked at all others from the same operation on, and they go on without it",
        arguments: 0..<12 as Range<UInt64>)
    func loss(seed: UInt64) throws {
        let test = try TestLowLatency(seed: seed, shape: Self.shapes[Int(seed) % Self.shapes.count])
        guard test.rankCount > 1 else { return }
        let lost = Int(seed / 2) % test.rankCount
        let reference = test.reference(without: lost)
        let outcomes = try RankGroup.threads(try Topology(rankCount: test.rankCount)) { ranks throws(FathomError) in
            try test.runWithLoss(of: lost, ranks)
        }
        let others = outcomes.indices.filter { $0 != lost }
        for round in 0..<TestLowLatency.rounds {
            let masks = others.map { outcomes[$0][round].isMasked }
            #expect(masks.allSatisfy { $0 == masks[0] }, "round \(round): \(masks)")
            for rank in others {
                let outcome = outcomes[rank][round]
                #expect(outcome.received == reference[round][rank].received, "round \(round), rank \(rank)")
                #expect(outcome.combined == reference[round][rank].combined, "round \(round), rank \(rank)")
                for other in outcomes.indices {
                    #expect((outcome.isMasked[other] || outcome.isMissing[other]) == (other == lost && round > 0))
                }
            }
        }
        // Two operations can be under way when the others agree, and the mask holds from the one after that on.
        #expect(others.allSatisfy { outcomes[$0][TestLowLatency.rounds - 1].isMasked[lost] })
    }

    @Test("misuse is an error that says what is legal")
    func misuse() throws {
        let placement = try ExpertPlacement(rankCount: 1, expertCount: 4)
        #expect(throws: FathomError.self) {
            try LowLatencyShape(placement: placement, hidden: 8, element: .float32, topK: 1, tokensPerRank: 1)
        }
        #expect(throws: FathomError.self) {
            try LowLatencyShape(placement: placement, hidden: 8, element: .bfloat16, topK: 1, tokensPerRank: 0)
        }
        let shape = try LowLatencyShape(
            placement: placement, hidden: 1, element: .bfloat16, topK: 2, tokensPerRank: 1)
        let messages = try RankGroup.threads(try Topology(rankCount: 1)) { group throws(FathomError) -> [String] in
            var messages: [String] = []
            let rows = try TestExchange.rows([TestGroup.bytes([1])], format: shape.format)
            for experts in [[0, 0], [0, 4], [0, 1, 2, 3]] as [[Int32]] {
                let exchange = try LowLatencyExchange(group: group, shape: shape)
                do throws(FathomError) {
                    _ = try exchange.dispatch(rows, try TopKSelection(topK: 2, experts: experts))
                } catch { messages.append(error.message) }
            }
            let exchange = try LowLatencyExchange(group: group, shape: shape)
            let choices = try TopKSelection(topK: 2, experts: [0, 1])
            _ = try exchange.dispatch(rows, choices)
            _ = try exchange.dispatch(rows, choices)
            do throws(FathomError) { _ = try exchange.dispatch(rows, choices) } catch { messages.append(error.message) }
            return messages
        }[0]
        #expect(messages.count == 4)
        #expect(messages[0].contains("expert 0 twice"))
        #expect(messages[1].contains("expert 4"))
        #expect(messages[2].contains("1 rows"))
        #expect(messages[3].contains("two dispatches are under way"))
    }

    @Test("a rank that does not come is named in time")
    func silent() throws {
        let placement = try ExpertPlacement(rankCount: 2, expertCount: 2)
        let shape = try LowLatencyShape(placement: placement, hidden: 4, element: .bfloat16, topK: 1, tokensPerRank: 1)
        let message = try RankGroup.threads(try Topology(rankCount: 2)) { group throws(FathomError) -> String in
            let exchange = try LowLatencyExchange(group: group, shape: shape, timeoutMilliseconds: 200)
            var message = ""
            if group.rank == 0 {
                let rows = try TestExchange.rows([TestGroup.bytes([1, 2, 3, 4])], format: shape.format)
                do throws(FathomError) {
                    _ = try exchange.dispatch(rows, TopKSelection(topK: 1, experts: [1])).receive()
                } catch { message = error.message }
                #expect(exchange.waitedNanoseconds[1] > 100_000_000)
            }
            try group.barrier()
            return message
        }[0]
        #expect(message.contains("200 ms") && message.contains("for rank 1"), "\(message)")
    }
}
