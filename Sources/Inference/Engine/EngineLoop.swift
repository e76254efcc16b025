// SPDX-License-Identifier: MIT

import DeepSeekModel
import Logging
import Platform
import Synchronization
import Telemetry

/// The engine's thread: plan, compute, choose, deliver, again.
struct EngineLoop {
    private let core: EngineCore
    private let executor: any ModelExecutor
    private let clock = ContinuousClock()
    /// The answers of admitted requests; only this thread touches them.
    private var answers: [SequenceID: Answer] = [:]
    private var reported = Scheduler.Counters()

    init(core: EngineCore, executor: any ModelExecutor) {
        self.core = core
        self.executor = executor
    }

    /// Runs until the engine stops.
    mutating func run() {
        while let plan = nextPlan() { step(plan) }
    }

    /// The next step; sleeps while there is nothing to do. nil once the engine has stopped.
    private mutating func nextPlan() -> StepPlan? {
        while true {
            var answers = self.answers
            let next = core.state.withLock { state -> StepPlan? in
                if state.phase == .stopped { return nil }
                let plan = state.scheduler.plan()
                for id in plan.admitted {
                    guard let live = state.live[id] else { continue }
                    answers[id] = answers[id] ?? live.start
                    state.live[id]?.timing.admitted = live.timing.admitted ?? clock.now
                }
                answers = answers.filter { state.live[$0.key] != nil }
                state.isThreadAsleep = plan.isEmpty
                return plan
            }
            self.answers = answers
            guard let next else { return nil }
            if !next.isEmpty { return next }
            core.sleep()
        }
    }

    private mutating func step(_ plan: StepPlan) {
        let start = clock.now
        let span = Spans.begin()
        defer { Spans.end(span, .step, plan.chunks.count, plan.chunks.reduce(0) { $0 + $1.tokens.count }) }
        let computed = Spans.measure(.forward, plan.chunks.count) { compute(plan.chunks) }
        let sampling = Spans.begin()
        var samples: [SampledToken] = []
        var deliveries: [Delivery] = []
        for row in computed.rows {
            guard let answer = answers[row.id] else { continue }
            let logits = row.matrix.values.span.extracting(
                row.index * row.matrix.vocabularySize..<(row.index + 1) * row.matrix.vocabularySize)
            let choice = answer.choose(logits)
            let outcome = answers[row.id]?.append(choice)
            guard let outcome else { continue }
            samples.append(SampledToken(id: row.id, token: choice.token, isLast: outcome.ending != nil))
            deliveries.append(Delivery(id: row.id, event: outcome.event, ending: outcome.ending))
        }
        Spans.end(sampling, .sample, samples.count)
        let seconds = (clock.now - start).seconds
        settle(plan, samples, deliveries, failures: computed.failures, seconds: seconds)
    }
}

// MARK: Computing

extension EngineLoop {
    /// The logits of a chunk that samples.
    private struct Row {
        let id: SequenceID
        let matrix: LogitsMatrix
        let index: Int
    }

    /// Runs the model. Where a step fails, each of its chunks is tried once by itself, so that only those fail that
    /// cannot be computed.
    private func compute(
        _ chunks: [StepPlan.Chunk]
    ) -> (rows: [Row], failures: [SequenceID: FathomError]) {
        do throws(FathomError) {
            return (try forward(chunks), [:])
        } catch {
            guard chunks.count > 1 else { return ([], [chunks[0].id: error]) }
            core.logger.warning("a step of \(chunks.count) chunks failed; trying each alone: \(error)")
        }
        var rows: [Row] = []
        var failures: [SequenceID: FathomError] = [:]
        for chunk in chunks {
            do throws(FathomError) { rows += try forward([chunk]) } catch { failures[chunk.id] = error }
        }
        return (rows, failures)
    }

