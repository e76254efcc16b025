// SPDX-License-Identifier: MIT

import Platform
import Ranks
import Synchronization
import TestSupport
import Testing

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#endif

@Suite("Rendezvous", .serialized, .timeLimit(.minutes(10)))
struct RendezvousTests {
    static let nextPort = Atomic<Int>(14_000 + Int(getpid()) % 500 * 8)

    static func place() -> HostPort {
        HostPort(host: "127.0.0.1", port: nextPort.wrappingAdd(1, ordering: .relaxed).newValue)
    }

    /// Joins as several ranks at once, and returns what each saw: its gathered bytes, or its error.
    static func meet(_ ranks: [RankEnvironment], timeoutMilliseconds: Int = 20_000) -> [Result<[[UInt8]], FathomError>]
    {
        let results = Mutex([Result<[[UInt8]], FathomError>?](repeating: nil, count: ranks.count))
        var limits = RankGroup.Limits()
        limits.timeoutMilliseconds = timeoutMilliseconds
        runThreads(ranks.count) { [limits] index in
            let result = Result { () throws(FathomError) in
                let group = try RankGroup.join(ranks[index], limits: limits)
                defer { withExtendedLifetime(group) {} }
                let gathered = try group.allGather([UInt8(group.rank)])
                try group.barrier()
                return gathered
            }
            results.withLock { $0[index] = result }
        }
        return results.withLock { $0.compactMap(\.self) }
    }

    static func environment(
        _ rank: Int, of count: Int, nodes: Int = 1, at place: HostPort, job: String = "job"
    ) throws -> RankEnvironment {
        RankEnvironment(
            launcher: .torchrun, rank: rank, topology: try Topology(rankCount: count, nodeCount: nodes),
            rendezvous: place, job: job)
    }

    @Test("Ranks that meet over TCP are a group", arguments: [1, 2, 5])
    func meet(rankCount: Int) throws {
        let place = Self.place()
        // Rank 0 comes last, so that the others must try more than once.
        let ranks = try (0..<rankCount).reversed().map { try Self.environment($0, of: rankCount, at: place) }
        for result in Self.meet(ranks) {
            #expect(try result.get() == (0..<rankCount).map { [UInt8($0)] })
        }
    }

    /// Expects that every rank fails, and with these words.
    func expectAll(_ results: [Result<[[UInt8]], FathomError>], say words: [String]) {
        for result in results {
            guard case .failure(let error) = result else {
                Issue.record("a rank joined")
                continue
            }
            for word in words { #expect(error.message.contains(word), "\(error)") }
        }
    }

    @Test("A rank that comes twice, or with another idea of the group, is named to all")
    func strangers() throws {
        var place = Self.place()
        expectAll(
            Self.meet(try [0, 1, 1].map { try Self.environment($0, of: 3, at: place) }), say: ["rank 1 came twice"])
        place = Self.place()
        expectAll(
            Self.meet([try Self.environment(0, of: 2, at: place), try Self.environment(1, of: 3, at: place)]),
            say: ["rank 1 thinks of 3 ranks", "rank 0 of 2"])
        place = Self.place()
        expectAll(
            Self.meet([
                try Self.environment(0, of: 4, nodes: 2, at: place), try Self.environment(3, of: 4, at: place),
            ]), say: ["rank 3 thinks of 4 ranks, 4 on a node", "2 on a node"])
    }

    @Test("Ranks that do not come are named to all that did")
    func missing() throws {
        let place = Self.place()
        let ranks = try [0, 2].map { try Self.environment($0, of: 4, at: place) }
        expectAll(Self.meet(ranks, timeoutMilliseconds: 2_000), say: ["missing: rank 1, 3"])
        let alone = Self.meet([try Self.environment(1, of: 2, at: Self.place())], timeoutMilliseconds: 200)
        expectAll(alone, say: ["rank 1 could not reach rank 0", "nobody listens"])
    }

    @Test("Another job at the same place is turned away and does no harm")
    func otherJob() throws {
        let place = Self.place()
        let results = Mutex<[Result<[[UInt8]], FathomError>]>([])
        let stranger = try Self.environment(1, of: 2, at: place, job: "other")
        let ranks = try [0, 1].map { try Self.environment($0, of: 2, at: place) }
        runThreads(2) { index in
            if index == 0 {
                let found = Self.meet([stranger], timeoutMilliseconds: 3_000)
                results.withLock { $0 = found }
            } else {
                // Late enough for the stranger to be first.
                usleep(200_000)
                for result in Self.meet(ranks) { #expect(throws: Never.self) { try result.get() } }
            }
        }
        expectAll(results.withLock { $0 }, say: ["rank 1 could not reach rank 0"])
    }

    @Test("A place that is taken is an error that says how to choose another")
    func taken() throws {
        let place = Self.place()
        let ranks = try [0, 0, 1].map { try Self.environment($0, of: 2, at: place) }
        let failures = Mutex<[FathomError]>([])
        runThreads(3) { index in
            // Rank 1 comes when one of the two that would be rank 0 has been turned away.
            let deadline = ContinuousClock.now + .seconds(20)
            while index == 2, failures.withLock(\.isEmpty), ContinuousClock.now < deadline { usleep(1000) }
            for case .failure(let error) in Self.meet([ranks[index]]) { failures.withLock { $0.append(error) } }
        }
        let found = failures.withLock { $0 }
        #expect(found.count == 1)
        #expect(found.first?.message.contains("FATHOM_RENDEZVOUS") == true, "\(found)")
    }
}

/// Runs `body` on several threads and waits for them.
func runThreads(_ count: Int, _ body: @escaping @Sendable (Int) -> Void) {
    final class Body: Sendable {
        let run: @Sendable () -> Void
        init(_ run: @escaping @Sendable () -> Void) { self.run = run }
    }
    let threads = (0..<count).map { index in
        var id = pthread_t()
        // SAFETY: Unmanaged carries one retained reference into the thread, which takes it over.
        let argument = Unmanaged.passRetained(Body { body(index) })
        pthread_create(
            &id, nil,
            { raw in
                // SAFETY: the retained object that pthread_create was given, taken once.
                if let raw { Unmanaged<Body>.fromOpaque(raw).takeRetainedValue().run() }
                return nil
            }, argument.toOpaque())
        return id
    }
    for thread in threads { pthread_join(thread, nil) }
}
