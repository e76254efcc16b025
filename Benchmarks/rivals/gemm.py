#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Matrix products of PyTorch and NumPy on the CPU: D[m, n] = A[m, k] · B[n, k]ᵀ, weights read from memory."""

import sys

import measure

SHAPES = [(2112, 7168), (24576, 1536), (32768, 512), (7168, 16384), (4096, 7168), (7168, 2048)]
COLUMNS = ["rival", "format", "m", "n", "k", "seconds", "gigaflops", "gigabytesPerSecond"]


def cases_torch(torch, form):
    kind = {"fp32": torch.float32, "bf16": torch.bfloat16}[form]

    def prepare(m, n, k, copies):
        weights = [torch.randn(n, k).to(kind) for _ in range(copies)]
        a = torch.randn(m, k).to(kind)
        return lambda turn: torch.nn.functional.linear(a, weights[turn % copies])

    return prepare


def cases_numpy(numpy):
    generator = numpy.random.default_rng(1)

    def prepare(m, n, k, copies):
        weights = [generator.standard_normal((n, k), dtype=numpy.float32) for _ in range(copies)]
        a = generator.standard_normal((m, k), dtype=numpy.float32)
        return lambda turn: a @ weights[turn % copies].T

    return prepare


def main():
    options = measure.parser(__doc__)
    options.add_argument("--m", type=measure.numbers, default=[1, 16, 256], help="rows of A (default: 1,16,256)")
    options.add_argument("--n", type=int, help="one shape instead of DeepSeek's; with --k")
    options.add_argument("--k", type=int)
    options.add_argument("--rivals", default="pytorch-fp32,pytorch-bf16,numpy-fp32", help="which, separated by commas")
    given = options.parse_args()
    measure.configure(given.threads, given.isa)
    chosen = given.rivals.split(",")
    rivals = []
    if any(name.startswith("pytorch") for name in chosen):
        torch = measure.load("torch", "torch", "PyTorch's products")
        if torch:
            torch.set_num_threads(given.threads)
            torch.manual_seed(1)
            torch.set_grad_enabled(False)
            rivals += [("pytorch", form, cases_torch(torch, form)) for form in ("fp32", "bf16")]
    if "numpy-fp32" in chosen:
        numpy = measure.load("numpy", "numpy", "OpenBLAS's products")
        if numpy:
            rivals.append(("numpy", "fp32", cases_numpy(numpy)))
    shapes = [(given.n, given.k)] if given.n and given.k else SHAPES
    if given.smoke:
        shapes = [(64, 256)]
    results = []
    for rival, form, prepare in rivals:
        if f"{rival}-{form}" not in chosen:
            continue
        for n, k in shapes:
            size = n * k * (4 if form == "fp32" else 2)
            copies = 1 if given.smoke else max(1, measure.ROTATION_BYTES // size)
            for m in given.m:
                run = prepare(m, n, k, copies)
                seconds = measure.median_seconds(run, 0 if given.smoke else given.min_seconds)
                results.append({
                    "rival": rival, "format": form, "m": m, "n": n, "k": k, "seconds": seconds,
                    "gigaflops": 2 * m * n * k / seconds / 1e9, "gigabytesPerSecond": size / seconds / 1e9})
    return measure.render({"threads": given.threads, "results": results}, COLUMNS, given.json)


if __name__ == "__main__":
    sys.exit(main())
