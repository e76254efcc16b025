// SPDX-License-Identifier: MIT

/// The published day recomputed from its own inputs: arithmetic, no model. Every result carries how far the rounding of
/// its inputs may move it.
public struct DayClosedForms: Sendable {
    public var tokens: TokenTotals
    /// To what each of the totals is rounded, in tokens.
    public var tokenRounding: Double
    public var prices: TokenPrices
    public var nodes: NodeSchedule
    public var scaling: ScalingSteps
    public var gpusPerNode: Int
    public var dollarsPerGPUHour: Double
    /// Bytes that one token keeps in the cache.
    public var cacheBytesPerToken: Int

    /// - Parameter cacheBytesPerToken: of the model that ran; 70,272 for V3 and R1 in bfloat16.
    public static func published(cacheBytesPerToken: Int) -> DayClosedForms {
        DayClosedForms(
            tokens: PublishedDay.tokens, tokenRounding: PublishedDay.tokenRounding, prices: .deepSeekR1,
            nodes: PublishedDay.nodes, scaling: PublishedDay.scaling, gpusPerNode: PublishedDay.gpusPerNode,
            dollarsPerGPUHour: PublishedDay.dollarsPerGPUHour, cacheBytesPerToken: cacheBytesPerToken)
    }

    /// Nodes, mean over the day.
    public var averageNodes: Double { nodes.mean }
    /// Decode nodes, mean over the day.
    public var averageDecodeNodes: Double { nodes.mean { Double(scaling.decodeNodes(of: $0)) } }
    /// Prefill nodes, mean over the day.
    public var averagePrefillNodes: Double { averageNodes - averageDecodeNodes }
    /// Hours of all GPUs.
    public var gpuHours: Double { averageNodes * Double(gpusPerNode) * nodes.seconds / 3600 }
    /// Dollars of rent.
    public var cost: Double { gpuHours * dollarsPerGPUHour }
    /// Dollars, if all were sold at the list.
    public var income: Double { prices.income(tokens) }
    /// Income over cost, less one.
    public var profitMargin: Double { income / cost - 1 }
    /// Tokens per second of a prefill node, hits included.
    public var prefillRate: Double { tokens.input / nodes.seconds / averagePrefillNodes }
    /// Tokens per second of a prefill node that it computes.
    public var computedPrefillRate: Double { tokens.misses / nodes.seconds / averagePrefillNodes }
    /// Tokens per second of a decode node.
    public var decodeRate: Double { tokens.output / nodes.seconds / averageDecodeNodes }

    /// How far half a unit of rounding in each total moves the income, in dollars.
    private var incomeRounding: Double {
        let half = tokenRounding / 2 / 1e6
        return half * (prices.miss + (prices.hit - prices.miss).magnitude + prices.output)
    }

    /// What goes in.
    public var inputs: FigureGroup {
        FigureGroup(
            "Inputs: published, or read off published figures",
            [
                Figure("input tokens", tokens.input, unit: "tokens", basis: .input),
                Figure("… of which hit the cache", tokens.hits, unit: "tokens", basis: .input),
                Figure("output tokens", tokens.output, unit: "tokens", basis: .input),
                Figure(
                    "peak nodes", Double(nodes.steps.map(\.nodes).max() ?? 0), unit: "nodes", basis: .input,
                    note: "12 steps read off the node plot; 8 GPUs a node"),
                Figure("rent", dollarsPerGPUHour, unit: "$/GPU-hour", basis: .input),
                Figure("price of a hit", prices.hit, unit: "$/M tokens", basis: .input),
                Figure("price of a miss", prices.miss, unit: "$/M tokens", basis: .input),
                Figure("price of output", prices.output, unit: "$/M tokens", basis: .input),
                Figure(
                    "prefill unit", Double(scaling.prefillUnitNodes), unit: "nodes", basis: .input, note: "EP32, DP32"),
                Figure(
                    "decode unit", Double(scaling.decodeUnitNodes), unit: "nodes", basis: .input, note: "EP144, DP144"),
                Figure(
                    "cache", Double(cacheBytesPerToken), unit: "B/token", basis: .input, note: "config.json, bfloat16"),
            ])
    }

