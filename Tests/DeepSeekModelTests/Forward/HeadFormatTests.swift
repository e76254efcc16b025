// SPDX-License-Identifier: MIT

import DeepSeekModel
import Platform
import Tensors
import Testing

@Suite("Embedding and head in block FP8")
struct HeadFormatTests {
    @Test("Logits stay close to those of the stored head, row by row the same alone and together")
    func closeToStored() throws {
        for model in [SmallModel.fp8, SmallModel(name: "bf16", precision: .bfloat16, fields: [:])] {
            try model.withFolder { folder in
                let chunk = SequenceChunk(
                    tokens: SmallModel.tokens(40, seed: 3), firstPosition: 0, blockTable: [0], logits: .all)
                let stored = try executor(folder, .stored).forward([chunk]).values
                let held = try executor(folder, .float8)
                let found = try held.forward([chunk]).values
                // Three mantissa bits: a relative error of 2^-4 at most in each weight, of either sign.
                let difference = calcDiff(found, stored)
                #expect(difference > 0 && difference < 1e-2, "\(model.name): \(difference)")
                let alone = SequenceChunk(
                    tokens: chunk.tokens, firstPosition: 0, blockTable: [1], logits: .last)
                #expect(Array(found.suffix(held.vocabularySize)) == (try held.forward([alone]).values))
            }
        }
    }

    private func executor(_ folder: String, _ format: DeepSeekExecutor.HeadFormat) throws -> DeepSeekExecutor {
        var options = DeepSeekExecutor.Options()
        options.cacheType = .float32
        options.quantizesActivations = false
        options.headFormat = format
        options.cacheTokens = 1024
        return try DeepSeekExecutor(folder: folder, options: options, logger: SmallModel.logger)
    }
}
