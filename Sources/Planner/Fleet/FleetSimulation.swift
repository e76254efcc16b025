// SPDX-License-Identifier: MIT

public import Platform
internal import Simulation

/// A day of a fleet as discrete events: requests arrive, are dealt to prefill units, computed in passes, dealt to
/// decode units, and answered step by step; experts are placed anew, and units come and go with demand.
///
/// Times of passes and steps are the predictions of ``PrefillTimes`` and ``DecodeTimes`` for the fullest GPU. The same
/// design, work and seed give the same day.
public struct FleetSimulation: Sendable {
    /// What comes in.
    public enum Work: Sendable {
        /// Conversations of a population, with so many prompt tokens in the whole window.
        case population(RequestPopulation, promptTokens: Double, curve: DemandCurve)
        /// Requests of a trace, in order of time, with the tokens that its prefix cache has.
        case trace([TracedRequest], seconds: Double)

        var seconds: Double {
            switch self {
            case .population(_, _, let curve): curve.seconds
            case .trace(_, let seconds): seconds
            }
        }
    }

    /// Turns that wait or run at most, together; more are refused and counted.
    public static let maximumTurns = 4_000_000
    /// Seconds of the first hour's demand before the window, which are not counted.
    static let warmUp = 3600.0
    /// Seconds between looks at who arrives.
    static let arrivalInterval = 0.1

    let design: FleetDesign
    let work: Work
    var now: Double
    /// Turns that wait, run or pause.
    var turns = 0
    var prefill: [PrefillUnit]
    var decode: [DecodeUnit]
    /// What the balancers of units compare: tokens to compute, and eighths of a token in caches; none for a unit that
    /// takes nothing. Beside the units, so that a look at all of them touches little memory.
    var outstanding: LeastTree
    var held: LeastTree
    private var done: [QueuedTurn] = []
    private var ended: [AnsweredTurn] = []
    /// Turns that are computed and find no room.
    var waiting = TurnQueue()
    /// Pauses of conversations: who comes back in which second.
    var returning = TurnWheel<Turn>(horizon: Self.pauseHorizon)
    var returned: [Turn] = []
    var returnedUntil: Int
    /// When each source of events is next: arrivals, scaling, placement, then prefill and decode units.
    var next: [Double]
    var random: SimulationRandom
    var draws: PopulationDraws?
    var traced = 0
    var balance: ExpertBalance
    var prefillPace: PrefillPace
    var decodePace: DecodePace
    var autoscaler: Autoscaler
    let cacheTokens: Double
    var steps: Int
    var record: FleetRecord

    static let fixedSources = 3
    static let pauseHorizon = 1 << 13

    /// - Throws: what an impossible design gives: memory that is too small, experts that do not go round.
    public init(design: FleetDesign, work: Work, seed: UInt64) throws(FathomError) {
        self.design = design
        self.work = work
        let budget = try design.decodeMemory(neededTokens: 0)
        _ = try design.prefillMemory()
        cacheTokens = budget.cacheTokens
        random = SimulationRandom(seed: seed)
        balance = try ExpertBalance(design, seed: seed ^ 0x5EED)
        prefillPace = PrefillPace(design)
        decodePace = DecodePace(design, imbalance: balance.imbalance[1])
        autoscaler = Autoscaler(scaling: design.scaling, headroom: design.rules.headroom)
        steps = design.scaling.maximumSteps
        var meanContext = 4096.0
        var start = 0.0
        if case .population(let population, _, _) = work {
            draws = PopulationDraws(population)
            meanContext = population.promptTokens + population.outputTokens / 2
            start = -Self.warmUp
        }
        now = start
        returnedUntil = Int(start)
        let scaling = design.scaling
        let prefillUnits = scaling.prefillUnits(steps: steps)
        let decodeUnits = scaling.decodeUnits(steps: steps)
        prefill = Array(repeating: PrefillUnit(ranks: design.prefill.ranks), count: prefillUnits)
        decode = Array(
            repeating: DecodeUnit(ranks: design.decode.ranks, yield: design.decode.yield, meanContext: meanContext),
            count: decodeUnits)
        outstanding = LeastTree(count: prefillUnits)
        held = LeastTree(count: decodeUnits)
        next = Array(repeating: .infinity, count: Self.fixedSources + prefillUnits + decodeUnits)
        record = FleetRecord(design: design, seconds: work.seconds)
        for unit in prefill.indices { (prefill[unit].state, outstanding[unit]) = (.active, 0) }
        for unit in decode.indices { (decode[unit].state, held[unit]) = (.active, 0) }
        next[0] = start
        next[1] = start + design.rules.scalingSeconds
        next[2] = start + design.rules.placementSeconds
        record.nodes(scaling.nodes(steps: steps), at: start)
    }

    /// Runs the whole window.
    ///
    /// - Parameter progress: told the seconds of the window that are done, now and then.
    public mutating func run(progress: (Double) -> Void = { _ in }) throws(FathomError) -> FleetDay {
        let end = work.seconds
        while true {
            var source = 0
            var time = next[0]
            for index in 1..<next.count where next[index] < time { (source, time) = (index, next[index]) }
            guard time < end else { break }
            now = time
            switch source {
            case 0: arrive()
            case 1:
                scale()
                progress(max(0, now))
            case 2: try placeExperts()
            case Self.fixedSources..<Self.fixedSources + prefill.count: prefillEvent(source - Self.fixedSources)
            default: decodeEvent(source - Self.fixedSources - prefill.count)
            }
        }
        now = end
        return record.day(fleet: self)
    }

