// SPDX-License-Identifier: MIT

import ArgumentParser
import DeepSeekModel
import Planner
import Platform

/// What binds a deployment.
struct PlanExplain: ParsableCommand, TracedCommand {
    static let configuration = CommandConfiguration(
        commandName: "explain",
        abstract: "Show what a layer of prefill and of decode is made of, and what binds it.",
        discussion: """
            Every stage with its predicted time and what limits it, the memory of a GPU, and how much faster a layer \
            would be with 10 % more of each part of the hardware. The defaults are DeepSeek's published deployment; \
            this-cpu is this machine, measured first, and one device.

            EXAMPLES
              fathom plan explain
              fathom plan explain --model deepseek-v3.2 --hardware h200 --decode-gpus 64 --context 32768 --json
            """)

    @OptionGroup(title: "Target") var target: PlanTargetOptions

    @Option(help: ArgumentHelp("GPUs of a prefill unit; 32 where left out.", valueName: "n"))
    var prefillGpus: Int?

    @Option(help: ArgumentHelp("GPUs of a decode unit; 144 where left out.", valueName: "n"))
    var decodeGpus: Int?

    @Option(help: ArgumentHelp("Redundant experts of each unit; 32 where left out.", valueName: "n"))
    var redundantExperts: Int?

    @Option(help: ArgumentHelp("Computed tokens of a GPU in a prefill pass.", valueName: "tokens"))
    var passTokens = 16_384

    @Option(help: ArgumentHelp("Length of a prompt.", valueName: "tokens"))
    var promptTokens = 4096

    @Option(help: ArgumentHelp("Requests of a decode GPU.", valueName: "n"))
    var requests = 128

    @Option(help: ArgumentHelp("Tokens in the cache of a request.", valueName: "tokens"))
    var context = 4989

    @Flag(help: "Without drafts of the prediction layer.")
    var noDrafts = false

    @OptionGroup var output: OutputOptions

    @OptionGroup var tracing: TraceOptions

    func run() throws {
        let model = try target.costs()
        let longest = model.configuration.contextLength
        try LegalRange.check("--redundant-experts", redundantExperts ?? 0, 0...4096, unit: "experts")
        try LegalRange.check("--pass-tokens", passTokens, 2...1_048_576, unit: "tokens")
        try LegalRange.check("--prompt-tokens", promptTokens, 1...longest, unit: "tokens")
        try LegalRange.check("--requests", requests, 1...4096, unit: "requests")
        try LegalRange.check("--context", context, 1...longest, unit: "tokens")
        let (hardware, rates) = try target.machine(for: model)
        let prefillGpus = try target.devices("--prefill-gpus", prefillGpus, default: 32, on: hardware)
        let decodeGpus = try target.devices("--decode-gpus", decodeGpus, default: 144, on: hardware)
        let redundantExperts = redundantExperts ?? (hardware.isThisCPU ? 0 : 32)
        let hasDrafts = !noDrafts && model.configuration.predictionLayerCount > 0
        var decodeShape = DecodeUnitShape()
        decodeShape.ranks = decodeGpus
        decodeShape.redundantExperts = model.configuration.routedExpertCount > 0 ? redundantExperts : 0
        decodeShape.tokensPerStep = hasDrafts ? 2 : 1
        if model.configuration.indexer != nil { decodeShape.cacheFormat = .float8 }
        var prefillShape = PrefillUnitShape()
        prefillShape.ranks = prefillGpus
        prefillShape.redundantExperts = decodeShape.redundantExperts
        prefillShape.tokensPerPass = passTokens
        if prefillGpus == 1 { prefillShape.communicationMultiprocessors = 0 }
        let design = FleetDesign(
            model: model, hardware: hardware, rates: rates, prefill: prefillShape, decode: decodeShape,
            scaling: PublishedDay.scaling)
        let decodeMemory = try design.decodeMemory(neededTokens: Double(requests * context))
        let prefillMemory = try design.prefillMemory()
        let prefillWork = PrefillTimes.Work(
            ranks: prefillGpus, redundantExperts: prefillShape.redundantExperts, tokens: Double(passTokens) / 2,
            meanKeys: Double(promptTokens + 1) / 2,
            communicationMultiprocessors: prefillShape.communicationMultiprocessors)
        let decodeWork = DecodeTimes.Work(
            ranks: decodeGpus, redundantExperts: decodeShape.redundantExperts, requests: Double(requests) / 2,
            context: Double(context), tokensPerStep: decodeShape.tokensPerStep, cacheFormat: decodeShape.cacheFormat)
        let prefill = PrefillTimes(prefillWork, of: model, on: hardware, rates: rates)
        let decode = DecodeTimes(decodeWork, of: model, on: hardware, rates: rates)
        let step = decode.stepSeconds(of: model)
        try Output.render(
            ExplainReport(
                model: target.model, hardware: hardware.name, prefill: prefill, decode: decode,
                prefillTokensPerSecond: Double(passTokens) / prefill.seconds(of: model),
                decodeTokensPerSecond: Double(requests) * decodeShape.yield / step,
                answerTokensPerSecond: decodeShape.yield / step, prefillMemory: prefillMemory,
                decodeMemory: decodeMemory,
                sensitivity: Sensitivity.all(
                    prefill: prefillWork, decode: decodeWork, of: model, on: hardware, rates: rates),
                rates: "\(rates.source); \(rates.defaults)"),
            asJSON: output.json)
    }
}

