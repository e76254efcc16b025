// SPDX-License-Identifier: MIT

import ArgumentParser
import DeepSeekModel
import Planner
import Platform

/// A request trace: what a prefix cache would have of it, and how a fleet would serve it.
struct PlanTrace: ParsableCommand, TracedCommand {
    static let configuration = CommandConfiguration(
        commandName: "trace",
        abstract: "Replay a request trace: hit rates by size of the prefix cache, and a fleet that serves it.",
        discussion: """
            Reads Mooncake's format, JSON lines with timestamp (ms), input_length, output_length and hash_ids. The \
            cache forgets the least recently used block. The fleet keeps its size.

            EXAMPLES
              gzip -dc trace.jsonl.gz | fathom plan trace --input -
              fathom plan trace --input trace.jsonl --cache-blocks 50000 --prefill-units 2 --prefill-gpus 16 --json
            """)

    @Option(help: ArgumentHelp("JSON lines; - is standard input.", valueName: "file"), completion: .file())
    var input: String

    @Option(
        help: ArgumentHelp("Sizes of the prefix cache to try, in blocks, separated by commas.", valueName: "list"))
    var cacheBlocks = "1000,10000,50000,100000"

    @Option(help: ArgumentHelp("Tokens of a block.", valueName: "tokens"))
    var blockTokens = RequestTrace.mooncakeBlockTokens

    @OptionGroup(title: "Target") var target: PlanTargetOptions

    @Option(help: ArgumentHelp("Prefill units of the fleet.", valueName: "n"))
    var prefillUnits = 1

    @Option(help: ArgumentHelp("GPUs of a prefill unit; 32 where left out.", valueName: "n"))
    var prefillGpus: Int?

    @Option(help: ArgumentHelp("Decode units of the fleet.", valueName: "n"))
    var decodeUnits = 1

    @Option(help: ArgumentHelp("GPUs of a decode unit; 32 where left out.", valueName: "n"))
    var decodeGpus: Int?

    @Option(help: ArgumentHelp("Chooses the loads of experts.", valueName: "n"))
    var seed: UInt64 = 1

    @OptionGroup var output: OutputOptions

    @OptionGroup var tracing: TraceOptions

    func run() throws {
        try LegalRange.check("--block-tokens", blockTokens, 1...65_536, unit: "tokens")
        try LegalRange.check("--prefill-units", prefillUnits, 1...1024, unit: "units")
        try LegalRange.check("--decode-units", decodeUnits, 1...1024, unit: "units")
        try LegalRange.check("--prefill-gpus", prefillGpus ?? 1, 1...4096, unit: "GPUs")
        try LegalRange.check("--decode-gpus", decodeGpus ?? 1, 1...4096, unit: "GPUs")
        let sizes = try blockCounts()
        let model = try target.costs()
        let trace = try RequestTrace(jsonLines: bytes(), source: input, blockTokens: blockTokens)
        let perBlock = blockTokens * model.cacheBytesPerToken()
        var caches = sizes.map {
            CacheLine(blocks: $0, bytes: $0 * perBlock, hitRate: trace.traced(cacheBlocks: $0).hitRate)
        }
        let endless = trace.traced(cacheBlocks: nil)
        caches.append(CacheLine(blocks: nil, bytes: nil, hitRate: endless.hitRate))
        // The fleet has the largest of the caches.
        let requests = sizes.max().map { trace.traced(cacheBlocks: $0).requests } ?? endless.requests
        let design = try design(model)
        var simulation = try FleetSimulation(
            design: design, work: .trace(requests, seconds: trace.seconds + Self.drainSeconds), seed: seed)
        let day = try simulation.run()
        try Output.render(
            TraceReport(
                requests: trace.requests.count, seconds: trace.seconds, inputTokens: trace.inputTokens,
                outputTokens: trace.outputTokens, caches: caches, answers: day.answers, refused: day.refused,
                firstTokenSeconds: day.firstTokenSeconds, answerTokensPerSecond: day.answerSpeed,
                gpus: prefillUnits * design.prefill.ranks + decodeUnits * design.decode.ranks, dollars: day.cost),
            asJSON: output.json)
    }

