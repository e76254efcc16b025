// SPDX-License-Identifier: MIT

import DeepEP
import Platform
import Ranks
import Synchronization
import Tensors
import Testing

@Suite("Exchanges that run meanwhile", .serialized, .timeLimit(.minutes(5)))
struct EventTests {
    static let format = try? RowFormat(hidden: 4, element: .bfloat16)

    /// Runs `body` on three ranks of six experts, each rank with one token for experts 0 and 5.
    static func onRanks<Value: Sendable>(
        timeoutMilliseconds: Int = 60_000,
        _ body:
            @escaping @Sendable (
                _ group: RankGroup, _ exchange: ExpertExchange, _ selection: TopKSelection
            ) throws(FathomError) -> Value
    ) throws -> [Value] {
        let placement = try ExpertPlacement(rankCount: 3, expertCount: 6)
        let selection = try TopKSelection(topK: 2, experts: [0, 5])
        let format = try #require(format)
        return try RankGroup.threads(try Topology(rankCount: 3)) { group throws(FathomError) in
            let exchange = try ExpertExchange(
                group: group, placement: placement, format: format, topK: 2,
                capacity: .fitting(tokensPerRank: 1, rankCount: 3), timeoutMilliseconds: timeoutMilliseconds)
            return try body(group, exchange, selection)
        }
    }

    static func input(_ numbers: [Float]) throws(FathomError) -> (TokenRows, AlignedBuffer<UInt8>) {
        let buffer = try TestExchange.buffer([TestGroup.bytes(numbers)])
        guard let format else { throw FathomError(.internal, "no format") }
        return (TokenRows(buffer, count: 1, format: format), buffer)
    }

    @Test("a begun exchange ends while its ranks compute and do not wait for it, with the called one's bits")
    func overlap() throws {
        let results = try Self.onRanks { group, exchange, selection throws(FathomError) in
            let (rows, _) = try Self.input([1, 2, 3, Float(group.rank)])
            let called = try exchange.dispatch(rows, selection)
            let before = TestExchange.contents(called.tokens)
            try group.barrier()
            // Rank 0 begins alone: it cannot end before the others have come.
            var first: PendingExchange<ExpertExchange.Dispatched>?
            if group.rank == 0 { first = try exchange.beginDispatch(rows, selection) }
            var computed = 0
            for _ in 0..<100_000 { computed &+= 1 }
            let wasOpen = !(first?.isComplete ?? false)
            try group.barrier()
            let pending = if let first { first } else { try exchange.beginDispatch(rows, selection) }
            let deadline = ContinuousClock.now + .seconds(60)
            while !pending.isComplete, ContinuousClock.now < deadline { computed &+= 1 }
            let endedMeanwhile = pending.isComplete
            let (tokens, handle) = try pending.wait()
            let after = TestExchange.contents(tokens)
            let returned = try TestExchange.rows(after.map(\.row), format: exchange.format)
            let begun = try exchange.beginCombine(returned, handle: handle)
            let sums = TestExchange.sums(try begun.wait(), selection, exchange.format)
            let again = TestExchange.sums(
                try exchange.combine(returned, handle: handle), selection, exchange.format)
            return wasOpen && endedMeanwhile && before == after && sums == again && computed > 0
        }
        #expect(results == [true, true, true])
    }

    @Test("operations run in the order in which they were begun, and read their input after the previous event")
    func order() throws {
        let results = try Self.onRanks { group, exchange, selection throws(FathomError) -> [[UInt8]] in
            let (rows, buffer) = try Self.input([9, 9, 9, 9])
            let ready = ExchangeEvent()
            let dispatch = try exchange.beginDispatch(rows, selection, previous: ready)
            // The rows are made only now, as by a computation that was under way.
            for (index, byte) in TestGroup.bytes([1, 2, 3, Float(group.rank)]).enumerated() {
                buffer.baseAddress[index] = byte
            }
            ready.complete()
            let (tokens, handle) = try dispatch.wait()
            let received = TestExchange.contents(tokens).map(\.row)
            let returned = try TestExchange.rows(received, format: exchange.format)
            let combines = try (0..<4).map { _ throws(FathomError) in
                try exchange.beginCombine(returned, handle: handle, previous: dispatch.event)
            }
            // A later one has ended only if all earlier ones have.
            _ = try combines[3].wait()
            let ended = combines.map(\.isComplete)
            #expect(ended == [true, true, true, true])
            return TestExchange.sums(try combines[0].wait(), selection, exchange.format) + received
        }
        for (rank, rows) in results.enumerated() {
            // Two ranks hold the token's experts.
            #expect(rows[0] == TestGroup.bytes([2, 4, 6, 2 * Float(rank)]))
            let received = (0..<3).map { TestGroup.bytes([1, 2, 3, Float($0)]) }
            #expect(Array(rows.dropFirst()) == (rank == 1 ? [] : received))
        }
    }

