// SPDX-License-Identifier: MIT

public import Platform

/// The published day simulated, with its figures beside the published ones.
public struct DaySimulation: Sendable {
    public let design: FleetDesign
    public let population: RequestPopulation
    public let day: FleetDay

    /// How far a simulated figure may be off.
    public static let tolerance = 0.05

    /// Simulates the published deployment under the published demand.
    ///
    /// - Parameter progress: told the seconds that are done.
    public init(
        design: FleetDesign, seed: UInt64, progress: (Double) -> Void = { _ in }
    ) throws(FathomError) {
        let totals = PublishedDay.tokens
        let population = try RequestPopulation.calibrated(
            to: totals, meanCachedTokens: PublishedDay.meanCachedTokens)
        let curve = try DemandCurve(weights: PublishedDay.hourlyIncome, seconds: PublishedDay.nodes.seconds)
        var simulation = try FleetSimulation(
            design: design, work: .population(population, promptTokens: totals.input, curve: curve), seed: seed)
        self.design = design
        self.population = population
        day = try simulation.run(progress: progress)
    }

    /// What goes in.
    public var inputs: FigureGroup {
        let (p, rules) = (population, design.rules)
        return FigureGroup(
            "Inputs of the simulation",
            [
                Figure(
                    "demand", 24, unit: "hours", basis: .input,
                    note: "published income of each hour, scaled to the published input tokens"),
                Figure("scaling steps", 8, unit: "fleets", basis: .input, note: "68, 98, … 278 nodes, as published"),
                Figure(
                    "answer speed to keep", rules.answerSpeed, unit: "tokens/s", basis: .input,
                    note: "published 20–22"),
                Figure(
                    "draft acceptance", design.decode.acceptance * 100, unit: "%", basis: .input,
                    note: "85 to 90 % in the V3 report"),
                Figure("headroom", rules.headroom * 100, unit: "%", basis: .input, note: "assumption; try --headroom"),
                Figure("time to start a unit", rules.startSeconds, unit: "s", basis: .input, note: "assumption"),
                Figure(
                    "spread of experts' loads", rules.loadDeviation, unit: "σ of ln", basis: .input,
                    note: "assumption; it drifts by \(rules.loadDrift) in ten minutes"),
                Figure("pause between turns", p.pauseSeconds, unit: "s, median", basis: .input, note: "assumption"),
                Figure(
                    "prompt, mean", p.promptTokens, unit: "tokens", basis: .calibrated,
                    note: "from input : output and the 4,989 tokens of cache"),
                Figure("… new text", p.newTokens, unit: "tokens", basis: .calibrated, note: "from the hit rate"),
                Figure("answer, mean", p.outputTokens, unit: "tokens", basis: .calibrated),
                Figure(
                    "another turn follows", p.continuation * 100, unit: "%", basis: .calibrated,
                    note: "from the hit rate"),
            ])
    }

    /// What comes out.
    public var results: FigureGroup {
        let prices = TokenPrices.deepSeekR1
        let income = prices.income(day.tokens)
        let speed = (PublishedDay.outputSpeed.lowerBound + PublishedDay.outputSpeed.upperBound) / 2
        return FigureGroup(
            "Simulated day, held to 5 %",
            [
                simulated(
                    "average nodes", day.nodes.mean, "nodes", PublishedDay.averageNodes,
                    "with units that start and drain"),
                simulated("… decode", day.decodeNodes, "nodes", PublishedDay.averageDecodeNodes, ""),
                simulated("… prefill", day.prefillNodes, "nodes", PublishedDay.averagePrefillNodes, ""),
                Figure(
                    "input served", day.tokens.input, unit: "tokens", basis: .calibrated,
                    published: PublishedDay.tokens.input, tolerance: PublishedDay.tokens.input * Self.tolerance,
                    note: "asked for by construction: shows that the fleet keeps up"),
                simulated(
                    "output served", day.tokens.output, "tokens", PublishedDay.tokens.output,
                    "follows from input : output"),
                Figure(
                    "hit rate", day.tokens.hitRate * 100, unit: "%", basis: .calibrated,
                    published: PublishedDay.hitRate * 100, tolerance: PublishedDay.hitRate * 100 * Self.tolerance,
                    note: "of conversations chosen to have it; less units of 64 and what was forgotten"),
                simulated(
                    "prefill per node", day.prefillRate, "tokens/s", PublishedDay.prefillTokensPerSecondPerNode, ""),
                simulated(
                    "decode per node", day.decodeRate, "tokens/s", PublishedDay.decodeTokensPerSecondPerNode, ""),
                simulated("cost", day.cost, "$/day", PublishedDay.cost, ""),
                simulated("income at list prices", income, "$/day", PublishedDay.income, ""),
                simulated(
                    "profit margin", (income / day.cost - 1) * 100, "%", PublishedDay.profitMargin * 100, ""),
                simulated(
                    "answer speed", day.answerSpeed, "tokens/s", speed, "published 20–22; from predicted steps"),
                Figure(
                    "tokens in a request's cache", day.meanCachedTokens, unit: "tokens", basis: .calibrated,
                    published: PublishedDay.meanCachedTokens,
                    tolerance: PublishedDay.meanCachedTokens * Self.tolerance),
            ])
    }

    /// What was not published.
    public var details: FigureGroup {
        func plain(_ name: String, _ value: Double, _ unit: String, _ note: String = "") -> Figure {
            Figure(name, value, unit: unit, basis: .simulated, note: note)
        }
        let peak = day.quarters.map(\.nodes).max() ?? 0
        return FigureGroup(
            "Further figures of the simulated day",
            [
                plain("answers", Double(day.answers), "answers"),
                plain("refused", Double(day.refused), "requests"),
                plain("peak nodes", peak, "nodes"),
                plain("first token, median", day.firstTokenSeconds[0], "s", "queue and prefill"),
                plain("… 99 % below", day.firstTokenSeconds[2], "s"),
                plain("fullest cache of a unit over mean", day.cacheSpread, "", "decode balancer"),
                plain("fullest pass over mean", day.passSpread, "", "prefill balancer"),
                plain("hottest GPU's experts over mean, prefill", day.expertImbalance[0], "", "EPLB, 288 on 32"),
                plain("… decode", day.expertImbalance[1], "", "EPLB, 288 on 144"),
            ])
    }

    private func simulated(
        _ name: String, _ value: Double, _ unit: String, _ published: Double, _ note: String
    ) -> Figure {
        Figure(
            name, value, unit: unit, basis: .simulated, published: published,
            tolerance: published * Self.tolerance, note: note)
    }
}
