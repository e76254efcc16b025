// SPDX-License-Identifier: MIT

extension ScheduleModel {
    /// Visits every state that some order of the agents' steps and of the copies' landings reaches.
    ///
    /// Steps between two points where another agent could make a difference run as one: an agent runs from a wait up to
    /// the next wait or the end of a read, and stops before a write that follows an arrival. That loses no fault:
    /// whoever could get between a wait and the read after it can also come during the read. Copies that one barrier
    /// counts land in their own order: whoever waits for the barrier waits for all of them.
    ///
    /// - Parameter limit: most states to visit; reaching it is reported as a fault.
    package func explore(limit: Int = 2_000_000) -> ScheduleExploration {
        var explorer = ScheduleExplorer(model: self)
        let fault = explorer.run(limit: limit)
        return ScheduleExploration(states: explorer.visited.count, fault: fault)
    }
}

struct ScheduleExplorer {
    private struct Found: Error {
        let kind: ScheduleFault.Kind
        let subject: String
    }
    private struct Move {
        var state: ScheduleState
        /// Which agent went on, or which copy landed (from -1 downwards).
        var actor: Int
        var children: [Int]?
    }

    let model: ScheduleModel
    private(set) var visited: Set<ScheduleState> = []
    /// For each agent and position, which buffers it reads there (as a matrix operand or as the source of a store).
    private let reading: [[[Int]]]
    private let copies: [ScheduleModel.LoadTarget]
    private let copyTags: [Int]
    /// Number of the first copy of an agent's load step.
    private let firstCopy: [[Int: Int]]

    init(model: ScheduleModel) {
        self.model = model
        var copies: [ScheduleModel.LoadTarget] = []
        var tags: [Int] = []
        var first: [[Int: Int]] = []
        for agent in model.agents {
            var numbers: [Int: Int] = [:]
            for (position, step) in agent.steps.enumerated() {
                guard case .load(let targets, let tag) = step else { continue }
                numbers[position] = copies.count
                copies += targets
                tags += targets.map { _ in tag }
            }
            first.append(numbers)
        }
        self.copies = copies
        copyTags = tags
        firstCopy = first
        reading = model.agents.map { Self.readBuffers(of: $0.steps) }
    }

    private static func readBuffers(of steps: [ScheduleModel.Step]) -> [[Int]] {
        var operands: [Int] = []
        var stores: [Int] = []
        var result: [[Int]] = [[]]
        for step in steps {
            switch step {
            case .beginRead(let buffer, _): operands.append(buffer.index)
            case .endRead(let buffer):
                if let place = operands.firstIndex(of: buffer.index) { operands.remove(at: place) }
            case .store(let buffer, _): stores.append(buffer.index)
            case .waitStores(let pending): stores.removeFirst(max(0, stores.count - pending))
            default: break
            }
            result.append(operands + stores)
        }
        return result
    }

    /// Depth first; the stack is the path.
    mutating func run(limit: Int) -> ScheduleFault? {
        var stack = [Move(state: ScheduleState(model), actor: Int.min)]
        visited.insert(stack[0].state)
        while var top = stack.popLast() {
            if top.children == nil {
                top.children = actors(in: top.state)
                if top.children?.isEmpty == true, let found = standstill(top.state) {
                    return fault(found, stack + [top])
                }
            }
            guard let actor = top.children?.popLast() else { continue }
            let state = top.state
            stack.append(top)
            do throws(Found) {
                let next = try advance(state, actor)
                if visited.insert(next).inserted { stack.append(Move(state: next, actor: actor)) }
            } catch {
                return fault(error, stack + [Move(state: state, actor: actor)])
            }
            if visited.count > limit {
                return fault(Found(kind: .limitReached, subject: "\(limit) states"), stack)
            }
        }
        return nil
    }

    /// The agents that can go on and the copies that can land.
    private func actors(in state: ScheduleState) -> [Int] {
        var barriers: [Int] = []
        let landings = state.flying.filter { copy in
            let barrier = copies[Int(copy)].barrier.index
            defer { barriers.append(barrier) }
            return !barriers.contains(barrier)
        }
        return model.agents.indices.filter { canStep($0, state) } + landings.map { -1 - Int($0) }
    }

    private func canStep(_ agent: Int, _ state: ScheduleState) -> Bool {
        let position = Int(state[position: agent])
        guard position < model.agents[agent].steps.count else { return false }
        switch model.agents[agent].steps[position] {
        case .wait(let barrier, let parity): return Int(state[phase: barrier.index]) % 2 != parity
        case .sync(let barrier):
            return state[generationOf: agent] < 0 || state[generation: barrier.index] != state[generationOf: agent]
        default: return true
        }
    }

