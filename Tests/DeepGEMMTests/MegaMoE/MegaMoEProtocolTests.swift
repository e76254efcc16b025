// SPDX-License-Identifier: MIT

import DeepGEMM
import TestSupport
import Testing

@Suite("Mega MoE protocol")
struct MegaMoEProtocolTests {
    /// What a rank shows the others: versions of its tokens and of the slots that each of them writes.
    private struct Memory {
        var tokens: UInt64 = 0
        var slots: [UInt64]
        var ready: [UInt64]
        var done: [UInt64]

        init(_ rankCount: Int) {
            slots = .init(repeating: 0, count: rankCount)
            ready = slots
            done = slots
        }
    }

    /// A rank as single steps, any of which another rank's may come between.
    private struct Rank {
        enum Step { case show, ready, awaitReady, pull, write, progress, done, awaitDone, sum }
        var machine = MegaMoEProtocol()
        var step = Step.show
        var peer = 0
        var completed = 0
        var value: UInt64 = 0

        /// Goes on with the next peer, or after the last with the next step.
        mutating func next(_ rankCount: Int, then following: Step, again: Step? = nil) {
            peer += 1
            if peer < rankCount {
                step = again ?? step
            } else {
                (peer, step) = (0, following)
            }
        }
    }

    @Test(
        "Whoever runs when, tokens are read and slots added up in the operation that they belong to", arguments: 0..<40)
    func interleavings(seed: UInt64) throws {
        var random = RandomNumbers(seed: seed)
        let rankCount = 1 + random.number(below: 5)
        let operations = 6
        var memory = [Memory](repeating: Memory(rankCount), count: rankCount)
        var ranks = [Rank](repeating: Rank(), count: rankCount)
        var idle = 0
        while ranks.contains(where: { $0.completed < operations }) {
            // One rank may run far ahead of the others.
            let rank = random.number(below: 4) == 0 ? 0 : random.number(below: rankCount)
            guard ranks[rank].completed < operations else { continue }
            let moved = advance(&ranks[rank], rank, &memory, rankCount)
            idle = moved ? 0 : idle + 1
            try #require(idle < 10_000, "nobody can go on")
        }
    }

    private func advance(_ rank: inout Rank, _ me: Int, _ memory: inout [Memory], _ rankCount: Int) -> Bool {
        switch rank.step {
        case .show:
            memory[me].tokens = rank.machine.operation + 1
            rank.value = rank.machine.begin()
            rank.step = .ready
        case .ready:
            memory[rank.peer].ready[me] = rank.value
            rank.next(rankCount, then: .awaitReady)
        case .awaitReady:
            guard memory[me].ready.allSatisfy({ rank.machine.isReady($0) }) else { return false }
            rank.step = .pull
        case .pull:
            #expect(memory[rank.peer].tokens == rank.machine.operation)
            rank.step = .write
        case .write:
            memory[rank.peer].slots[me] = rank.machine.operation
            rank.value = rank.machine.advance()
            rank.next(rankCount, then: .progress, again: .pull)
        case .progress:
            memory[rank.peer].done[me] = rank.value
            rank.next(rankCount, then: .done)
            if rank.step == .done { rank.value = rank.machine.finish() }
        case .done:
            memory[rank.peer].done[me] = rank.value
            rank.next(rankCount, then: .awaitDone)
        case .awaitDone:
            guard memory[me].done.allSatisfy({ rank.machine.isDone($0) }) else { return false }
            rank.step = .sum
        case .sum:
            #expect(memory[me].slots.allSatisfy { $0 == rank.machine.operation })
            rank.completed += 1
            rank.step = .show
        }
        return true
    }

    @Test("Steps grow, stay below the end however many there are, and belong to no other operation")
    func steps() {
        var machine = MegaMoEProtocol()
        #expect(machine.begin() == 1)
        var last: UInt64 = 0
        var grows = true
        for _ in 0..<MegaMoEProtocol.stepLimit + 10 {
            let step = machine.advance()
            grows = grows && step >= last
            last = step
        }
        #expect(grows && !machine.isDone(last))
        #expect(machine.finish() > last && machine.isDone(machine.finish()))
        let end = machine.finish()
        #expect(machine.begin() == 2 && !machine.isDone(end) && !machine.isReady(1))
        #expect(machine.advance() > end)
    }
}
