// SPDX-License-Identifier: MIT

import ArgumentParser
import CUDA
import DeepGEMM
import FlashMLA
import Platform

/// How fast the GPU multiplies.
struct GPUBench: ParsableCommand, TracedCommand {
    static let configuration = CommandConfiguration(
        commandName: "bench",
        abstract: "Measure products and decoding on the GPU, beside its own copy bandwidth and predictions.",
        discussion: """
            The shapes of DeepGEMM's and FlashMLA's own tables. Events around each run, the cache flushed before it, \
            medians. Ends with status 69 without a Hopper GPU.

            EXAMPLES
              fathom gpu bench
              fathom gpu bench --m 64 --format bf16 --repetitions 50 --json
            """)

    @Option(help: ArgumentHelp("Rows of A: only shapes with so many.", valueName: "n"))
    var m: Int?

    @Option(help: ArgumentHelp("Only this format: fp8, bf16.", valueName: "name"))
    var format: String?

    @Option(help: ArgumentHelp("Timed runs of each shape.", valueName: "n"))
    var repetitions = 20

    @Flag(inversion: .prefixedNo, help: "Also decoding with latent attention.")
    var attention = true

    @OptionGroup var output: OutputOptions

    @OptionGroup var tracing: TraceOptions

    func validate() throws {
        guard (1...10_000).contains(repetitions) else {
            throw ValidationError("--repetitions is \(repetitions); 1…10000 is legal")
        }
        if let format, CUDAGemmConfiguration.Element(rawValue: format) == nil {
            throw ValidationError("--format is '\(format)'; fp8 and bf16 are legal")
        }
    }

    func run() throws {
        let library = try KernelLibrary(context: try DeviceContext())
        let device = try GemmDevice(library: library)
        let limits = try DeviceGemmBenchmark.limits(on: device)
        var rates: [GPUBenchReport.Rate] = []
        for shape in DeepGEMMTable.shapes
        where m.map({ $0 == shape.m }) ?? true && format.map({ $0 == shape.element.rawValue }) ?? true {
            let result = try DeviceGemmBenchmark.measure(shape, repetitions: repetitions, on: device)
            rates.append(GPUBenchReport.Rate(result, limits))
        }
        var decodes: [GPUBenchReport.Decode] = []
        if attention {
            let device = try MLADevice(library: library)
            for (heads, tokens) in [(16, 1), (64, 1), (128, 1), (128, 2)] {
                for length in [4096, 8192, 16384, 32768] {
                    let result = try DeviceDecodeBenchmark.measure(
                        requests: 128, tokens: tokens, heads: heads, length: length, repetitions: repetitions,
                        on: device)
                    decodes.append(GPUBenchReport.Decode(result, limits))
                }
            }
            for count in [2048, 32768] {
                let result = try DeviceDecodeBenchmark.measureSparse(
                    requests: 128, tokens: 2, heads: 128, count: count, repetitions: repetitions, on: device)
                decodes.append(GPUBenchReport.Decode(result, limits))
            }
        }
        try Output.render(
            GPUBenchReport(
                device: library.context.device.name, copyGigabytesPerSecond: limits.copyGigabytesPerSecond,
                float8Teraflops: limits.float8Teraflops, bfloat16Teraflops: limits.bfloat16Teraflops, rates: rates,
                decodes: decodes),
            asJSON: output.json)
    }
}

/// The shapes of DeepGEMM's table, FP8 first, then the dense ones in BF16.
private enum DeepGEMMTable {
    static let weights = [(2112, 7168), (24576, 1536), (32768, 512), (7168, 16384), (4096, 7168), (7168, 2048)]
    static let grouped = [(4096, 7168), (7168, 2048)]

    static var shapes: [CUDAGemmShape] { dense(.float8E4M3) + contiguous + masked + dense(.bfloat16) }

    private static func dense(_ element: CUDAGemmConfiguration.Element) -> [CUDAGemmShape] {
        [1, 64, 128, 4096].flatMap { m in
            weights.map { CUDAGemmShape(m: m, n: $0.0, k: $0.1, element: element) }
        }
    }

    private static var contiguous: [CUDAGemmShape] {
        [(4, 8192), (8, 4096)].flatMap { groups, rows in
            grouped.map { CUDAGemmShape(m: groups * rows, n: $0.0, k: $0.1, grouping: .ids, groups: groups) }
        }
    }

    private static var masked: [CUDAGemmShape] {
        [(1, 1024), (2, 512), (4, 256)].flatMap { groups, rows in
            grouped.map { CUDAGemmShape(m: rows, n: $0.0, k: $0.1, grouping: .masked, groups: groups) }
        }
    }
}