    private func forward(_ chunks: [StepPlan.Chunk]) throws(FathomError) -> [Row] {
        let matrix = try executor.forward(
            chunks.map {
                SequenceChunk(
                    tokens: $0.tokens, firstPosition: $0.firstPosition, blockTable: $0.blocks,
                    logits: $0.samples ? .last : .none)
            })
        let ids = chunks.filter(\.samples).map(\.id)
        guard matrix.rowCount == ids.count, matrix.vocabularySize == executor.vocabularySize else {
            throw FathomError(
                .internal,
                "the model returned \(matrix.rowCount) × \(matrix.vocabularySize) logits, expected \(ids.count) × "
                    + "\(executor.vocabularySize)")
        }
        return ids.enumerated().map { Row(id: $1, matrix: matrix, index: $0) }
    }
}

// MARK: Delivering

extension EngineLoop {
    /// A token on its way to a reader.
    private struct Delivery {
        let id: SequenceID
        let event: GenerationEvent
        let ending: Answer.Ending?
    }

    /// What is sent once the lock is released.
    private struct Outbox {
        var tokens: [(live: LiveRequest, id: SequenceID, event: GenerationEvent)] = []
        var ended: [(departure: EngineState.Departure, result: GenerationResult)] = []
        var failed: [(departure: EngineState.Departure, error: FathomError)] = []
        var growth = Scheduler.Counters()
    }

    /// Takes the step's outcome into the shared state, then tells the readers.
    private mutating func settle(
        _ plan: StepPlan, _ samples: [SampledToken], _ deliveries: [Delivery],
        failures: [SequenceID: FathomError], seconds: Double
    ) {
        let now = clock.now
        var outbox = Outbox()
        core.state.withLock { state in
            for (id, error) in failures.sorted(by: { $0.key < $1.key }) {
                if let departure = state.remove(id) { outbox.failed.append((departure, error)) }
            }
            let ended = state.scheduler.complete(plan, sampled: samples)
            let endings = Dictionary(uniqueKeysWithValues: ended.map { ($0.id, $0) })
            for delivery in deliveries {
                guard let live = state.live[delivery.id] else { continue }
                outbox.tokens.append((live, delivery.id, delivery.event))
                state.live[delivery.id]?.timing.firstToken = live.timing.firstToken ?? now
                state.live[delivery.id]?.timing.lastToken = now
                if let sequence = endings[delivery.id], let ending = delivery.ending,
                    let departure = state.forget(sequence)
                {
                    let result = departure.result(ending.reason, stopString: ending.stopString)
                    outbox.ended.append((departure, result))
                    if let admitted = live.timing.admitted {
                        state.speed.noteRun(seconds: (now - admitted).seconds)
                    }
                }
            }
            let promptTokens = plan.chunks.reduce(0) { $0 + ($1.tokens.count > 1 ? $1.tokens.count : 0) }
            state.speed.noteStep(promptTokens: promptTokens, seconds: seconds)
            let isWholeFailure = failures.count == plan.chunks.count
            state.failuresInARow = isWholeFailure ? state.failuresInARow + 1 : 0
            outbox.growth = state.scheduler.counters - reported
            reported = state.scheduler.counters
        }
        send(outbox, tokenCount: plan.tokenCount, now: now)
    }

    private func send(_ outbox: Outbox, tokenCount: Int, now: ContinuousClock.Instant) {
        core.metrics.recordStep(tokens: tokenCount, growth: outbox.growth)
        core.recordStatus()
        for (live, id, event) in outbox.tokens {
            core.metrics.recordToken(live.timing, promptTokens: live.request.prompt.count, now: now)
            guard case .dropped = live.events.yield(event) else { continue }
            guard let departure = core.state.withLock({ $0.remove(id) }) else { continue }
            core.fail(departure, core.readerFellBehind(live))
        }
        for (departure, result) in outbox.ended { core.finish(departure, result) }
        for (departure, error) in outbox.failed {
            core.logger.error("request \"\(departure.live.request.id)\" failed: \(error)")
            core.fail(departure, error)
        }
    }
}

extension Scheduler.Counters {
    static func - (left: Self, right: Self) -> Self {
        var difference = left
        difference.prefixQueries -= right.prefixQueries
        difference.prefixHits -= right.prefixHits
        difference.preemptions -= right.preemptions
        return difference
    }
}
