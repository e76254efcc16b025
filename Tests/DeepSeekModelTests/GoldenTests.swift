// SPDX-License-Identifier: MIT

import DeepSeekModel
import Logging
import Platform
import Tensors
import TestSupport
import Testing

@Suite("Golden logits", .enabled(if: TestPaths.hasGoldens, "the golden data is not beside the repository"))
struct GoldenTests {
    @Test("float32 with a float32 cache agrees with transformers to 1e-6", arguments: GoldenModel.names)
    func exact(name: String) throws {
        try expectLogits(name, cache: .float32, quantizes: false, below: 1e-6)
    }

    @Test("a bfloat16 cache stays within 1e-3", arguments: GoldenModel.names)
    func bfloat16Cache(name: String) throws {
        try expectLogits(name, cache: .bfloat16, quantizes: false, below: 1e-3)
    }

    /// Rounding activations to three mantissa bits moves these random weights' logits by 3e-3 on one token, and by 2e-2
    /// over many, where it changes which experts some tokens choose. The yardstick is the model in double precision
    /// with the same rounding: as far from the unrounded model, and equal where no rounding hangs on the last bit of a
    /// float32 sum. One that does makes 2e-4 on one token: noise of 3e-7 in the reference finds the same one.
    @Test("quantised activations move the logits by what the rounding itself does")
    func quantizedActivations() throws {
        let golden = try GoldenModel("v3-fp8")
        let model = try executor(golden, cache: .float32, quantizes: true)
        let reference = try ReferenceModel(folder: golden.folder, quantizesActivations: true)
        var closest = Double.infinity
        for (prompt, exact) in zip(golden.prompts, golden.logits) {
            let chunk = SequenceChunk(tokens: prompt, firstPosition: 0, blockTable: [0, 1], logits: .all)
            let found = try model.forward([chunk]).values
            let expected = try reference.logits(prompt).flatMap { $0.map(Float.init) }
            let (moved, due) = (calcDiff(found, exact), calcDiff(expected, exact))
            #expect(moved < 3e-2 && moved > due / 2 && moved < due * 2, "\(prompt.count) tokens: \(moved), due \(due)")
            if prompt.count == 1 { #expect(calcDiff(found, expected) < due / 10) }
            closest = min(closest, calcDiff(found, expected))
        }
        #expect(closest < 1e-12)
    }

    @Test("greedy continuations are identical", arguments: GoldenModel.names)
    func greedy(name: String) throws {
        let golden = try GoldenModel(name)
        let model = try executor(golden, cache: .float32, quantizes: false)
        for (prompt, continuation) in zip(golden.prompts, golden.continuations) {
            #expect(try greedyTokens(model, prompt: prompt, count: continuation.count) == continuation)
        }
    }

    private func executor(
        _ golden: GoldenModel, cache: DeepSeekExecutor.CacheType, quantizes: Bool
    ) throws -> DeepSeekExecutor {
        var options = DeepSeekExecutor.Options()
        options.cacheType = cache
        options.quantizesActivations = quantizes
        options.cacheTokens = 512
        return try DeepSeekExecutor(folder: golden.folder, options: options, logger: Logger(label: "test"))
    }

    private func expectLogits(
        _ name: String, cache: DeepSeekExecutor.CacheType, quantizes: Bool, below limit: Double
    ) throws {
        let golden = try GoldenModel(name)
        #expect(golden.logits.count == 3)
        let model = try executor(golden, cache: cache, quantizes: quantizes)
        for (prompt, expected) in zip(golden.prompts, golden.logits) {
            let chunk = SequenceChunk(tokens: prompt, firstPosition: 0, blockTable: [3, 1], logits: .all)
            let found = try model.forward([chunk]).values
            let difference = calcDiff(found, expected)
            #expect(difference < limit, "\(name), \(prompt.count) tokens: \(difference)")
        }
    }
}

/// The most likely next token, `count` times over, in blocks 0, 1, ….
func greedyTokens(_ model: DeepSeekExecutor, prompt: [Int32], count: Int) throws -> [Int32] {
    var tokens = prompt
    var position = 0
    let blocks = (0..<Int32((prompt.count + count) / model.blockSize + 1)).map { $0 }
    for _ in 0..<count {
        let chunk = SequenceChunk(
            tokens: Array(tokens[position...]), firstPosition: position, blockTable: blocks)
        let row = try model.forward([chunk]).row(0)
        position = tokens.count
        let best = row.indices.max { row[$0] < row[$1] } ?? row.startIndex
        tokens.append(Int32(best - row.startIndex))
    }
    return Array(tokens[prompt.count...])
}
