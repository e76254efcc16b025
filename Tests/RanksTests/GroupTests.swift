// SPDX-License-Identifier: MIT

import Platform
import Ranks
import Synchronization
import TestSupport
import Testing

@Suite("Groups of ranks")
struct GroupTests {
    @Test("Every rank sees every other, in any number", arguments: [1, 2, 3, 8])
    func gather(rankCount: Int) throws {
        let topology = try Topology(rankCount: rankCount)
        let results = try RankGroup.threads(topology) { group throws(FathomError) in
            var seen: [[[UInt8]]] = []
            // Empty, small, exactly a slot's room, and in several rounds; of different lengths.
            for size in [0, 3, 4088, 4089, 10_000] {
                let count = size == 0 ? 0 : size + group.rank
                seen.append(try group.allGather((0..<count).map { UInt8(truncatingIfNeeded: $0 &* 7 &+ group.rank) }))
            }
            let word = try group.broadcast(Array("rank \(group.rank)".utf8), from: group.rankCount - 1)
            try group.barrier()
            seen.append([word])
            return seen
        }
        for result in results {
            for (index, size) in [0, 3, 4088, 4089, 10_000].enumerated() {
                #expect(result[index].count == rankCount)
                for (rank, bytes) in result[index].enumerated() {
                    let count = size == 0 ? 0 : size + rank
                    #expect(bytes == (0..<count).map { UInt8(truncatingIfNeeded: $0 &* 7 &+ rank) })
                }
            }
            #expect(String(decoding: result[5][0], as: UTF8.self) == "rank \(rankCount - 1)")
        }
    }

    @Test("No rank leaves a barrier before all have come")
    func barrier() throws {
        let counter = Atomic<Int>(0)
        let topology = try Topology(rankCount: 4)
        _ = try RankGroup.threads(topology) { group throws(FathomError) in
            for round in 1...200 {
                counter.add(1, ordering: .sequentiallyConsistent)
                try group.barrier()
                let seen = counter.load(ordering: .sequentiallyConsistent)
                guard (4 * round..<4 * round + 4).contains(seen) else {
                    throw FathomError(.internal, "rank \(group.rank) saw \(seen) in round \(round)")
                }
            }
            return 0
        }
        #expect(counter.load(ordering: .relaxed) == 800)
    }

    @Test("A rank that fails is named to those who wait for it, and its own error comes out", arguments: 0..<3)
    func failure(rank: Int) throws {
        let messages = Mutex<[String]>([])
        let error = #expect(throws: FathomError.self) {
            try RankGroup.threads(Topology(rankCount: 3)) { group throws(FathomError) in
                try group.barrier()
                if group.rank == rank { throw FathomError(.badData, "rank \(rank) has had enough") }
                do throws(FathomError) {
                    try group.barrier()
                } catch {
                    messages.withLock { $0.append(error.message) }
                    throw error
                }
                return 0
            }
        }
        #expect(error?.code == .badData && error?.message == "rank \(rank) has had enough")
        let heard = messages.withLock { $0 }
        // Who learns it from another's leaving names that one.
        #expect(heard.count == 2 && heard.contains { $0.contains("rank \(rank) has failed") })
    }

    @Test("A rank that does not come is named when the time is over")
    func absence() throws {
        var limits = RankGroup.Limits()
        limits.timeoutMilliseconds = 150
        let done = Atomic<Int>(0)
        let error = #expect(throws: FathomError.self) {
            try RankGroup.threads(Topology(rankCount: 3), limits: limits) { group throws(FathomError) in
                try group.barrier(timeoutMilliseconds: 20_000)
                defer { done.add(1, ordering: .sequentiallyConsistent) }
                if group.rank == 1 {
                    while done.load(ordering: .sequentiallyConsistent) < 2 {}
                    return 0
                }
                try group.barrier()
                return 0
            }
        }
        #expect(error?.message.contains("missing: rank 1") == true)
    }

    @Test("Impossible groups and addresses are refused by name")
    func refusals() throws {
        #expect(throws: FathomError.self) { try Topology(rankCount: 0) }
        #expect(throws: FathomError.self) { try Topology(rankCount: 6, nodeCount: 4) }
        let topology = try Topology(rankCount: 6, nodeCount: 3)
        #expect(topology.node(of: 5) == 2 && topology.indexOnNode(of: 5) == 1 && topology.ranks(onNode: 1) == 2..<4)
        #expect(topology.rank(node: 2, index: 1) == 5)
        for text in ["", "3", "a/b@c:d", "0/1@1:1"] {
            #expect(throws: FathomError.self) { try GroupAddress(text: text) }
        }
        let host = try GroupHost(topology)
        #expect(try GroupAddress(text: host.address.text) == host.address)
        #expect(throws: FathomError.self) { try RankGroup.join(host.address, rank: 6) }
        #expect(throws: FathomError.self) { try RankGroup.join(host.address, rank: 0) }
    }
}