/// Stages, memory, sensitivities.
private struct ExplainReport: Report {
    var model: String
    var hardware: String
    var prefill: PrefillTimes
    var decode: DecodeTimes
    var prefillTokensPerSecond: Double
    var decodeTokensPerSecond: Double
    var answerTokensPerSecond: Double
    var prefillMemory: MemoryBudget
    var decodeMemory: MemoryBudget
    var sensitivity: [Sensitivity]
    var rates: String

    var text: String {
        var gains = Table([.left, .right, .right])
        gains.add("10 % more", "prefill", "decode")
        for one in sensitivity { gains.add(one.part, saved(one.prefill), saved(one.decode)) }
        return """
            \(model) on \(hardware)

            prefill, EP\(prefill.work.ranks): \(rate(prefillTokensPerSecond)) tokens/s a GPU, computed
            \(stages(prefill.stages, layer: prefill.secondsPerLayer))
            \(memory(prefillMemory))

            decode, EP\(decode.work.ranks): \(rate(decodeTokensPerSecond)) tokens/s a GPU, \
            \(Quantity.decimal(answerTokensPerSecond, places: 1)) tokens/s an answer
            \(stages(decode.stages, layer: decode.secondsPerLayer))
            \(memory(decodeMemory))

            a layer becomes faster by
            \(gains.text)

            predicted for balanced experts from \(rates)
            """
    }

    private func stages(_ stages: [Stage], layer: Double) -> String {
        var table = Table([.left, .left, .right, .left, .left])
        let longest = stages.map(\.seconds).max() ?? 1
        for part in Stage.Part.allCases {
            for (index, stage) in stages.filter({ $0.part == part }).enumerated() {
                table.add(
                    index == 0 ? "  " + part.rawValue : "", stage.name,
                    Quantity.decimal(stage.seconds * 1e6, places: 1) + " µs", stage.bound.rawValue,
                    Bar.text(stage.seconds / longest, width: 24))
            }
        }
        let hidden = stages.seconds(communication: true)
        let exposed = max(0, layer - stages.seconds(communication: false))
        return table.text + "\n  layer: \(Quantity.decimal(layer * 1e6, places: 0)) µs a micro-batch, "
            + "\(Quantity.decimal(exposed * 1e6, places: 0)) of \(Quantity.decimal(hidden * 1e6, places: 0)) µs of "
            + "exchange not hidden"
    }

    private func memory(_ budget: MemoryBudget) -> String {
        func gigabytes(_ bytes: Double) -> String { Quantity.decimal(bytes / 1e9, places: 1) }
        return "  memory: \(gigabytes(budget.weights)) GB of weights and \(gigabytes(budget.reserve)) GB of reserve of "
            + "\(gigabytes(budget.total)) GB leave \(Quantity.grouped(Int(budget.cacheTokens))) tokens of cache; "
            + "\(Quantity.grouped(Int(budget.neededTokens))) are needed"
    }

    private func rate(_ value: Double) -> String { Quantity.grouped(Int(value.rounded())) }

    private func saved(_ fraction: Double) -> String { "\(Quantity.decimal(fraction * 100, places: 1)) %" }
}
