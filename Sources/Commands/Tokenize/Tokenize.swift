// SPDX-License-Identifier: MIT

import ArgumentParser
import FoundationEssentials
import Platform
import Tokenizers

/// Text to token ids and back, line by line.
struct Tokenize: ParsableCommand, TracedCommand {
    static let configuration = CommandConfiguration(
        abstract: "Turn text into token ids, or ids into text.",
        discussion: """
            Reads JSON lines from standard input and writes one JSON line for each: {"text": …} becomes \
            {"ids": […]}; with --decode, {"ids": […]} becomes {"text": …}.

            EXAMPLES
              echo '{"text": "What is 2 plus 3?"}' | fathom tokenize
              echo '{"ids": [10, 11]}' | fathom tokenize --decode --tokenizer tokenizer.json
            """)

    @Option(
        help: ArgumentHelp("A tokenizer.json.", valueName: "file"), completion: .file(extensions: ["json"]))
    var tokenizer: String?

    @OptionGroup var model: ModelOptions

    @Flag(help: "From ids to text.")
    var decode = false

    @Flag(help: "Treat the text of added tokens, such as <｜User｜>, as ordinary text.")
    var ordinary = false

    @OptionGroup var tracing: TraceOptions

    func validate() throws {
        if tokenizer != nil, model.model != nil {
            throw ValidationError(
                "--tokenizer and --model exclude each other: each names the one tokenizer to use")
        }
        if decode, ordinary {
            throw ValidationError("--ordinary says how text is read; it has no meaning with --decode")
        }
    }

    func run() throws {
        let tokenizer = try loadTokenizer()
        var reader = LineReader()
        var number = 0
        while true {
            switch try reader.next() {
            case .end: return
            case .interrupted: throw FathomError(.cancelled, "interrupted")
            case .line(let line):
                number += 1
                if line.allSatisfy({ $0 == UInt8(ascii: " ") || $0 == UInt8(ascii: "\r") }) { continue }
                if decode {
                    try decodeLine(line, number: number, with: tokenizer)
                } else {
                    try encodeLine(line, number: number, with: tokenizer)
                }
            }
        }
    }

    private func loadTokenizer() throws(FathomError) -> Tokenizer {
        if let tokenizer {
            return try Tokenizer(json: try MappedFile.read(path: tokenizer), sourcePath: tokenizer)
        }
        return try Tokenizer(folder: try model.folder())
    }

    private struct TextLine: Codable { var text: String }
    private struct IDsLine: Codable { var ids: [Int32] }

    private func encodeLine(_ line: [UInt8], number: Int, with tokenizer: Tokenizer) throws(FathomError) {
        let text = try parse(TextLine.self, line, number: number, legal: #"{"text": "…"}"#).text
        let ids = ordinary ? tokenizer.encodeOrdinary(text) : tokenizer.encode(text)
        try Output.renderLine(IDsLine(ids: ids))
    }

    private func decodeLine(_ line: [UInt8], number: Int, with tokenizer: Tokenizer) throws(FathomError) {
        let ids = try parse(IDsLine.self, line, number: number, legal: #"{"ids": [1, 2, 3]}"#).ids
        for id in ids where tokenizer.bytes(of: id) == nil {
            throw FathomError(
                .badData,
                "standard input, line \(number): the tokenizer has no token \(id); "
                    + "its ids are 0 to \(tokenizer.vocabularySize - 1), some unused")
        }
        try Output.renderLine(TextLine(text: tokenizer.decode(ids)))
    }

    private func parse<Line: Decodable>(
        _ type: Line.Type, _ line: [UInt8], number: Int, legal: String
    ) throws(FathomError) -> Line {
        do {
            return try JSONDecoder().decode(type, from: Data(line))
        } catch {
            throw FathomError(
                .badData,
                "standard input, line \(number) is not of the form \(legal): \(excerpt(of: line))")
        }
    }

    /// The beginning of a line, for an error message.
    private func excerpt(of line: [UInt8]) -> String {
        let longest = 80
        let text = String(decoding: line.prefix(longest), as: UTF8.self)
        return line.count > longest ? text + "…" : text
    }
}