    /// Seconds after the last arrival in which answers may end.
    private static let drainSeconds = 600.0

    private func design(_ model: ModelCosts) throws(FathomError) -> FleetDesign {
        let (hardware, rates) = try target.machine(for: model)
        let prefillGpus = try target.devices("--prefill-gpus", prefillGpus, default: 32, on: hardware)
        let decodeGpus = try target.devices("--decode-gpus", decodeGpus, default: 32, on: hardware)
        var prefill = PrefillUnitShape()
        var decode = DecodeUnitShape()
        (prefill.ranks, decode.ranks) = (prefillGpus, decodeGpus)
        if prefillGpus == 1 { prefill.communicationMultiprocessors = 0 }
        if model.configuration.routedExpertCount == 0 || hardware.isThisCPU {
            (prefill.redundantExperts, decode.redundantExperts) = (0, 0)
        }
        if model.configuration.predictionLayerCount == 0 { decode.tokensPerStep = 1 }
        if model.configuration.indexer != nil { decode.cacheFormat = .float8 }
        let nodes = hardware.gpusPerNode
        return FleetDesign(
            model: model, hardware: hardware, rates: rates, prefill: prefill, decode: decode,
            scaling: ScalingSteps(
                prefillUnitNodes: (prefillGpus + nodes - 1) / nodes, decodeUnitNodes: (decodeGpus + nodes - 1) / nodes,
                leastPrefillUnits: prefillUnits, leastDecodeUnits: decodeUnits, stepPrefillUnits: 0,
                stepDecodeUnits: 0, maximumSteps: 0))
    }

    private func blockCounts() throws(FathomError) -> [Int] {
        var counts: [Int] = []
        for text in cacheBlocks.split(separator: ",", omittingEmptySubsequences: false) {
            guard let count = Int(text), 1...1_000_000_000 ~= count else {
                throw FathomError(
                    .usage, "--cache-blocks has '\(text)'; legal are 1 to 1000000000 blocks, separated by commas")
            }
            counts.append(count)
        }
        return counts
    }

    private func bytes() throws(FathomError) -> [UInt8] {
        guard input == "-" else { return try MappedFile.read(path: input) }
        return Array(try LineReader.readAllText().utf8)
    }
}

/// One size of the cache.
private struct CacheLine: Encodable {
    /// nil for no limit.
    var blocks: Int?
    var bytes: Int?
    var hitRate: Double
}

/// What the trace came to.
private struct TraceReport: Report {
    var requests: Int
    var seconds: Double
    var inputTokens: Int
    var outputTokens: Int
    var caches: [CacheLine]
    var answers: Int
    var refused: Int
    /// 50, 90 and 99 % stay below.
    var firstTokenSeconds: [Double]
    var answerTokensPerSecond: Double
    var gpus: Int
    var dollars: Double

    var text: String {
        var table = Table([.right, .right, .right])
        table.add("cache blocks", "bytes", "hit rate")
        for cache in caches {
            table.add(
                cache.blocks.map(Quantity.grouped) ?? "no limit", cache.bytes.map { Quantity.bytes($0) } ?? "",
                "\(Quantity.decimal(cache.hitRate * 100, places: 1)) %")
        }
        let times = firstTokenSeconds.map { Quantity.decimal($0, places: 2) }.joined(separator: ", ")
        return """
            \(Quantity.grouped(requests)) requests in \(Quantity.decimal(seconds / 60, places: 1)) min: \
            \(Quantity.grouped(inputTokens)) tokens in, \(Quantity.grouped(outputTokens)) out

            \(table.text)

            \(gpus) GPUs: \(Quantity.grouped(answers)) answered, \(refused) refused; first token \(times) s \
            (50, 90, 99 % below); \(Quantity.decimal(answerTokensPerSecond, places: 1)) tokens/s an answer; \
            $\(Quantity.decimal(dollars, places: 2))
            """
    }
}