    /// What follows.
    public var results: FigureGroup {
        let half = tokenRounding / 2
        let (day, cost, income) = (nodes.seconds, cost, income)
        return FigureGroup(
            "Closed forms: arithmetic on the inputs, held to the rounding of the inputs",
            [
                closed(
                    "average nodes", averageNodes, "nodes", PublishedDay.averageNodes, 0, "mean of the step plot"),
                closed(
                    "… decode", averageDecodeNodes, "nodes", PublishedDay.averageDecodeNodes, 0,
                    "steps of 1 decode and 3 prefill units on 2 and 8"),
                closed(
                    "… prefill", averagePrefillNodes, "nodes", PublishedDay.averagePrefillNodes, 0, "the rest"),
                closed(
                    "hit rate", tokens.hitRate * 100, "%", PublishedDay.hitRate * 100,
                    100 * (half / tokens.input * (1 + tokens.hitRate)) + 0.05, "hits / input"),
                closed(
                    "prefill per node", prefillRate, "tokens/s", PublishedDay.prefillTokensPerSecondPerNode,
                    half / day / averagePrefillNodes + 50, "input / 86,400 s / prefill nodes"),
                closed(
                    "decode per node", decodeRate, "tokens/s", PublishedDay.decodeTokensPerSecondPerNode,
                    half / day / averageDecodeNodes + 50, "output / 86,400 s / decode nodes"),
                closed("cost", cost, "$/day", PublishedDay.cost, 0.5, "nodes × 8 × 24 h × rent"),
                closed(
                    "income at list prices", income, "$/day", PublishedDay.income, incomeRounding,
                    "hits, misses and output at their prices"),
                closed(
                    "profit margin", profitMargin * 100, "%", PublishedDay.profitMargin * 100,
                    incomeRounding / cost * 100 + 0.5, "income / cost − 1"),
                closed(
                    "profit margin, published income", (PublishedDay.income / cost - 1) * 100, "%",
                    PublishedDay.profitMargin * 100, 0.5, "562,027 / cost − 1"),
                derived("income at V3's prices", TokenPrices.deepSeekV3.income(tokens), "$/day", "the same tokens"),
                derived("computed by a prefill node", computedPrefillRate, "tokens/s", "misses only"),
                derived(
                    "cost of prefill", averagePrefillNodes / averageNodes * cost / tokens.input * 1e6, "$/M tokens",
                    "of input, hits included"),
                derived(
                    "cost of decode", averageDecodeNodes / averageNodes * cost / tokens.output * 1e6, "$/M tokens", ""),
                derived(
                    "requests of a decode GPU", requestsPerDecodeGPU, "requests",
                    "tokens/s of a GPU / 21 tokens/s of an answer"),
                derived(
                    "cache of a decode GPU",
                    requestsPerDecodeGPU * PublishedDay.meanCachedTokens * Double(cacheBytesPerToken) / 1e9, "GB",
                    "… × 4,989 tokens × bytes per token"),
            ])
    }

    /// Requests that a decode GPU holds on average, by Little's law at the published speed of an answer.
    public var requestsPerDecodeGPU: Double {
        let speed = (PublishedDay.outputSpeed.lowerBound + PublishedDay.outputSpeed.upperBound) / 2
        return decodeRate / Double(gpusPerNode) / speed
    }

    private func closed(
        _ name: String, _ value: Double, _ unit: String, _ published: Double, _ tolerance: Double, _ note: String
    ) -> Figure {
        Figure(
            name, value, unit: unit, basis: .closedForm, published: published, tolerance: tolerance, note: note)
    }

    private func derived(_ name: String, _ value: Double, _ unit: String, _ note: String) -> Figure {
        Figure(name, value, unit: unit, basis: .closedForm, note: note)
    }
}
