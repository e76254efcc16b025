// SPDX-License-Identifier: MIT

import Planner
import Platform
import TestSupport
import Testing

@Suite("A simulated fleet")
struct FleetSimulationTests {
    /// Ten minutes of a small fleet: two prefill and two decode units at first, up to five and three.
    private func day(
        seed: UInt64 = 1, demand: Double = 1, weights: [Double] = [1], seconds: Double = 600,
        change: (inout FleetDesign) -> Void = { _ in }
    ) throws -> FleetDay {
        var design = try FleetDesign.deepSeekDay6()
        design.scaling = ScalingSteps(
            prefillUnitNodes: 4, decodeUnitNodes: 18, leastPrefillUnits: 2, leastDecodeUnits: 1, stepPrefillUnits: 3,
            stepDecodeUnits: 1, maximumSteps: 2)
        change(&design)
        let population = try RequestPopulation.calibrated(
            to: PublishedDay.tokens, meanCachedTokens: PublishedDay.meanCachedTokens)
        var simulation = try FleetSimulation(
            design: design,
            work: .population(
                population, promptTokens: demand * 1e6 * seconds,
                curve: DemandCurve(weights: weights, seconds: seconds)), seed: seed)
        return try simulation.run()
    }

    @Test("the same seed gives the same day, another one another")
    func repeatable() throws {
        let first = try day()
        #expect(try day() == first)
        #expect(try day(seed: 2) != first)
    }

    @Test("what is asked for is served, with the population's ratios")
    func conservation() throws {
        let day = try day()
        #expect(day.refused == 0)
        #expect((day.tokens.input / 600e6 - 1).magnitude < 0.05, "\(day.tokens)")
        #expect((day.tokens.input / day.tokens.output / (608.0 / 168) - 1).magnitude < 0.05)
        #expect((day.tokens.hitRate - 342.0 / 608).magnitude < 0.03)
        #expect((day.meanCachedTokens / PublishedDay.meanCachedTokens - 1).magnitude < 0.05)
        #expect(day.cacheSpread >= 1 && day.passSpread >= 1)
    }

    @Test("the fleet grows with demand and shrinks without, in whole steps")
    func scaling() throws {
        let day = try day(demand: 1.2, weights: [0.1, 0.1, 2, 2, 0.1, 0.1], seconds: 10_800)
        let counts = day.nodes.steps.map(\.nodes)
        let low = counts.min() ?? 0
        #expect(counts.max() == 86 && low == 26, "\(counts)")
        // After the night it has grown again.
        let bottom = day.nodes.steps.firstIndex { $0.nodes == low } ?? 0
        #expect(day.nodes.steps[bottom...].contains { $0.nodes > low })
        #expect((day.prefillNodes + day.decodeNodes - day.nodes.mean).magnitude < 0.5)
    }

    @Test("more demand makes answers slower, and drafts that are refused too")
    func speed() throws {
        let light = try day(demand: 0.3)
        let heavy = try day(demand: 1.5)
        #expect(light.answerSpeed > heavy.answerSpeed)
        let refused = try day(demand: 1) { $0.decode.acceptance = 0 }
        #expect(refused.answerSpeed < (try day(demand: 1)).answerSpeed)
    }

    @Test("a store that forgets at once has no hits")
    func forgetting() throws {
        var population = try RequestPopulation.calibrated(
            to: PublishedDay.tokens, meanCachedTokens: PublishedDay.meanCachedTokens)
        population.retentionSeconds = 0
        var simulation = try FleetSimulation(
            design: .deepSeekDay6(),
            work: .population(population, promptTokens: 6e7, curve: DemandCurve(weights: [1], seconds: 60)), seed: 3)
        let day = try simulation.run()
        #expect(day.tokens.input > 0 && day.tokens.hits == 0)
    }

    @Test("a trace's requests are answered, each once, and cached tokens are not computed")
    func trace() throws {
        var design = try FleetDesign.deepSeekDay6()
        design.scaling = ScalingSteps(
            prefillUnitNodes: 4, decodeUnitNodes: 18, leastPrefillUnits: 1, leastDecodeUnits: 1, stepPrefillUnits: 0,
            stepDecodeUnits: 0, maximumSteps: 0)
        let requests = (0..<200).map {
            TracedRequest(seconds: Double($0) / 10, inputTokens: 4000, outputTokens: 50, cachedTokens: 1024)
        }
        var simulation = try FleetSimulation(design: design, work: .trace(requests, seconds: 120), seed: 1)
        let day = try simulation.run()
        #expect(day.answers == 200 && day.refused == 0)
        #expect(day.tokens.input == 800_000 && day.tokens.hits == 204_800)
        #expect(day.firstTokenSeconds[0] < 2)
    }

    @Test("memory that is too small is refused with the reason")
    func memory() throws {
        expectFailure(.configuration, naming: ["prefill", "weights", "GB", "cache"]) { () throws(FathomError) in
            var design = try FleetDesign.deepSeekDay6()
            design.prefill.ranks = 8
            _ = try design.prefillMemory()
        }
        expectFailure(.configuration, naming: ["decode", "320 GPUs", "256 experts", "redundant"]) {
            () throws(FathomError) in
            var design = try FleetDesign.deepSeekDay6()
            design.decode.ranks = 320
            _ = try design.decodeMemory(neededTokens: 1)
        }
    }

    @Test("the published deployment's memory is as derived: 24 GB of weights to decode, 42 GB to prefill")
    func published() throws {
        var design = try FleetDesign.deepSeekDay6()
        design.decode.tokensPerStep = 1
        let decode = try design.decodeMemory(neededTokens: 88 * 4989)
        // 144 GPUs hold two of the 288 replicas; the shared expert counts with them.
        #expect((decode.weights / 1e9 - 24.1).magnitude < 0.3, "\(decode)")
        #expect((try design.prefillMemory().weights / 1e9 - 41.9).magnitude < 0.5)
    }

    @Test("an impossible day is a clear error")
    func bad() {
        expectFailure(.usage, naming: ["demand", "weights"]) { () throws(FathomError) in
            _ = try DemandCurve(weights: [0, 0], seconds: 10)
        }
        expectFailure(.usage, naming: ["hits", "tokens"]) { () throws(FathomError) in
            _ = try RequestPopulation.calibrated(
                to: TokenTotals(input: 10, hits: 20, output: 1), meanCachedTokens: 100)
        }
    }
}
