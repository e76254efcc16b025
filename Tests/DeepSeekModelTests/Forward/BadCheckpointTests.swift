// SPDX-License-Identifier: MIT

import DeepGEMM
import DeepSeekModel
import LowPrecision
import Platform
import Tensors
import TestSupport
import Testing

@Suite("Bad checkpoints and bad requests")
struct BadCheckpointTests {
    /// A number that is not finite, put somewhere into a checkpoint.
    struct Poison: Sendable, CustomStringConvertible {
        var precision: CheckpointPrecision
        var tensor: String
        var element: Int
        var bits: UInt32
        /// How the message names the element.
        var place: String

        var description: String { "\(tensor) of \(precision.rawValue)" }

        static let all = [
            Poison(
                precision: .bfloat16, tensor: "model.layers.1.self_attn.o_proj.weight", element: 61,
                bits: 0x7FC0,
                place: "[1, 1]"),
            Poison(
                precision: .float32, tensor: "model.layers.0.mlp.down_proj.weight", element: 153,
                bits: 0x7F80_0000,
                place: "[1, 1]"),
            Poison(
                precision: .fp8, tensor: "model.layers.0.mlp.up_proj.weight", element: 137, bits: 0x7F,
                place: "[1, 1]"),
            Poison(
                precision: .fp8, tensor: "model.layers.2.self_attn.kv_b_proj.weight", element: 3, bits: 0xFF,
                place: "[0, 3]"),
            Poison(
                precision: .fp8, tensor: "model.layers.2.self_attn.q_b_proj.weight_scale_inv", element: 0,
                bits: 0x7FC0_0000, place: "[0, 0]"),
            Poison(
                precision: .bfloat16, tensor: "model.layers.1.post_attention_layernorm.weight", element: 7,
                bits: 0xFFC0,
                place: "[7]"),
            Poison(
                precision: .float32, tensor: "model.norm.weight", element: 0, bits: 0x7FA0_0000,
                place: "[0]"),
            Poison(
                precision: .bfloat16, tensor: "model.layers.2.mlp.gate.e_score_correction_bias", element: 2,
                bits: 0x7FC0_0000, place: "[2]"),
            Poison(
                precision: .bfloat16, tensor: "model.embed_tokens.weight", element: 5 * 136 + 4, bits: 0x7F80,
                place: "[5, 4]"),
            Poison(
                precision: .bfloat16, tensor: "lm_head.weight", element: 149 * 136, bits: 0x7FC0,
                place: "[149, 0]"),
            Poison(
                precision: .bfloat16, tensor: "model.layers.1.mlp.gate.weight", element: 0, bits: 0x7FC0,
                place: "[0, 0]"),
        ]
    }

    private let step = SequenceChunk(tokens: Array(0..<40), firstPosition: 0, blockTable: [0], logits: .all)

    @Test("A weight that is not finite is refused, naming file, tensor and element", arguments: Poison.all)
    func notFinite(poison: Poison) throws {
        try SmallModel(name: "bad", precision: poison.precision, fields: [:]).withFolder { folder in
            try CheckpointEditor.patch(folder, poison.tensor, element: poison.element, bits: poison.bits)
            expectFailure(.badData, naming: ["model.safetensors", poison.tensor, poison.place]) {
                () throws(FathomError) in
                try Self.run(folder, step)
            }
        }
    }

    @Test("A half-precision weight runs, and its NaN is refused")
    func halfPrecision() throws {
        try SmallModel(name: "half", precision: .bfloat16, fields: [:]).withFolder { folder in
            let name = "model.layers.0.mlp.gate_proj.weight"
            let expected = try SmallModel.executor(folder).forward([step]).values
            try CheckpointEditor.edit(folder) { tensors in
                for index in tensors.indices where tensors[index].name == name {
                    let old = tensors[index].bytes
                    tensors[index].type = .float16
                    for element in 0..<old.count / 2 {
                        let bits = UInt16(old[2 * element]) | UInt16(old[2 * element + 1]) << 8
                        let half = Float(BFloat16(bitPattern: bits)).float16Bits
                        tensors[index].bytes[2 * element] = UInt8(truncatingIfNeeded: half)
                        tensors[index].bytes[2 * element + 1] = UInt8(truncatingIfNeeded: half >> 8)
                    }
                }
            }
            // Half precision holds these bfloat16 numbers but for the smallest.
            #expect(calcDiff(try SmallModel.executor(folder).forward([step]).values, expected) < 1e-6)
            try CheckpointEditor.patch(folder, name, element: 200, bits: 0x7E00)
            expectFailure(.badData, naming: [name, "[1, 64]"]) { () throws(FathomError) in
                try Self.run(folder, step)
            }
        }
    }

