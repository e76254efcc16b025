// SPDX-License-Identifier: MIT

extension FleetSimulation {
    /// What a unit can do now, in computed and in output tokens per second.
    private func capacities() -> (prefill: Double, decode: Double) {
        let window = record.window
        let (new, cached, context): (Double, Double, Double)
        if case .population(let population, _, _) = work {
            (new, cached) = (population.newTokens, population.carriedTokens)
            context = population.promptTokens + population.outputTokens / 2
        } else {
            let count = max(1, window.turns)
            (new, cached) = (window.computed / count, window.cached / count)
            context = new + cached + window.output / count / 2
        }
        let prefillRate = prefillPace.fullRate(
            newTokens: new, cachedTokens: cached, imbalance: balance.imbalance[0])
        let yield = design.decode.yield
        // The GPU with the fullest cache makes the pace.
        let fullest = context * max(1, record.spread)
        let requests = decodePace.requests(
            atSpeed: design.rules.answerSpeed, yield: yield, context: fullest, cacheTokens: cacheTokens)
        let speed = yield / decodePace.seconds(requests: requests, tokens: Double(requests) * fullest)
        return (prefillRate * Double(design.prefill.ranks), speed * Double(requests * design.decode.ranks))
    }

    /// Looks at the last window and brings units in or lets them go.
    mutating func scale() {
        let seconds = design.rules.scalingSeconds
        let capacity = capacities()
        let wanted = autoscaler.steps(
            prefill: record.window.computed / seconds, decode: record.window.output / seconds,
            prefillCapacity: capacity.prefill, decodeCapacity: capacity.decode)
        record.closeWindow(at: now, capacity: capacity)
        // Before the window the fleet is whole.
        if now >= 0 || design.scaling.maximumSteps == 0 { steps = wanted }
        next[1] = now + seconds
        setUnits()
        recordNodes()
    }

    private mutating func setUnits() {
        let ready = now + design.rules.startSeconds
        let (prefills, decodes) = (design.scaling.prefillUnits(steps: steps), design.scaling.decodeUnits(steps: steps))
        for unit in prefill.indices {
            let source = Self.fixedSources + unit
            let isWanted = unit < prefills
            switch (prefill[unit].state, isWanted) {
            case (.off, true):
                prefill[unit].state = .starting(ready)
                next[source] = ready
            case (.draining, true): prefill[unit].state = .active
            case (.starting, false):
                prefill[unit].state = .off
                next[source] = .infinity
            case (.active, false):
                let isIdle = !prefill[unit].isBusy && prefill[unit].queue.isEmpty
                prefill[unit].state = isIdle ? .off : .draining
            default: break
            }
        }
        for unit in decode.indices {
            let source = Self.fixedSources + prefill.count + unit
            let isWanted = unit < decodes
            switch (decode[unit].state, isWanted) {
            case (.off, true):
                decode[unit].state = .starting(ready)
                next[source] = ready
            case (.draining, true): decode[unit].state = .active
            case (.starting, false):
                decode[unit].state = .off
                next[source] = .infinity
            case (.active, false): decode[unit].state = decode[unit].requests == 0 ? .off : .draining
            default: break
            }
        }
    }

    /// Nodes that are held now, those of units that start or drain included.
    var prefillNodes: Int { prefill.count { !$0.state.isOff } * design.scaling.prefillUnitNodes }
    var decodeNodes: Int { decode.count { !$0.state.isOff } * design.scaling.decodeUnitNodes }

    mutating func recordNodes() {
        for unit in prefill.indices {
            outstanding[unit] = prefill[unit].state.isActive ? prefill[unit].outstandingTokens : nil
        }
        for unit in decode.indices { held[unit] = decode[unit].state.isActive ? decode[unit].eighths : nil }
        record.nodes(prefillNodes + decodeNodes, at: now)
        record.phaseNodes(prefill: prefillNodes, decode: decodeNodes, at: now)
    }
}
