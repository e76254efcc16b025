// SPDX-License-Identifier: MIT

public import DeepSeekModel
public import Platform

/// Releases whose shape is known by name, so that a plan needs no file. Anything else is a `config.json`.
public enum KnownModel: String, Sendable, CaseIterable, Codable {
    /// DeepSeek-V3, V3-0324, R1, R1-0528: one shape.
    case deepSeekV3 = "deepseek-v3"
    /// DeepSeek-R1; the shape of V3.
    case deepSeekR1 = "deepseek-r1"
    /// DeepSeek-V3.2 and V3.2-Exp, with sparse attention.
    case deepSeekV32 = "deepseek-v3.2"
    /// DeepSeek-V2-Lite.
    case deepSeekV2Lite = "deepseek-v2-lite"
    /// DeepSeek-V2, 236 billion parameters.
    case deepSeekV2 = "deepseek-v2"

    /// The configuration that the release's `config.json` has, as far as costs depend on it.
    public func configuration() throws(FathomError) -> DeepSeekConfiguration {
        try DeepSeekConfiguration(json: Array("{\(fields), \(Self.common)}".utf8), sourcePath: rawValue)
    }

    /// A release by name, or the `config.json` in a file or folder.
    ///
    /// - Throws: `missingInput` for what is neither.
    public static func configuration(named name: String) throws(FathomError) -> DeepSeekConfiguration {
        if let model = KnownModel(rawValue: name) { return try model.configuration() }
        guard FilePaths.exists(name) else {
            let names = allCases.map(\.rawValue).joined(separator: ", ")
            throw FathomError(
                .missingInput, "the model '\(name)' is neither a file nor one of \(names)")
        }
        if FilePaths.isFolder(name) { return try DeepSeekConfiguration(folder: name) }
        return try DeepSeekConfiguration(json: MappedFile.read(path: name), sourcePath: name)
    }

    private static let common = """
        "kv_lora_rank": 512, "qk_nope_head_dim": 128, "qk_rope_head_dim": 64, "v_head_dim": 128,
        "max_position_embeddings": 163840
        """

    private static let blocks = """
        "quantization_config": {"quant_method": "fp8", "weight_block_size": [128, 128]}
        """

    private static let v3 = """
        "vocab_size": 129280, "hidden_size": 7168, "intermediate_size": 18432, "moe_intermediate_size": 2048,
        "num_hidden_layers": 61, "num_nextn_predict_layers": 1, "num_attention_heads": 128, "q_lora_rank": 1536,
        "n_routed_experts": 256, "n_shared_experts": 1, "num_experts_per_tok": 8, "first_k_dense_replace": 3,
        "n_group": 8, "topk_group": 4, \(blocks)
        """

    private var fields: String {
        switch self {
        case .deepSeekV3, .deepSeekR1: "\"model_type\": \"deepseek_v3\", " + Self.v3
        case .deepSeekV32:
            """
            "model_type": "deepseek_v32", "index_n_heads": 64, "index_head_dim": 128, "index_topk": 2048, \(Self.v3)
            """
        case .deepSeekV2Lite:
            """
            "model_type": "deepseek_v2", "vocab_size": 102400, "hidden_size": 2048, "intermediate_size": 10944,
            "moe_intermediate_size": 1408, "num_hidden_layers": 27, "num_attention_heads": 16, "q_lora_rank": null,
            "n_routed_experts": 64, "n_shared_experts": 2, "num_experts_per_tok": 6, "first_k_dense_replace": 1
            """
        case .deepSeekV2:
            """
            "model_type": "deepseek_v2", "vocab_size": 102400, "hidden_size": 5120, "intermediate_size": 12288,
            "moe_intermediate_size": 1536, "num_hidden_layers": 60, "num_attention_heads": 128, "q_lora_rank": 1536,
            "n_routed_experts": 160, "n_shared_experts": 2, "num_experts_per_tok": 6, "first_k_dense_replace": 1,
            "n_group": 8, "topk_group": 3, "topk_method": "group_limited_greedy", "routed_scaling_factor": 16
            """
        }
    }
}
