// SPDX-License-Identifier: MIT

/// What a kernel does, as its name tells: not the stream, for communication streams hold casts, and decoding runs
/// everything on one.
public enum KernelClass: String, CaseIterable, Sendable {
    /// Tokens to the ranks of their experts.
    case dispatch
    /// Results back, summed.
    case combine
    /// Counts exchanged, buffers cleared, ranks awaited.
    case notify
    /// Who gets which token.
    case layout
    /// NCCL's.
    case collective
    case weightGradientGemm
    case groupedGemm
    case denseGemm
    case attentionForward
    case attentionBackward
    /// To and from FP8, with the transposes that it asks for.
    case cast
    /// Rows expanded to their experts, and reduced.
    case permute
    case norm
    case swiglu
    case rope
    /// Everything else; copies and fills included.
    case other

    /// Whether it moves data between ranks.
    public var isCommunication: Bool {
        switch self {
        case .dispatch, .combine, .notify, .layout, .collective: true
        default: false
        }
    }

    /// Whether it multiplies matrices.
    public var isGemm: Bool { self == .weightGradientGemm || self == .groupedGemm || self == .denseGemm }

    /// The class in words.
    public var title: String {
        switch self {
        case .dispatch: "EP dispatch"
        case .combine: "EP combine"
        case .notify: "EP notify and sync"
        case .layout: "EP layout"
        case .collective: "collectives"
        case .weightGradientGemm: "weight-gradient GEMM"
        case .groupedGemm: "grouped GEMM"
        case .denseGemm: "dense GEMM"
        case .attentionForward: "attention forward"
        case .attentionBackward: "attention backward"
        case .cast: "casts, transposes"
        case .permute: "permute, unpermute"
        case .norm: "norms"
        case .swiglu: "SwiGLU"
        case .rope: "RoPE"
        case .other: "other"
        }
    }

    /// The classes that a word on a command line names: a class, or `attention`, `gemm`, `communication`, `compute`.
    public static func named(_ word: String) -> [KernelClass]? {
        switch word {
        case "attention": [.attentionForward, .attentionBackward]
        case "gemm": allCases.filter(\.isGemm)
        case "communication": allCases.filter(\.isCommunication)
        case "compute": allCases.filter { !$0.isCommunication }
        default:
            allCases.first { kernelClass in
                let name = kernelClass.rawValue.lowercased()
                return name == word.lowercased().filter { $0 != "-" && $0 != "_" }
            }.map { [$0] }
        }
    }

    /// The class of the kernel or span of this name.
    public init(kernelName text: String) {
        // Fathom's own spans.
        switch text {
        case "ep dispatch": self = .dispatch
        case "ep combine": self = .combine
        case "attention block": self = .other
        default: self.init(kernel: text)
        }
    }

    private init(kernel text: String) {
        let name = KernelName(text)
        self = Self.expertParallel(name) ?? Self.compute(name, text.lowercased())
    }

    /// DeepEP's kernels by their function and namespace. Kernels of other libraries that are instantiated inside the
    /// namespace (CUB's, for instance) are none.
    private static func expertParallel(_ name: KernelName) -> KernelClass? {
        let leaf = name.leaf
        if leaf.hasPrefix("nccl") { return .collective }
        guard name.scopes.contains(where: { $0 == "ep" || $0 == "deep_ep" || $0 == "legacy" }) else { return nil }
        switch leaf {
        case "dispatch", "dispatch_ll", "dispatch_impl", "dispatch_kernel": return .dispatch
        case "combine", "combine_ll", "combine_impl", "combine_kernel": return .combine
        case "notify_dispatch", "cached_notify", "notify_combine", "cached_notify_dispatch", "cached_notify_combine",
            "barrier", "clean_low_latency_buffer":
            return .notify
        case "get_dispatch_layout": return .layout
        default: return nil
        }
    }

    private static func compute(_ name: KernelName, _ text: String) -> KernelClass {
        let function = name.qualified.lowercased()
        func has(_ words: String...) -> Bool { words.contains { function.contains($0) } }
        func mentions(_ words: String...) -> Bool { words.contains { text.contains($0) } }
        if mentions("flash", "fmha", "attn", "attention", "mla_"), !has("norm", "rotary") {
            return has("bwd", "backward") || mentions("attnbwd") ? .attentionBackward : .attentionForward
        }
        if has("cublas", "xmma_gemm", "nvjet", "ampere_", "cutlass_80") { return .other }
        if has("gemm"), !has("transpose", "fill_tensormaps") {
            if has("_acc", "wgrad", "k_grouped") { return .weightGradientGemm }
            return has("m_grouped") || mentions("m_grouped", "gemmtype)1", "gemmtype)2") ? .groupedGemm : .denseGemm
        }
        if has("norm", "ln_fwd", "ln_bwd"), !has("normal") { return .norm }
        if has("rotary", "rope") { return .rope }
        if has("cast", "transpose", "quant") { return .cast }
        if has("swiglu", "silu") { return .swiglu }
        if has("reduce_fused", "expand_to_fused", "get_fused_mapping", "permute") { return .permute }
        return .other
    }
}
