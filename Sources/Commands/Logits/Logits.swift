// SPDX-License-Identifier: MIT

import ArgumentParser
import DeepSeekModel
import Platform
import Tensors

/// Writes the logits of a prompt to a file.
struct Logits: ParsableCommand, TracedCommand {
    static let configuration = CommandConfiguration(
        abstract: "Write the logits of every token of a prompt.",
        discussion: """
            The output file holds one tensor, logits: float32 [tokens, vocabulary]; it appears \
            complete or not at all.

            EXAMPLES
              fathom logits --tokens 1,2,3 --output logits.safetensors
              fathom logits --model DIR --tokens 1,2,3 --output l.safetensors --kv-dtype fp32 \
            --activation-quantization off
            """)

    /// Tokens per step; bounds what is in memory at once.
    private static let tokensPerStep = 64

    @Option(help: ArgumentHelp("The prompt's token ids.", valueName: "1,2,3"))
    var tokens: TokenList

    @Option(
        help: ArgumentHelp("The safetensors file to write.", valueName: "file"),
        completion: .file(extensions: ["safetensors"]))
    var output: String

    @OptionGroup(title: "Model") var model: ModelOptions
    @OptionGroup(title: "Model") var execution: ExecutionOptions
    @OptionGroup var logging: LoggingOptions

    @OptionGroup var tracing: TraceOptions

    func run() throws {
        let ids = tokens.ids
        let folder = try model.folder()
        let executor = try execution.loadExecutor(folder: folder, logger: logging.logger(label: "fathom"))
        let capacity = min(executor.contextLength, executor.blockCount * executor.blockSize)
        guard ids.count <= capacity else {
            throw FathomError(
                .usage,
                "--tokens has \(ids.count) ids; the context of \(folder) holds \(executor.contextLength) "
                    + "and the cache \(executor.blockCount * executor.blockSize)")
        }
        let blockCount = (ids.count + executor.blockSize - 1) / executor.blockSize
        let blockTable = (0..<Int32(blockCount)).map { $0 }
        let progress = ProgressBar(title: "Computing")
        defer { progress.finish() }
        var writer = try SafetensorsWriter(
            path: output,
            tensors: [
                .init(name: "logits", scalarType: .float32, shape: [ids.count, executor.vocabularySize])
            ])
        var position = 0
        while position < ids.count {
            let end = min(position + Self.tokensPerStep, ids.count)
            let step = SequenceChunk(
                tokens: Array(ids[position..<end]), firstPosition: position, blockTable: blockTable,
                logits: .all)
            try writer.append(littleEndianBytes(of: executor.forward([step]).values))
            position = end
            progress.update(done: position, total: ids.count)
        }
        try writer.finish()
    }

    private func littleEndianBytes(of values: [Float]) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(values.count * MemoryLayout<Float>.size)
        for value in values {
            let bits = value.bitPattern
            for shift in stride(from: 0, to: UInt32(32), by: 8) {
                bytes.append(UInt8(truncatingIfNeeded: bits >> shift))
            }
        }
        return bytes
    }
}