    @Test("errors surface where an exchange is waited for, and at the others' waits")
    func failure() throws {
        let wrong = try TopKSelection(topK: 2, experts: [0, 9])
        let messages = try Self.onRanks { group, exchange, selection throws(FathomError) -> String in
            let (rows, _) = try Self.input([1, 2, 3, 4])
            let pending = try exchange.beginDispatch(rows, group.rank == 1 ? wrong : selection)
            var message = ""
            do throws(FathomError) { _ = try pending.wait() } catch { message = error.message }
            do throws(FathomError) { _ = try exchange.dispatch(rows, selection) } catch {
                message += " and then " + error.message
            }
            try group.barrier()
            return message
        }
        #expect(messages[1].contains("expert 9"))
        for message in messages { #expect(message.contains(" and then ")) }
        #expect(messages[0].contains("rank 1 could not") && messages[2].contains("rank 1 could not"))
    }

    @Test("a previous event that fails is the operation's error")
    func failedPrevious() throws {
        let messages = try Self.onRanks { group, exchange, selection throws(FathomError) -> String in
            let (rows, _) = try Self.input([1, 2, 3, 4])
            let ready = ExchangeEvent()
            let pending = try exchange.beginDispatch(rows, selection, previous: ready)
            if group.rank == 2 { ready.fail(FathomError(.badData, "no rows today")) } else { ready.complete() }
            var message = ""
            do throws(FathomError) { _ = try pending.wait() } catch { message = error.message }
            try group.barrier()
            return message
        }
        #expect(messages[2].contains("no rows today"))
        #expect(messages[0].contains("rank 2 could not complete"), "\(messages[0])")
    }

    @Test("an exchange that is given up ends here and at the others, also while it waits for its input")
    func cancellation() throws {
        for waitsForInput in [false, true] {
            let errors = try Self.onRanks { group, exchange, selection throws(FathomError) -> FathomError? in
                let (rows, _) = try Self.input([1, 2, 3, 4])
                var found: FathomError?
                if group.rank == 1 {
                    // The others come only after this one has given up.
                    let pending = try exchange.beginDispatch(
                        rows, selection, previous: waitsForInput ? ExchangeEvent() : nil)
                    do throws(FathomError) { _ = try pending.wait(timeoutMilliseconds: 50) } catch {
                        #expect(error.code == .unavailable && !pending.isComplete)
                    }
                    pending.cancel()
                    do throws(FathomError) { _ = try pending.wait() } catch { found = error }
                    try group.barrier()
                } else {
                    try group.barrier()
                    do throws(FathomError) { _ = try exchange.dispatch(rows, selection) } catch { found = error }
                }
                try group.barrier()
                return found
            }
            #expect(errors.map { $0?.code } == [.unavailable, .cancelled, .unavailable])
            #expect(errors[0]?.message.contains("rank 1 could not complete") == true)
        }
    }

    @Test("workers are bounded, shared by exchanges, and gone with them")
    func threads() throws {
        #expect(throws: FathomError.self) { try CommunicationWorkers(limit: 0) }
        #expect(throws: FathomError.self) { try CommunicationWorkers(limit: CommunicationWorkers.maximumLimit + 1) }
        let placement = try ExpertPlacement(rankCount: 2, expertCount: 6)
        let selection = try TopKSelection(topK: 2, experts: [0, 5])
        let format = try #require(Self.format)
        let most = try RankGroup.threads(try Topology(rankCount: 2)) { group throws(FathomError) -> Int in
            let workers = try CommunicationWorkers(limit: 2)
            let exchanges = try (0..<3).map { _ throws(FathomError) in
                try ExpertExchange(
                    group: group, placement: placement, format: format, topK: 2,
                    capacity: .fitting(tokensPerRank: 1, rankCount: 2), communicationWorkers: workers)
            }
            let (rows, _) = try Self.input([1, 2, 3, 4])
            var most = 0
            for _ in 0..<20 {
                let pending = try exchanges.map { exchange throws(FathomError) in
                    try exchange.beginDispatch(rows, selection)
                }
                most = max(most, CommunicationWorkers.threadCount)
                for one in pending {
                    let count = try one.wait().tokens.count
                    #expect(count == 2)
                }
            }
            try group.barrier()
            return most
        }
        #expect(most.allSatisfy { (1...4).contains($0) })
        let deadline = ContinuousClock.now + .seconds(60)
        while CommunicationWorkers.threadCount > 0, ContinuousClock.now < deadline {}
        #expect(CommunicationWorkers.threadCount == 0)
    }
}
