// SPDX-License-Identifier: MIT

import ArgumentParser
import FlashMLA
import KernelDispatch
import Platform
import Workers

/// How fast latent attention decodes, and how fast variable-length attention runs forward and backward.
struct MLABench: ParsableCommand, TracedCommand {
    static let configuration = CommandConfiguration(
        commandName: "bench",
        abstract: "Measure attention, beside the machine's limits.",
        discussion: """
            Decode: 576-wide rows, 512-wide values, page 64; v32, model1, v41 and v41fp4 are packed FP8 and FP4 caches \
            of 656, 584, 528 and 288 bytes a token (the last three 512 wide). A bound is the larger of the times that \
            the operations need at multiply-add peak, or that of bfloat16 pairs where they serve, and the keys at \
            read bandwidth. 'drawn' are lengths from \
            1 to 32768, beside requests of equal length and the same total.

            EXAMPLES
              fathom mla bench
              fathom mla bench --heads 16 --lengths 4096,drawn --format bf16 --requests 16 --tokens 2
            """)

    @Option(help: ArgumentHelp("Query heads, separated by commas.", valueName: "list"))
    var heads = "16,128,1"

    @Option(help: ArgumentHelp("Keys of each request, or 'drawn', separated by commas.", valueName: "list"))
    var lengths = "4096,16384,drawn"

    @Option(help: ArgumentHelp("Formats of the cache, separated by commas.", valueName: "list"))
    var format = "bf16,fp16,fp32,v32"

    @Option(help: ArgumentHelp("Requests.", valueName: "n"))
    var requests = 8

    @Option(help: ArgumentHelp("Query tokens of each request.", valueName: "n"))
    var tokens = 1

    @Option(help: ArgumentHelp("Threads that compute; every core where left out.", valueName: "n"))
    var threads: Int?

    @Option(help: ArgumentHelp("Seconds of each case.", valueName: "s"))
    var seconds = 0.4

    @Flag(inversion: .prefixedNo, help: "Also 192/128-wide attention over packed requests, forward and backward.")
    var mha = true

    @Flag(
        inversion: .prefixedNo,
        help: "Also sparse decoding over lists of 2048 rows, in bfloat16 and in the FP8 formats.")
    var sparse = true

    @Flag(help: "One small call of each format, to see that it works.")
    var smoke = false

    @OptionGroup var output: OutputOptions

    @OptionGroup var tracing: TraceOptions

    func validate() throws {
        if MLA.numbers(heads, from: 1) == nil { throw ValidationError("--heads is a list of numbers from 1") }
        for length in lengths.split(separator: ",") where length != "drawn" {
            if !(0...1 << 24).contains(Int(length) ?? -1) {
                throw ValidationError("--lengths is a list of numbers from 0 to 2^24 or 'drawn', found '\(length)'")
            }
        }
        let formats = ["bf16", "fp16", "fp32"] + PackedLatentFormat.allCases.map(\.rawValue)
        for format in format.split(separator: ",").map(String.init) where !formats.contains(format) {
            throw ValidationError(
                "--format is a list of \(formats.joined(separator: ", ")), found '\(format)'")
        }
        if !(1...1 << 16).contains(requests) || !(1...1 << 10).contains(tokens) || threads ?? 1 < 1
            || !(0...3600).contains(seconds)
        {
            throw ValidationError(
                "--requests is from 1 to 2^16, --tokens from 1 to 2^10, --threads 1 or more, --seconds up to 3600")
        }
    }

