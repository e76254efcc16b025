// SPDX-License-Identifier: MIT

import ArgumentParser
import Platform
import Tokenizers

/// How fast a tokenizer loads, encodes and decodes.
struct BenchTokenizer: ParsableCommand, TracedCommand {
    static let configuration = CommandConfiguration(
        commandName: "tokenizer",
        abstract: "Measure a tokenizer: loading, and MB/s of text each way on one core.",
        discussion: """
            EXAMPLES
              fathom bench tokenizer --tokenizer tokenizer.json
              fathom bench tokenizer --smoke --json
            """)

    @Option(
        help: ArgumentHelp("A tokenizer.json.", valueName: "file"), completion: .file(extensions: ["json"]))
    var tokenizer: String?

    @OptionGroup var model: ModelOptions
    @OptionGroup var output: OutputOptions

    @Option(
        help: ArgumentHelp("Text to measure with; a made-up one where left out.", valueName: "file"),
        completion: .file())
    var text: String?

    @Option(help: ArgumentHelp("The made-up text's seed.", valueName: "n"))
    var seed: UInt64 = 1

    @Flag(help: "A small text, to see that it works.")
    var smoke = false

    @OptionGroup var tracing: TraceOptions

    func run() throws {
        let path = try tokenizer ?? FilePaths.join(model.folder(), "tokenizer.json")
        let clock = ContinuousClock()
        var loaded: Tokenizer?
        let load = try clock.measure {
            loaded = try Tokenizer(json: MappedFile.read(path: path), sourcePath: path)
        }
        guard let tokenizer = loaded else { return }
        let sample = try sampleText()
        let byteCount = sample.utf8.count
        // The first pass fills caches that a running server has filled, too.
        var ids = tokenizer.encode(sample)
        let encode = clock.measure { ids = tokenizer.encode(sample) }
        var decoded = ""
        let decode = clock.measure { decoded = tokenizer.decode(ids) }
        guard decoded == sample else {
            throw FathomError(.internal, "\(path): the sample text does not come back from its ids")
        }
        try Output.render(
            TokenizerReport(
                loadSeconds: load.seconds, bytes: byteCount, tokens: ids.count,
                encodeMegabytesPerSecond: Double(byteCount) / 1e6 / encode.seconds,
                decodeMegabytesPerSecond: Double(byteCount) / 1e6 / decode.seconds),
            asJSON: output.json)
    }

    private func sampleText() throws(FathomError) -> String {
        if let text {
            guard let content = String(validating: try MappedFile.read(path: text), as: UTF8.self) else {
                throw FathomError(.badData, "\(text) is not UTF-8")
            }
            return content
        }
        return SampleText.make(byteCount: smoke ? 20_000 : 4_000_000, seed: seed)
    }
}

/// What was measured.
private struct TokenizerReport: Report {
    var loadSeconds: Double
    var bytes: Int
    var tokens: Int
    var encodeMegabytesPerSecond: Double
    var decodeMegabytesPerSecond: Double

    var text: String {
        var table = Table([.left, .right])
        table.add("load", "\(Quantity.decimal(loadSeconds * 1000, places: 1)) ms")
        table.add("text", "\(Quantity.grouped(bytes)) bytes, \(Quantity.grouped(tokens)) tokens")
        table.add("encode", "\(Quantity.decimal(encodeMegabytesPerSecond, places: 1)) MB/s")
        table.add("decode", "\(Quantity.decimal(decodeMegabytesPerSecond, places: 1)) MB/s")
        return table.text
    }
}

/// Text with the variety of a crawl: words of Zipf-like frequency, numbers, code, and scripts other than
/// Latin.
private enum SampleText {
    private static let fragments = [
        "the", "of", "and", "model", "expert", "latent attention", "é", "naïve", "Straße", "привет", "数据",
        "模型",
        "こんにちは", "한국어", "🙂", "1234", "3.14159", "x += 1;", "func main() {", "}\n", "\n\n", "    ", "don't",
        "GPU",
        "https://example.org/a?b=c", "—", "\t", "I'm", "tokens", "\u{0301}", "مرحبا",
    ]
    private static let letters = Array("etaoinshrdlucmfwypvbgkjqxz")

    static func make(byteCount: Int, seed: UInt64) -> String {
        var random = SplitMix(state: seed)
        var text = ""
        text.reserveCapacity(byteCount + 64)
        while text.utf8.count < byteCount {
            if random.next() % 4 == 0 {
                text += fragments[Int(random.next() % UInt64(fragments.count))]
            } else {
                // Two draws and the smaller one: frequent letters come first.
                for _ in 0..<(2 + random.next() % 8) {
                    let index = min(random.next() % 26, random.next() % 26)
                    text.append(letters[Int(index)])
                }
            }
            text += random.next() % 12 == 0 ? ". " : " "
        }
        return text
    }
}

/// Sebastiano Vigna's splitmix64: any seed is a good one.
private struct SplitMix: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return mixed ^ (mixed >> 31)
    }
}

extension Duration {
    /// The same in seconds.
    var seconds: Double {
        Double(components.seconds) + Double(components.attoseconds) * 1e-18
    }
}