@Suite("Symmetric regions")
struct SymmetricRegionTests {
    @Test("What was put before a signal is there after it, whoever sends", arguments: [2, 3, 5])
    func order(rankCount: Int) throws {
        let rounds = 300
        _ = try RankGroup.threads(Topology(rankCount: rankCount)) { group throws(FathomError) in
            let size = 4096
            let region = try group.symmetricRegion(byteCount: size * rankCount, signalCount: 2 * rankCount)
            var random = RandomNumbers(seed: UInt64(group.rank))
            for round in 1...rounds {
                // To every rank in a random order, in random pieces.
                for other in (0..<rankCount).shuffled(using: &random) {
                    let bytes = [UInt8](repeating: UInt8(truncatingIfNeeded: round &* 31 &+ group.rank), count: size)
                    var first = 0
                    while first < size {
                        let end = min(size, first + 1 + random.number(below: 2000))
                        bytes[first..<end].withUnsafeBytes {
                            region.put($0, to: other, at: group.rank * size + first)
                        }
                        first = end
                    }
                    region.signal(other, group.rank, UInt64(round))
                }
                for other in 0..<rankCount {
                    guard try region.wait(other, atLeast: UInt64(round), timeoutMilliseconds: 20_000) else {
                        throw FathomError(.internal, "signal of rank \(other) is late")
                    }
                    let part = UnsafeRawBufferPointer(start: region.local + other * size, count: size)
                    guard part.allSatisfy({ $0 == UInt8(truncatingIfNeeded: round &* 31 &+ other) }) else {
                        throw FathomError(.internal, "round \(round): bytes of rank \(other) came after its signal")
                    }
                    region.add(other, rankCount + group.rank, 1)
                }
                // Nobody writes again before all have read.
                for other in 0..<rankCount {
                    _ = try region.wait(rankCount + other, atLeast: UInt64(round), timeoutMilliseconds: 20_000)
                }
            }
            return 0
        }
    }

    @Test("Ranks that ask for different sizes are told so")
    func sizes() throws {
        let error = #expect(throws: FathomError.self) {
            try RankGroup.threads(Topology(rankCount: 2)) { group throws(FathomError) in
                _ = try group.symmetricRegion(byteCount: 64 + group.rank, signalCount: 1)
                return 0
            }
        }
        #expect(error?.message.contains("64 and 1") == true || error?.message.contains("65 and 1") == true)
    }

    @Test("A signal that does not come is no error, until its sender is lost")
    func late() throws {
        let error = #expect(throws: FathomError.self) {
            try RankGroup.threads(Topology(rankCount: 2)) { group throws(FathomError) in
                let region = try group.symmetricRegion(byteCount: 0, signalCount: 1)
                if group.rank == 1 {
                    try group.barrier()
                    return 0
                }
                guard try !region.wait(0, atLeast: 1, timeoutMilliseconds: 30, watching: [1]) else { return 1 }
                try group.barrier()
                _ = try region.wait(0, atLeast: 1, timeoutMilliseconds: 20_000, watching: [1])
                return 2
            }
        }
        #expect(error?.message.contains("rank 1 has left") == true)
    }
}