    // MARK: Prefill

    /// Gives a turn to the prefill unit with the least to do.
    mutating func admit(_ turn: Turn) {
        record.asked(turn, at: now)
        guard let chosen = outstanding.least, let before = outstanding[chosen] else {
            record.refused += 1
            turns -= 1
            return
        }
        let queued = QueuedTurn(turn: turn, arrival: Int32((now + Self.warmUp) * 1000))
        prefill[chosen].queue.append(queued)
        outstanding[chosen] = before + Int(queued.left)
        // A unit that rests begins a pass at once.
        let source = Self.fixedSources + chosen
        if next[source] == .infinity { next[source] = now }
    }

    private mutating func prefillEvent(_ unit: Int) {
        if prefill[unit].state.isStarting {
            prefill[unit].state = .active
            next[Self.fixedSources + unit] = .infinity
            return recordNodes()
        }
        if prefill[unit].isBusy {
            done.removeAll(keepingCapacity: true)
            prefill[unit].finish(done: &done)
            if prefill[unit].state.isActive { outstanding[unit] = prefill[unit].outstandingTokens }
            for turn in done {
                record.computed(turn, at: now)
                beginAnswer(turn)
            }
        }
        let seconds = prefill[unit].start(pace: prefillPace, imbalance: balance.imbalance[0])
        if let seconds {
            record.pass(
                seconds, tokens: prefill[unit].passTokens, fullest: prefill[unit].fullestTokens,
                ranks: design.prefill.ranks, at: now)
        }
        next[Self.fixedSources + unit] = seconds.map { now + $0 } ?? .infinity
        if seconds == nil, prefill[unit].state.isDraining {
            prefill[unit].state = .off
            recordNodes()
        }
    }

    // MARK: Decode

    /// Gives a computed turn to the decode unit with the least in its caches, or lets it wait.
    private mutating func beginAnswer(_ turn: QueuedTurn) {
        if !waiting.isEmpty || !place(turn.turn) { waiting.append(turn) }
    }

    private mutating func place(_ turn: Turn) -> Bool {
        guard let chosen = held.least, decode[chosen].place(turn, limit: decodePace.limit, cacheTokens: cacheTokens)
        else { return false }
        held[chosen] = decode[chosen].eighths
        let source = Self.fixedSources + prefill.count + chosen
        if next[source] == .infinity { next[source] = now + stepSeconds(chosen) }
        return true
    }

    private func stepSeconds(_ unit: Int) -> Double {
        decodePace.seconds(requests: decode[unit].fullestRequests, tokens: decode[unit].fullestTokens)
    }

    private mutating func decodeEvent(_ unit: Int) {
        let source = Self.fixedSources + prefill.count + unit
        if decode[unit].state.isStarting {
            decode[unit].state = .active
            next[source] = .infinity
            recordNodes()
            return admitWaiting()
        }
        let requests = decode[unit].requests
        ended.removeAll(keepingCapacity: true)
        decode[unit].advance(into: &ended)
        if held[unit] != nil { held[unit] = decode[unit].eighths }
        record.step(
            requests: requests, eighths: decode[unit].eighths, mean: decode[unit].meanTokens,
            fullest: decode[unit].fullestTokens, at: now)
        for turn in ended {
            record.finished(at: now)
            continueConversation(turn)
        }
        if decode[unit].requests > 0 {
            let seconds = stepSeconds(unit)
            record.stepTime(seconds, requests: decode[unit].requests, at: now)
            next[source] = now + seconds
        } else {
            next[source] = .infinity
            if decode[unit].state.isDraining {
                decode[unit].state = .off
                recordNodes()
            }
        }
        if !waiting.isEmpty { admitWaiting() }
    }

    private mutating func admitWaiting() {
        while let turn = waiting.popFirst() {
            guard place(turn.turn) else { return waiting.prepend(turn) }
        }
    }

    // MARK: Experts

    private mutating func placeExperts() throws(FathomError) {
        try balance.advance()
        decodePace = DecodePace(design, imbalance: balance.imbalance[1])
        record.placed(balance.imbalance, at: now)
        next[2] = now + design.rules.placementSeconds
    }
}

extension FleetDesign {
    /// The memory of a decode GPU that must hold so many tokens of cache.
    public func decodeMemory(neededTokens: Double) throws(FathomError) -> MemoryBudget {
        try MemoryBudget(
            model: model, hardware: hardware, ranks: decode.ranks, redundantExperts: decode.redundantExperts,
            withPrediction: decode.tokensPerStep > 1, cacheFormat: decode.cacheFormat, neededTokens: neededTokens,
            purpose: "decode")
    }

    /// The memory of a prefill GPU, which holds the cache of the passes that run and of what is on its way.
    public func prefillMemory() throws(FathomError) -> MemoryBudget {
        try MemoryBudget(
            model: model, hardware: hardware, ranks: prefill.ranks, redundantExperts: prefill.redundantExperts,
            withPrediction: decode.tokensPerStep > 1, cacheFormat: decode.cacheFormat,
            neededTokens: Double(3 * prefill.tokensPerPass), purpose: "prefill")
    }
}