/// What was measured.
private struct GPUBenchReport: Report {
    struct Rate: Encodable {
        var format: String
        var grouping: String
        var groups: Int
        var m: Int
        var n: Int
        var k: Int
        var kernel: String
        var microseconds: Double
        var predictedMicroseconds: Double
        var teraflops: Double
        var gigabytesPerSecond: Double
        var fractionOfCopy: Double
        var fractionOfProducts: Double

        init(_ result: DeviceGemmBenchmark, _ limits: DeviceGemmBenchmark.Limits) {
            let shape = result.shape
            format = shape.element.rawValue
            grouping = "\(shape.grouping)"
            (groups, m, n, k) = (shape.groups, shape.m, shape.n, shape.k)
            kernel = result.kernel
            microseconds = result.seconds * 1e6
            predictedMicroseconds = result.predictedSeconds * 1e6
            teraflops = result.teraflops
            gigabytesPerSecond = result.gigabytesPerSecond
            fractionOfCopy = result.gigabytesPerSecond / limits.copyGigabytesPerSecond
            fractionOfProducts =
                result.teraflops
                / (shape.element == .float8E4M3 ? limits.float8Teraflops : limits.bfloat16Teraflops)
        }
    }

    /// 128 requests over a bfloat16 cache, or over lists of packed FP8 rows.
    struct Decode: Encodable {
        var cache: String
        var heads: Int
        var tokens: Int
        var length: Int
        var microseconds: Double
        var teraflops: Double
        var gigabytesPerSecond: Double
        var fractionOfCopy: Double

        init(_ result: DeviceDecodeBenchmark, _ limits: DeviceGemmBenchmark.Limits) {
            cache = result.isSparse ? "fp8 lists" : "bf16"
            (heads, tokens, length) = (result.heads, result.tokens, result.length)
            microseconds = result.seconds * 1e6
            teraflops = result.teraflops
            gigabytesPerSecond = result.gigabytesPerSecond
            fractionOfCopy = gigabytesPerSecond / limits.copyGigabytesPerSecond
        }
    }

    var device: String
    var copyGigabytesPerSecond: Double
    /// The tensor cores' rates without copies.
    var float8Teraflops: Double
    var bfloat16Teraflops: Double
    var rates: [Rate]
    var decodes: [Decode]

    private func percent(_ fraction: Double) -> String { "\(Quantity.decimal(fraction * 100, places: 0)) %" }

    var text: String {
        var table = Table([
            .left, .left, .right, .right, .right, .right, .right, .right, .right, .right, .right, .right, .left,
        ])
        table.add(
            "format", "rows", "groups", "m", "n", "k", "µs", "model", "TFLOPS", "of peak", "GB/s", "of copy",
            "kernel")
        for rate in rates {
            table.add(
                rate.format, rate.grouping, "\(rate.groups)", "\(rate.m)", "\(rate.n)", "\(rate.k)",
                Quantity.decimal(rate.microseconds, places: 1), Quantity.decimal(rate.predictedMicroseconds, places: 1),
                Quantity.decimal(rate.teraflops, places: 0), percent(rate.fractionOfProducts),
                Quantity.decimal(rate.gigabytesPerSecond, places: 0), percent(rate.fractionOfCopy), rate.kernel)
        }
        let fp8 = Quantity.decimal(float8Teraflops, places: 0)
        let bf16 = Quantity.decimal(bfloat16Teraflops, places: 0)
        let text = """
            \(device): \(Quantity.decimal(copyGigabytesPerSecond, places: 0)) GB/s copied, \(fp8) TFLOPS fp8 \
            and \(bf16) TFLOPS bf16 without copies

            \(table.text)
            """
        return decodes.isEmpty ? text : text + "\n\nDecoding, 128 requests\n\n" + attentionText
    }

    private var attentionText: String {
        var table = Table([.left, .right, .right, .right, .right, .right, .right, .right])
        table.add("cache", "heads", "tokens", "keys", "µs", "TFLOPS", "GB/s", "of copy")
        for decode in decodes {
            table.add(
                decode.cache, "\(decode.heads)", "\(decode.tokens)", "\(decode.length)",
                Quantity.decimal(decode.microseconds, places: 1), Quantity.decimal(decode.teraflops, places: 0),
                Quantity.decimal(decode.gigabytesPerSecond, places: 0), percent(decode.fractionOfCopy))
        }
        return table.text
    }
}
