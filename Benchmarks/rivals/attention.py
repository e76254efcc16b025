#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Attention of PyTorch on the CPU: absorbed MLA decode, and multi-head attention 192/128 forward and backward."""

import sys

import measure

MLA_COLUMNS = [
    "what", "rival", "format", "heads", "requests", "length", "seconds", "gigaflops", "gigabytesPerSecond"]
MHA_COLUMNS = [
    "what", "rival", "format", "heads", "length", "width", "valueWidth", "isCausal", "isBackward", "seconds",
    "gigaflops"]
ROW, LATENT = 576, 512


def mla_einsum(torch, q, cache, scale):
    scores = torch.einsum("bhd,bld->bhl", q, cache) * scale
    return torch.einsum("bhl,blv->bhv", scores.softmax(-1), cache[:, :, :LATENT])


def mla_sdpa(torch, q, cache, scale):
    # One key head for all query heads: the heads are the query rows of it.
    return torch.nn.functional.scaled_dot_product_attention(
        q[:, None], cache[:, None], cache[:, None, :, :LATENT], scale=scale)


def measure_mla(torch, given, kind, form, results):
    for heads in given.heads:
        for length in given.lengths:
            requests = max(1, min(8, 65536 // length))
            size = requests * length * ROW * kind.itemsize
            copies = 1 if given.smoke else max(1, measure.ROTATION_BYTES // size)
            caches = [torch.randn(requests, length, ROW).to(kind) for _ in range(copies)]
            q = torch.randn(requests, heads, ROW).to(kind)
            for rival, function in (("pytorch-einsum", mla_einsum), ("pytorch-sdpa", mla_sdpa)):
                with torch.no_grad():
                    seconds = measure.median_seconds(
                        lambda turn: function(torch, q, caches[turn % copies], ROW**-0.5), given.min_seconds)
                results.append({
                    "what": "mla-decode", "rival": rival, "format": form, "heads": heads, "requests": requests,
                    "length": length, "seconds": seconds,
                    "gigaflops": 2 * requests * heads * length * (ROW + LATENT) / seconds / 1e9,
                    "gigabytesPerSecond": size / seconds / 1e9})


def measure_mha(torch, given, kind, form, results):
    length, heads, width, value_width = given.mha_length, 16, 192, 128
    for causal in (False, True):
        pairs = heads * (length * (length + 1) // 2 if causal else length * length)
        q, k, v = (torch.randn(1, heads, length, size).to(kind) for size in (width, width, value_width))
        gradient = torch.randn(1, heads, length, value_width).to(kind)

        def forward(_):
            return torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=causal)

        with torch.no_grad():
            seconds = measure.median_seconds(forward, given.min_seconds)
        case = {
            "what": "mha", "rival": "pytorch-sdpa", "format": form, "heads": heads, "length": length, "width": width,
            "valueWidth": value_width, "isCausal": causal}
        results.append(case | {
            "isBackward": False, "seconds": seconds,
            "gigaflops": 2 * pairs * (width + value_width) / seconds / 1e9})
        leaves = [x.requires_grad_() for x in (q, k, v)]
        out = forward(0)
        seconds = measure.median_seconds(
            lambda _: torch.autograd.grad(out, leaves, gradient, retain_graph=True), given.min_seconds)
        results.append(case | {
            "isBackward": True, "seconds": seconds,
            "gigaflops": 2 * pairs * (3 * width + 2 * value_width) / seconds / 1e9})


def main():
    options = measure.parser(__doc__)
    options.add_argument("--what", default="mla,mha", help="mla, mha or both (default)")
    options.add_argument("--heads", type=measure.numbers, default=[16, 128], help="MLA heads (default: 16,128)")
    options.add_argument(
        "--lengths", type=measure.numbers, default=[1024, 4096, 32768], help="MLA lengths (default: 1024,4096,32768)")
    options.add_argument("--mha-length", type=int, default=2048, help="tokens of multi-head attention (default: 2048)")
    options.add_argument("--formats", default="fp32,bf16", help="separated by commas (default: fp32,bf16)")
    given = options.parse_args()
    measure.configure(given.threads, given.isa)
    torch = measure.load("torch", "torch", "PyTorch's attention")
    results = []
    if torch:
        torch.set_num_threads(given.threads)
        torch.manual_seed(1)
        if given.smoke:
            given.heads, given.lengths, given.mha_length, given.min_seconds = [16], [64], 32, 0
        for form in given.formats.split(","):
            kind = {"fp32": torch.float32, "bf16": torch.bfloat16}[form]
            if "mla" in given.what:
                measure_mla(torch, given, kind, form, results)
            if "mha" in given.what:
                measure_mha(torch, given, kind, form, results)
    report = {"threads": given.threads, "results": results}
    if given.json:
        return measure.render(report, [], True)
    for what, columns in (("mla-decode", MLA_COLUMNS), ("mha", MHA_COLUMNS)):
        part = [result for result in results if result["what"] == what]
        if part:
            measure.render(report | {"results": part}, columns, False)
    return 0 if results else measure.UNAVAILABLE


if __name__ == "__main__":
    sys.exit(main())
