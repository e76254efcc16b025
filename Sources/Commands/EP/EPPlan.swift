// SPDX-License-Identifier: MIT

import ArgumentParser
import DeepEP
import Platform

/// What a shape needs.
struct EPPlan: ParsableCommand, TracedCommand {
    static let configuration = CommandConfiguration(
        commandName: "plan",
        abstract: "Show what a shape sends, reserves and asks of a GPU.",
        discussion: """
            Traffic is for each byte that a rank receives, with uniform choices; multiprocessors are those of the \
            original's analytic planner.

            EXAMPLES
              fathom ep plan --ranks 8
              fathom ep plan --ranks 16 --nodes 2 --tokens 4096 --json
            """)

    @Option(help: ArgumentHelp("Ranks in all.", valueName: "n"))
    var ranks = 8

    @Option(help: ArgumentHelp("Nodes that share the ranks equally.", valueName: "n"))
    var nodes = 1

    @Option(help: ArgumentHelp("Tokens of each rank.", valueName: "n"))
    var tokens = 4096

    @Option(help: ArgumentHelp("Numbers of a token.", valueName: "n"))
    var hidden = 7168

    @Option(help: ArgumentHelp("Experts that each token chooses.", valueName: "n"))
    var topK = 8

    @Option(help: ArgumentHelp("Experts in all.", valueName: "n"))
    var experts = 256

    @Option(help: ArgumentHelp("A rank's network card, in GB/s.", valueName: "rate"))
    var rdma = 50.0

    @Option(help: ArgumentHelp("A rank's NVLink, in GB/s.", valueName: "rate"))
    var nvlink = 430.0

    @OptionGroup var output: OutputOptions

    @OptionGroup var tracing: TraceOptions

    func validate() throws {
        guard ranks >= 1, ranks <= ExpertPlacement.maximumRanks, nodes >= 1, ranks % nodes == 0 else {
            throw ValidationError("--ranks \(ranks) on --nodes \(nodes): nodes share the ranks equally")
        }
        guard tokens >= 1, tokens <= 1 << 20 else { throw ValidationError("--tokens is \(tokens); 1 to 1048576") }
    }

    func run() throws {
        let placement = try ExpertPlacement(rankCount: ranks, ranksPerNode: ranks / nodes, expertCount: experts)
        let format = try RowFormat(hidden: hidden, element: .bfloat16)
        let plan = try CommunicationPlan(
            .init(
                scaleOut: nodes, scaleUp: ranks / nodes, experts: experts, topK: topK, rdmaGigabytesPerSecond: rdma,
                nvlinkGigabytesPerSecond: nvlink))
        // Nothing where so many tokens have no place in one address space.
        let lowLatency = try? LowLatencyShape(
            placement: placement, hidden: hidden, element: .float8E4M3(.float32), topK: topK, tokensPerRank: tokens)
        let capacity = try ExchangeCapacity.fitting(tokensPerRank: tokens, rankCount: ranks)
        try Output.render(
            PlanReport(
                plan: plan,
                exchangeBytes: BufferSizes.exchange(
                    placement: placement, format: format, topK: topK, capacity: capacity, twoHop: nodes > 1),
                elasticBytes: BufferSizes.elastic(
                    ranks: ranks, nodes: nodes, tokensPerRank: tokens, format: format, topK: topK),
                lowLatencyBytes: BufferSizes.lowLatency(tokensPerRank: tokens, hidden: hidden, experts: experts),
                lowLatencyExchangeBytes: lowLatency.map(BufferSizes.lowLatencyExchange)),
            asJSON: output.json)
    }
}

/// The plan and the sizes.
private struct PlanReport: Report {
    var plan: CommunicationPlan
    var exchangeBytes: Int
    var elasticBytes: Int
    var lowLatencyBytes: Int
    /// What a low-latency exchange shares here; nothing for a shape that it cannot have.
    var lowLatencyExchangeBytes: Int?

    var text: String {
        func decimal(_ value: Double) -> String { Quantity.decimal(value, places: 3) }
        return """
            a token goes to \(decimal(plan.ranksPerToken)) ranks on \(decimal(plan.nodesPerToken)) nodes
            for each byte received: \(decimal(plan.read)) read, \(decimal(plan.write)) written, \
            \(decimal(plan.rdma)) over RDMA, \(decimal(plan.nvlink)) over NVLink
            on a GPU: \(plan.multiprocessors) multiprocessors
            shared at each rank here: \(Quantity.bytes(exchangeBytes)) of address space, rows in BF16; \
            low latency with FP8 \(lowLatencyExchangeBytes.map { Quantity.bytes($0) } ?? "has no room")
            the original reserves: elastic \(Quantity.bytes(elasticBytes)), low latency \
            \(Quantity.bytes(lowLatencyBytes))
            """
    }
}
