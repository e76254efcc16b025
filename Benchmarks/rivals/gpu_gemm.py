#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""PyTorch (cuBLASLt) on a GPU at the shapes of `fathom gpu bench`: events, cache flushed, medians.

BF16 is torch.matmul, FP8 torch._scaled_mm with one scale per tensor and fast accumulation off: less work than the
scaled products of DeepGEMM, so a ratio of 1 is a good one. Prints JSON, a line for each shape.

    python3 Benchmarks/rivals/gpu_gemm.py [--repetitions 20]
"""
import argparse
import json
import sys

WEIGHTS = [(2112, 7168), (24576, 1536), (32768, 512), (7168, 16384), (4096, 7168), (7168, 2048)]
ROWS = [1, 64, 128, 4096]
FLUSH_BYTES = 256 << 20


def median_seconds(torch, run, repetitions):
    flush = torch.empty(FLUSH_BYTES, dtype=torch.uint8, device="cuda")
    times = []
    for repetition in range(repetitions + 2):
        flush.fill_(repetition & 0xFF)
        start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        start.record()
        run()
        end.record()
        end.synchronize()
        if repetition >= 2:
            times.append(start.elapsed_time(end) / 1000)
    return sorted(times)[len(times) // 2]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repetitions", type=int, default=20)
    arguments = parser.parse_args()
    try:
        import torch
    except ImportError:
        sys.exit("PyTorch is not there")
    if not torch.cuda.is_available():
        sys.exit("no GPU")
    torch.manual_seed(1)
    one = torch.ones((), device="cuda")
    for form in ("fp8", "bf16"):
        for m in ROWS:
            for n, k in WEIGHTS:
                a = torch.randn(m, k, device="cuda", dtype=torch.bfloat16)
                b = torch.randn(n, k, device="cuda", dtype=torch.bfloat16)
                if form == "fp8":
                    # The library wants a multiple of 16 rows.
                    rows = (m + 15) // 16 * 16
                    a8 = torch.zeros(rows, k, device="cuda", dtype=torch.bfloat16)
                    a8[:m] = a
                    a8, b8 = a8.to(torch.float8_e4m3fn), b.to(torch.float8_e4m3fn)

                    def run():
                        torch._scaled_mm(a8, b8.t(), one, one, out_dtype=torch.bfloat16, use_fast_accum=False)
                else:

                    def run():
                        torch.matmul(a, b.t())

                seconds = median_seconds(torch, run, arguments.repetitions)
                print(json.dumps({
                    "device": torch.cuda.get_device_name(), "format": form, "m": m, "n": n, "k": k,
                    "microseconds": seconds * 1e6, "teraflops": 2 * m * n * k / seconds / 1e12}), flush=True)


if __name__ == "__main__":
    main()