    func run() throws {
        let context = try ComputeContext(threadCount: threads ?? Machine.coreCount)
        var limits = try MachineLimits.measure(on: context)
        var results: [Measurement] = []
        for format in format.split(separator: ",").map(String.init) {
            for heads in (MLA.numbers(heads, from: 1) ?? []).prefix(smoke ? 1 : .max) {
                for length in lengths.split(separator: ",").map(String.init).prefix(smoke ? 1 : .max) {
                    results += try measure(length, heads: heads, format: format, context)
                }
            }
        }
        let listed = sparse ? try measureSparse(context) : []
        let packed = mha ? try measureMHA(context) : []
        // What else runs on a shared machine may have left before the end: the better of two looks at the limits.
        limits = limits.better(try MachineLimits.measure(on: context))
        try Output.render(
            MLASpeed(
                isa: context.level.rawValue, threads: context.team.threadCount, machine: limits,
                decode: results.map {
                    MLASpeed.Case(
                        lengths: $0.lengths, result: $0.result, machine: limits, speedOfEqual: $0.speedOfEqual)
                },
                sparse: listed.map { MLASpeed.SparseCase(format: $0.name, result: $0.result, machine: limits) },
                mha: packed), asJSON: output.json)
    }

    /// A case before it stands beside the machine's limits.
    private struct Measurement {
        var lengths: String
        var result: DecodeBenchmark
        var speedOfEqual: Double?
    }

    /// One case; drawn lengths are measured in turn with equal ones of the same total.
    private func measure(
        _ name: String, heads: Int, format: String, _ context: ComputeContext
    ) throws -> [Measurement] {
        var lengths = [[Int32]]()
        var names = [name]
        if let length = Int32(name) {
            lengths = [Array(repeating: smoke ? min(length, 600) : length, count: smoke ? 2 : requests)]
        } else {
            var generator = LengthGenerator()
            let drawn = (0..<requests).map { _ in Int32.random(in: 1...(smoke ? 600 : 32768), using: &generator) }
            let total = drawn.reduce(0, { $0 + Int($1) })
            lengths = [drawn, Array(repeating: Int32(total / requests), count: requests)]
            names.append("mean of drawn")
        }
        let results = try DecodeBenchmark.measure(
            lengths.map {
                DecodeBenchmark.Shape(
                    lengths: $0, tokens: tokens, heads: heads,
                    rowWidth: PackedLatentFormat(rawValue: format)?.rowWidth ?? 576, format: format)
            }, minimumSeconds: smoke ? 0 : seconds, on: context)
        return zip(names, results).enumerated().map { index, pair in
            Measurement(
                lengths: pair.0, result: pair.1,
                speedOfEqual: index == 0 && results.count == 2 ? results[0].gigaflops / results[1].gigaflops : nil)
        }
    }

    private func measureSparse(_ context: ComputeContext) throws -> [(name: String, result: SparseBenchmark)] {
        let formats: [(name: String, format: SparsePool.Format)] = [
            ("bf16", .bfloat16), ("v3.2 fp8", .packed(.v32)), ("model1 fp8", .packed(.model1)),
        ]
        return try formats.flatMap { name, format in
            try (MLA.numbers(heads, from: 1) ?? []).prefix(smoke ? 1 : .max).map { heads in
                let shape = SparseBenchmark.Shape(
                    requests: smoke ? 1 : 4, tokens: 1, heads: heads, topK: smoke ? 64 : 2048, format: format,
                    pageSize: 64, poolRows: smoke ? 128 : 32768)
                return (
                    name, try SparseBenchmark.measure(shape, minimumSeconds: smoke ? 0 : seconds, on: context)
                )
            }
        }
    }

    private func measureMHA(_ context: ComputeContext) throws -> [MHABenchmark] {
        let length = smoke ? 64 : 1024
        let shape = MHABenchmark.Shape(
            queryLength: length, keyLength: length, heads: smoke ? 2 : 16, keyHeads: smoke ? 2 : 16, width: 192,
            valueWidth: 128, isCausal: true, isBFloat16: true)
        return try [false, true].map {
            try MHABenchmark.measure(
                shape, isBackward: $0, minimumSeconds: smoke ? 0 : seconds, on: context)
        }
    }
}

/// The same lengths every time: a linear congruential generator.
private struct LengthGenerator: RandomNumberGenerator {
    private var state: UInt64 = 0x2545_F491_4F6C_DD1D

    mutating func next() -> UInt64 {
        state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
        return state ^ (state >> 29)
    }
}
