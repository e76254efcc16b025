// SPDX-License-Identifier: MIT

/// A kernel's schedule as a handful of programs on shared barriers and buffers, explored in every order.
///
/// An agent is whatever runs one sequence of steps: the producer warp of a block, a warpgroup. Its program is a
/// straight line (loops are unrolled for the counts at hand). What the steps do follows the hardware: a barrier in
/// shared memory ends a phase when its arrivals have come and the bytes that were announced have been copied; a copy
/// lands at any later time; matrix instructions and stores of the copy engine read from their start until their end was
/// waited for. `explore` visits every reachable state and reports the first fault with the path to it.
package struct ScheduleModel: Sendable {
    /// A barrier in the shared memory of some block.
    package struct Barrier: Hashable, Sendable { let index: Int }
    /// A named barrier of a block (`bar.sync`, `bar.arrive`).
    package struct NamedBarrier: Hashable, Sendable { let index: Int }
    /// A region of shared memory that is filled and read as a whole.
    package struct Buffer: Hashable, Sendable { let index: Int }

    /// One copy lands in one buffer and takes its bytes off one barrier; a multicast has one target for each block.
    package struct LoadTarget: Hashable, Sendable {
        package var buffer: Buffer
        package var barrier: Barrier
        package var bytes: Int

        package init(_ buffer: Buffer, _ barrier: Barrier, bytes: Int) {
            self.buffer = buffer
            self.barrier = barrier
            self.bytes = bytes
        }
    }

    /// What an agent does next.
    package enum Step: Hashable, Sendable {
        /// Goes on when the phase with this parity has ended (`barrierWait`).
        case wait(Barrier, parity: Int)
        /// Arrives once (`barrierArrive`).
        case arrive(Barrier)
        /// Arrives once and announces bytes (`barrierArriveExpect`).
        case expect(Barrier, bytes: Int)
        /// Starts copies; each target holds `tag` when its copy has landed.
        case load([LoadTarget], tag: Int)
        /// Matrix instructions (or plain loads) read the buffer from here to `endRead`; it must hold `tag`.
        case beginRead(Buffer, tag: Int)
        case endRead(Buffer)
        /// This agent's threads fill the buffer.
        case write(Buffer, tag: Int)
        /// The copy engine reads the buffer from here until `waitStores`; it must hold `tag`.
        case store(Buffer, tag: Int)
        /// Goes on when at most `pending` of this agent's stores still read.
        case waitStores(pending: Int)
        /// Arrives at a named barrier and waits for the others.
        case sync(NamedBarrier)
        /// Arrives at a named barrier without waiting.
        case arriveNamed(NamedBarrier)
    }

    struct BarrierDescription {
        var name: String
        var arrivals: Int
        var phases: Int?
    }
    struct Agent {
        var name: String
        var steps: [Step]
    }

    var barriers: [BarrierDescription] = []
    var named: [(name: String, participants: Int)] = []
    var buffers: [String] = []
    var agents: [Agent] = []

    package init() {}

    /// A barrier whose phase ends after `arrivals` arrivals.
    package mutating func barrier(_ name: String, arrivals: Int) -> Barrier {
        barriers.append(BarrierDescription(name: name, arrivals: arrivals))
        return Barrier(index: barriers.count - 1)
    }

    /// A named barrier that opens when `participants` agents came.
    package mutating func namedBarrier(_ name: String, participants: Int) -> NamedBarrier {
        named.append((name, participants))
        return NamedBarrier(index: named.count - 1)
    }

    /// A region that holds nothing yet.
    package mutating func buffer(_ name: String) -> Buffer {
        buffers.append(name)
        return Buffer(index: buffers.count - 1)
    }

    /// One more agent with its program.
    package mutating func agent(_ name: String, _ steps: [Step]) {
        agents.append(Agent(name: name, steps: steps))
    }

    /// Asks that exactly `phases` phases of the barrier have ended when all agents are done.
    package mutating func require(_ barrier: Barrier, phases: Int) {
        barriers[barrier.index].phases = phases
    }
}