    /// The state after a copy has landed, or after an agent has gone on to its next point of interest.
    private func advance(_ state: ScheduleState, _ actor: Int) throws(Found) -> ScheduleState {
        var next = state
        if actor < 0 {
            let copy = Int32(-1 - actor)
            let target = copies[Int(copy)]
            next.land(copy)
            next[landing: target.buffer.index] -= 1
            next[tag: target.buffer.index] = Int32(copyTags[Int(copy)])
            next[bytes: target.barrier.index] -= Int32(target.bytes)
            next.settle(target.barrier.index, arrivals: model.barriers[target.barrier.index].arrivals)
            return next
        }
        let steps = model.agents[actor].steps
        var hasArrived = false
        repeat {
            let position = Int(next[position: actor])
            if case .sync(let barrier) = steps[position], next[generationOf: actor] < 0 {
                next[generationOf: actor] = next[generation: barrier.index]
                come(to: barrier, &next)
                return next
            }
            try perform(steps[position], position, actor, &next)
            switch steps[position] {
            case .arrive, .arriveNamed, .expect: hasArrived = true
            default: break
            }
            next[generationOf: actor] = -1
            next[position: actor] += 1
        } while goesOn(steps, Int(next[position: actor]), hasArrived: hasArrived)
        return next
    }

    /// Whether an agent takes this step together with the one before.
    private func goesOn(_ steps: [ScheduleModel.Step], _ position: Int, hasArrived: Bool) -> Bool {
        guard position < steps.count else { return false }
        switch steps[position] {
        case .wait, .sync, .waitStores: return false
        case .write: return !hasArrived
        case .endRead:
            if case .endRead = steps[position - 1] { return true }
            return false
        default: return true
        }
    }

    private func come(to barrier: ScheduleModel.NamedBarrier, _ state: inout ScheduleState) {
        state[present: barrier.index] += 1
        if Int(state[present: barrier.index]) == model.named[barrier.index].participants {
            state[present: barrier.index] = 0
            state[generation: barrier.index] += 1
        }
    }

    private func perform(
        _ step: ScheduleModel.Step, _ position: Int, _ agent: Int, _ state: inout ScheduleState
    ) throws(Found) {
        switch step {
        case .wait, .endRead, .waitStores, .sync: break
        case .arrive(let barrier): try arrive(barrier, bytes: 0, &state)
        case .expect(let barrier, let bytes): try arrive(barrier, bytes: bytes, &state)
        case .arriveNamed(let barrier): come(to: barrier, &state)
        case .beginRead(let buffer, let tag), .store(let buffer, let tag):
            guard state[landing: buffer.index] == 0, Int(state[tag: buffer.index]) == tag else {
                throw Found(
                    kind: .readBeforeArrival,
                    subject: "\(model.buffers[buffer.index]) holds \(state[tag: buffer.index]), expected \(tag)")
            }
        case .write(let buffer, let tag):
            try checkFree(buffer, state, writer: agent)
            state[tag: buffer.index] = Int32(tag)
        case .load(let targets, _):
            for (offset, target) in targets.enumerated() {
                try checkFree(target.buffer, state, writer: agent)
                state[landing: target.buffer.index] += 1
                state[tag: target.buffer.index] = -1
                state.launch((firstCopy[agent][position] ?? 0) + offset)
            }
        }
    }

    private func arrive(_ barrier: ScheduleModel.Barrier, bytes: Int, _ state: inout ScheduleState) throws(Found) {
        guard state[pending: barrier.index] > 0 else {
            throw Found(kind: .excessArrival, subject: model.barriers[barrier.index].name)
        }
        state[bytes: barrier.index] += Int32(bytes)
        state[pending: barrier.index] -= 1
        state.settle(barrier.index, arrivals: model.barriers[barrier.index].arrivals)
    }

    private func checkFree(_ buffer: ScheduleModel.Buffer, _ state: ScheduleState, writer: Int) throws(Found) {
        guard state[landing: buffer.index] == 0 else {
            throw Found(kind: .overlappingWrites, subject: model.buffers[buffer.index])
        }
        for agent in model.agents.indices {
            guard !reading[agent][Int(state[position: agent])].contains(buffer.index) else {
                throw Found(
                    kind: .overwriteBeforeRelease,
                    subject: "\(model.buffers[buffer.index]), read by \(model.agents[agent].name)")
            }
        }
    }

    /// What is wrong with a state in which nothing moves; nil when all is done and at rest.
    private func standstill(_ state: ScheduleState) -> Found? {
        for (index, agent) in model.agents.enumerated() where Int(state[position: index]) < agent.steps.count {
            return Found(kind: .deadlock, subject: "\(agent.name) at \(agent.steps[Int(state[position: index])])")
        }
        for (index, barrier) in model.barriers.enumerated() {
            let atRest = Int(state[pending: index]) == barrier.arrivals && state[bytes: index] == 0
            let phases = Int(state[phase: index])
            guard atRest, barrier.phases ?? phases == phases else {
                return Found(kind: .unfinishedBarrier, subject: "\(barrier.name) after \(phases) phases")
            }
        }
        return nil
    }

    private func fault(_ found: Found, _ stack: [Move]) -> ScheduleFault {
        var path: [String] = []
        for (before, move) in zip(stack, stack.dropFirst()) where move.actor != Int.min {
            if move.actor < 0 {
                path.append("copy lands in \(model.buffers[copies[-1 - move.actor].buffer.index])")
            } else {
                let agent = model.agents[move.actor]
                let position = Int(before.state[position: move.actor])
                path.append(
                    "\(agent.name): " + (position < agent.steps.count ? "\(agent.steps[position])" : "end"))
            }
        }
        return ScheduleFault(kind: found.kind, subject: found.subject, path: path)
    }
}
