// SPDX-License-Identifier: MIT

internal import Simulation

/// Tables of a population's distributions. A class, so that a draw copies nothing.
final class PopulationDraws: Sendable {
    let population: RequestPopulation
    let new: QuantileTable
    let output: QuantileTable
    let pause: QuantileTable
    /// Below this word a conversation goes on.
    let continuation: UInt64
    let normal: [Double]

    /// Tokens of new text, and of an answer, at most.
    static let longestText: Int32 = 65_536
    static let longestAnswer: Int32 = 32_000
    /// A conversation that is longer begins anew.
    static let longestContext: Int32 = 98_304

    init(_ population: RequestPopulation) {
        self.population = population
        new = QuantileTable(
            mean: population.newTokens, deviation: population.newDeviation, limit: Self.longestText)
        output = QuantileTable(
            mean: population.outputTokens, deviation: population.outputDeviation, limit: Self.longestAnswer)
        pause = QuantileTable(
            median: population.pauseSeconds, deviation: population.pauseDeviation,
            limit: Int32(FleetSimulation.pauseHorizon - 1))
        continuation = UInt64(min(max(population.continuation, 0), 0.999_999) * 0x1p64)
        normal = (0..<1024).map { NormalQuantile.value((Double($0) + 0.5) / 1024) }
    }
}

extension FleetSimulation {
    /// Lets in who has arrived since the last look: new conversations, and those that go on.
    mutating func arrive() {
        switch work {
        case .population(let population, let promptTokens, let curve):
            arrive(population, promptTokens, curve)
            next[0] = now + Self.arrivalInterval
        case .trace(let requests, _):
            while traced < requests.count, requests[traced].seconds <= now {
                arrive(requests[traced])
                traced += 1
            }
            next[0] = traced < requests.count ? max(now, requests[traced].seconds) : .infinity
        }
    }

    private mutating func arrive(_ population: RequestPopulation, _ promptTokens: Double, _ curve: DemandCurve) {
        while returnedUntil < Int(now.rounded(.down)) {
            returnedUntil += 1
            returned.removeAll(keepingCapacity: true)
            returning.take(at: returnedUntil, into: &returned)
            for turn in returned { admit(turn) }
        }
        guard let draws else { return }
        let turnsPerSecond =
            promptTokens / curve.seconds / population.promptTokens * curve.relative(at: max(0, now))
        let expected = turnsPerSecond * (1 - population.continuation) * Self.arrivalInterval
        for _ in 0..<arrivals(expected, draws.normal) {
            guard hasRoom() else { continue }
            admit(
                Turn(prompt: Int32(draws.new.draw(random.next())), output: Int32(draws.output.draw(random.next()))))
        }
    }

    /// A number around `expected`: Poisson by its definition where it is small, else normal with its spread.
    private mutating func arrivals(_ expected: Double, _ normal: [Double]) -> Int {
        if expected > 20 {
            let z = normal[Int(random.next() >> 54)]
            return max(0, Int((expected + z * expected.squareRoot()).rounded()))
        }
        let limit = exponential(-expected)
        var (count, product) = (0, 1.0)
        while true {
            product *= Double(random.next() >> 11) * 0x1p-53
            if product <= limit { return count }
            count += 1
        }
    }

    private mutating func arrive(_ request: TracedRequest) {
        guard hasRoom() else { return }
        admit(
            Turn(
                prompt: Int32(request.inputTokens), cached: Int32(request.cachedTokens),
                output: Int32(request.outputTokens)))
    }

    /// Counts one more turn in; false, and counted as refused, where the fleet holds as many as it may.
    private mutating func hasRoom() -> Bool {
        guard turns < Self.maximumTurns else {
            record.refused += 1
            return false
        }
        turns += 1
        return true
    }

    /// After an answer: the conversation goes on after a pause, or ends.
    mutating func continueConversation(_ turn: AnsweredTurn) {
        guard let draws, random.next() < draws.continuation else { return turns -= 1 }
        let visible = Int32(Double(turn.output) * draws.population.visiblePart)
        let context = turn.prompt + visible
        guard context < PopulationDraws.longestContext else { return turns -= 1 }
        let pause = draws.pause.draw(random.next())
        let unit = Int32(draws.population.cacheUnit)
        let isKept = Double(pause) <= draws.population.retentionSeconds
        returning.insert(
            Turn(
                prompt: context + Int32(draws.new.draw(random.next())), cached: isKept ? context / unit * unit : 0,
                output: Int32(draws.output.draw(random.next()))),
            at: max(returnedUntil, Int(now.rounded(.down))) + max(1, pause))
    }
}
