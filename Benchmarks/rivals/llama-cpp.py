#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Prefill and decode of llama.cpp on random Q8_0 weights with the shapes of `fathom bench generate`."""

import ctypes
import json
import os
import sys
import time

import measure

HERE = os.path.dirname(os.path.abspath(__file__))
CONFIG = os.path.join(HERE, "..", "configs", "bench-2b.json")
COLUMNS = ["rival", "format", "promptTokens", "outputTokens", "prefillTokensPerSecond", "decodeTokensPerSecond"]


class Writer:
    """Random weights of a DeepSeek configuration as GGUF, architecture deepseek2 with absorbed attention."""

    def __init__(self, gguf, numpy, config, path):
        self.gguf, self.numpy, self.config = gguf, numpy, config
        self.random = numpy.random.default_rng(1)
        self.writer = gguf.GGUFWriter(path, "deepseek2", use_temp_file=False)

    def header(self):
        c, w = self.config, self.writer
        rope, nope, rank = c["qk_rope_head_dim"], c["qk_nope_head_dim"], c["kv_lora_rank"]
        w.add_name("bench")
        w.add_tokenizer_model("no_vocab")
        w.add_vocab_size(c["vocab_size"])
        w.add_context_length(c["max_position_embeddings"])
        w.add_embedding_length(c["hidden_size"])
        w.add_block_count(c["num_hidden_layers"])
        w.add_feed_forward_length(c["intermediate_size"])
        w.add_expert_feed_forward_length(c["moe_intermediate_size"])
        w.add_head_count(c["num_attention_heads"])
        w.add_head_count_kv(1)
        w.add_q_lora_rank(c["q_lora_rank"])
        w.add_kv_lora_rank(rank)
        w.add_key_length(rank + rope)
        w.add_value_length(rank)
        w.add_key_length_mla(nope + rope)
        w.add_value_length_mla(c["v_head_dim"])
        w.add_rope_dimension_count(rope)
        w.add_rope_freq_base(float(c["rope_theta"]))
        w.add_layer_norm_rms_eps(c["rms_norm_eps"])
        w.add_leading_dense_block_count(c["first_k_dense_replace"])
        w.add_expert_count(c["n_routed_experts"])
        w.add_expert_used_count(c["num_experts_per_tok"])
        w.add_expert_shared_count(c["n_shared_experts"])
        w.add_expert_group_count(c["n_group"])
        w.add_expert_group_used_count(c["topk_group"])
        w.add_expert_weights_scale(c["routed_scaling_factor"])
        w.add_expert_weights_norm(c["norm_topk_prob"])
        w.add_expert_gating_func(self.gguf.ExpertGatingFuncType.SIGMOID)
        w.add_file_type(self.gguf.LlamaFileType.MOSTLY_Q8_0)

    def ones(self, name, count):
        self.writer.add_tensor(name, self.numpy.ones(count, dtype=self.numpy.float32))

    def floats(self, name, *shape):
        x = self.random.standard_normal(shape, dtype=self.numpy.float32) / shape[-1] ** 0.5
        self.writer.add_tensor(name, x)

    def weight(self, name, *shape):
        """Random numbers in blocks of 32 with one half-precision scale: Q8_0."""
        numpy = self.numpy
        blocks = numpy.prod(shape[:-1], dtype=int) * shape[-1] // 32
        data = numpy.frombuffer(self.random.bytes(int(blocks) * 34), dtype=numpy.uint8).reshape(blocks, 34).copy()
        # Codes are uniform in ±128 with deviation 74; rows get a sum of squares of one.
        scale = numpy.array([1 / (74 * shape[-1] ** 0.5)], dtype=numpy.float16)
        data[:, :2] = scale.view(numpy.uint8)
        rows = data.reshape(*shape[:-1], shape[-1] // 32 * 34)
        self.writer.add_tensor(name, rows, raw_dtype=self.gguf.GGMLQuantizationType.Q8_0)

    def tensors(self):
        c = self.config
        hidden, heads = c["hidden_size"], c["num_attention_heads"]
        self.weight("token_embd.weight", c["vocab_size"], hidden)
        for layer in range(c["num_hidden_layers"]):
            self.attention(f"blk.{layer}", hidden, heads)
            self.ones(f"blk.{layer}.ffn_norm.weight", hidden)
            if layer < c["first_k_dense_replace"]:
                self.feed_forward(f"blk.{layer}.ffn", "", c["intermediate_size"])
                continue
            experts = c["n_routed_experts"]
            self.floats(f"blk.{layer}.ffn_gate_inp.weight", experts, hidden)
            self.floats(f"blk.{layer}.exp_probs_b.bias", experts)
            self.feed_forward(f"blk.{layer}.ffn", "_exps", c["moe_intermediate_size"], experts)
            self.feed_forward(f"blk.{layer}.ffn", "_shexp", c["moe_intermediate_size"] * c["n_shared_experts"])
        self.ones("output_norm.weight", hidden)
        self.weight("output.weight", c["vocab_size"], hidden)

    def attention(self, prefix, hidden, heads):
        c = self.config
        rope, nope, rank, value = c["qk_rope_head_dim"], c["qk_nope_head_dim"], c["kv_lora_rank"], c["v_head_dim"]
        self.ones(f"{prefix}.attn_norm.weight", hidden)
        self.weight(f"{prefix}.attn_q_a.weight", c["q_lora_rank"], hidden)
        self.ones(f"{prefix}.attn_q_a_norm.weight", c["q_lora_rank"])
        self.weight(f"{prefix}.attn_q_b.weight", heads * (nope + rope), c["q_lora_rank"])
        self.weight(f"{prefix}.attn_kv_a_mqa.weight", rank + rope, hidden)
        self.ones(f"{prefix}.attn_kv_a_norm.weight", rank)
        self.weight(f"{prefix}.attn_k_b.weight", heads, rank, nope)
        self.weight(f"{prefix}.attn_v_b.weight", heads, value, rank)
        self.weight(f"{prefix}.attn_output.weight", hidden, heads * value)

    def feed_forward(self, prefix, suffix, width, *experts):
        hidden = self.config["hidden_size"]
        self.weight(f"{prefix}_gate{suffix}.weight", *experts, width, hidden)
        self.weight(f"{prefix}_up{suffix}.weight", *experts, width, hidden)
        self.weight(f"{prefix}_down{suffix}.weight", *experts, hidden, width)

    def write(self):
        self.header()
        self.tensors()
        self.writer.write_header_to_file()
        self.writer.write_kv_data_to_file()
        self.writer.write_tensors_to_file()
        self.writer.close()


def checkpoint(given):
    """The path of the random checkpoint, written if it is not there; None if a package is missing."""
    if os.path.exists(given.model):
        return given.model
    gguf = measure.load("gguf", "gguf", "writes llama.cpp's checkpoint")
    numpy = measure.load("numpy", "numpy", "random weights")
    if not gguf or not numpy:
        return None
    with open(given.config) as file:
        config = json.load(file)
    print(f"writing {given.model}", file=sys.stderr)
    os.makedirs(os.path.dirname(os.path.abspath(given.model)), exist_ok=True)
    partial = given.model + ".partial"
    Writer(gguf, numpy, config, partial).write()
    os.replace(partial, given.model)
    return given.model


class Session:
    """A loaded model and a context of llama.cpp's C interface."""

    def __init__(self, llama, path, threads, capacity):
        self.llama = llama
        # Its log goes to stderr in great detail; only what fails is of interest, and that raises below.
        self.log = llama.llama_log_callback(lambda *_: None)
        llama.llama_log_set(self.log, ctypes.c_void_p(0))
        llama.llama_backend_init()
        parameters = llama.llama_model_default_params()
        self.model = llama.llama_model_load_from_file(path.encode(), parameters)
        if not self.model:
            raise SystemExit(f"llama.cpp cannot load {path}; delete it if it was written by another version")
        settings = llama.llama_context_default_params()
        settings.n_ctx = capacity
        settings.n_batch = settings.n_ubatch = 512
        settings.n_threads = settings.n_threads_batch = threads
        self.context = llama.llama_init_from_model(self.model, settings)
        if not self.context:
            raise SystemExit("llama.cpp cannot make a context")

    def clear(self):
        self.llama.llama_memory_clear(self.llama.llama_get_memory(self.context), True)

    def decode(self, tokens):
        """Seconds for these tokens, with the logits of the last one computed and looked at."""
        array = (self.llama.llama_token * len(tokens))(*tokens)
        start = time.perf_counter()
        batch = self.llama.llama_batch_get_one(array, len(tokens))
        if self.llama.llama_decode(self.context, batch) != 0:
            raise SystemExit("llama_decode failed")
        first = self.llama.llama_get_logits_ith(self.context, -1)[0]
        seconds = time.perf_counter() - start
        if first != first:
            raise SystemExit("the random model's logits are not numbers")
        return seconds


def main():
    options = measure.parser(__doc__)
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    options.add_argument("--config", default=CONFIG, help="DeepSeek configuration (default: bench-2b.json)")
    options.add_argument(
        "--model", default=os.path.join(cache, "fathom", "rivals", "bench-2b-q8_0.gguf"),
        help="GGUF file; written with random weights if it does not exist")
    options.add_argument("--prompt-tokens", type=int, default=512)
    options.add_argument("--output-tokens", type=int, default=32)
    options.add_argument("--repetitions", type=int, default=3, help="prefills that are measured; the best one counts")
    given = options.parse_args()
    if given.smoke:
        given.prompt_tokens, given.output_tokens, given.repetitions = 16, 4, 1
    llama = measure.load("llama_cpp", "llama-cpp-python", "llama.cpp")
    path = checkpoint(given) if llama else None
    if not llama or not path:
        return measure.UNAVAILABLE
    session = Session(llama, path, given.threads, given.prompt_tokens + given.output_tokens + 32)
    size = llama.llama_vocab_n_tokens(llama.llama_model_get_vocab(session.model))
    prompt = [(turn * 7919 + 13) % size for turn in range(given.prompt_tokens)]
    prefills = []
    for _ in range(given.repetitions + 1):
        session.clear()
        prefills.append(session.decode(prompt))
    steps = sorted(session.decode([prompt[turn]]) for turn in range(given.output_tokens))
    results = [{
        "rival": f"llama.cpp (llama-cpp-python {llama.__version__})", "format": "q8_0",
        "promptTokens": given.prompt_tokens, "outputTokens": given.output_tokens,
        "prefillTokensPerSecond": given.prompt_tokens / min(prefills[1:]),
        "decodeTokensPerSecond": 1 / steps[len(steps) // 2],
        "system": llama.llama_print_system_info().decode()}]
    return measure.render({"threads": given.threads, "results": results}, COLUMNS, given.json)


if __name__ == "__main__":
    sys.exit(main())