    @Test("An expert that no token chooses is not searched; once chosen it is")
    func lazyCheck() throws {
        try SmallModel(name: "lazy", precision: .bfloat16, fields: [:]).withFolder { folder in
            for expert in 0..<8 {
                try CheckpointEditor.patch(
                    folder, "model.layers.2.mlp.experts.\(expert).up_proj.weight", element: 0, bits: 0x7FC0)
            }
            expectFailure(.badData, naming: ["model.layers.2.mlp.experts."]) { () throws(FathomError) in
                try Self.run(folder, step)
            }
        }
    }

    @Test("A missing tensor, a wrong shape and a wrong type are named when the model is opened")
    func missing() throws {
        let name = "model.layers.1.mlp.experts.3.down_proj.weight"
        let changes: [(String, (inout [CheckpointEditor.Tensor]) -> Void)] = [
            ("missing", { $0.removeAll { $0.name == name } }),
            (
                "[136, 40]",
                { tensors in
                    for index in tensors.indices where tensors[index].name == name {
                        tensors[index].shape = [40, 136]
                    }
                }
            ),
            (
                "I16",
                { tensors in
                    for index in tensors.indices where tensors[index].name == name {
                        tensors[index].type = .int16
                    }
                }
            ),
        ]
        for (word, change) in changes {
            try SmallModel(name: "missing", precision: .bfloat16, fields: [:]).withFolder { folder in
                try CheckpointEditor.edit(folder, change)
                expectFailure(.badData, naming: [name, word]) { () throws(FathomError) in
                    try Self.open(folder)
                }
            }
        }
    }

    @Test("A block scale beyond the kernels' range is refused", arguments: [WeightMatrix.scaleLimit, -1e30])
    func scaleLimit(scale: Float) throws {
        try SmallModel.fp8.withFolder { folder in
            let name = "model.layers.0.self_attn.kv_a_proj_with_mqa.weight_scale_inv"
            try CheckpointEditor.patch(folder, name, element: 1, bits: scale.bitPattern)
            expectFailure(.badData, naming: ["model.safetensors", name, "[0, 1]"]) { () throws(FathomError) in
                try Self.open(folder)
            }
        }
    }

    @Test("FP8 weights of a checkpoint whose configuration has no quantisation are refused")
    func unannouncedFP8() throws {
        try SmallModel(name: "plain", precision: .bfloat16, fields: [:]).withFolder { folder in
            let name = "model.layers.0.mlp.up_proj.weight"
            try CheckpointEditor.edit(folder) { tensors in
                for index in tensors.indices where tensors[index].name == name {
                    tensors[index].type = .float8E4M3
                    tensors[index].bytes.removeLast(tensors[index].bytes.count / 2)
                }
            }
            expectFailure(.badData, naming: [name, "F8_E4M3"]) { () throws(FathomError) in
                try Self.open(folder)
            }
        }
    }

    @Test("A latent too wide for a thread's scratch memory is refused before anything is read")
    func tooWide() throws {
        try withTemporaryFolder { root in
            let model = SmallModel(name: "wide", precision: .float32, fields: ["kv_lora_rank": "8192"])
            try AtomicFileWriter.write(model.json, path: root + "/config.json")
            expectFailure(.configuration, naming: ["config.json", "kv_lora_rank", "8192"]) {
                () throws(FathomError) in
                try Self.open(root)
            }
        }
    }

    @Test("Token ids outside the vocabulary and sequences beyond the context are refused; the model runs on")
    func badRequests() throws {
        try SmallModel.fp8.withFolder { folder in
            let model = try SmallModel.executor(folder)
            let chunk = SequenceChunk(tokens: [3, 4], firstPosition: 0, blockTable: [0], logits: .all)
            let before = try model.forward([chunk]).values
            for bad: Int32 in [-1, 150, .max, .min] {
                expectFailure(.badData, naming: ["\(bad)", "149"]) { () throws(FathomError) in
                    _ = try model.forward([
                        SequenceChunk(tokens: [3, bad], firstPosition: 0, blockTable: [0])
                    ])
                }
            }
            expectFailure(.badData, naming: ["257", "256"]) { () throws(FathomError) in
                _ = try model.forward([
                    SequenceChunk(tokens: [3], firstPosition: 256, blockTable: [0, 1, 2, 3, 4])
                ])
            }
            #expect(try model.forward([chunk]).values == before)
            #expect(try model.forward([]).rowCount == 0)
        }
    }

    private static func open(_ folder: String) throws(FathomError) {
        _ = try DeepSeekExecutor(folder: folder, logger: SmallModel.logger)
    }

    private static func run(_ folder: String, _ step: SequenceChunk) throws(FathomError) {
        var options = DeepSeekExecutor.Options()
        options.threadCount = 2
        options.cacheTokens = 256
        _ = try DeepSeekExecutor(folder: folder, options: options, logger: SmallModel.logger).forward([step])
    }
}
