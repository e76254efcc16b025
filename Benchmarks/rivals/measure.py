# SPDX-License-Identifier: MIT
"""What the rivals' scripts share: options, timing, output, and words for what is missing."""

import argparse
import importlib
import json
import os
import sys
import time

UNAVAILABLE = 69
# Weights and caches are used in turn until this many bytes have passed, so that no processor cache holds them.
ROTATION_BYTES = 1 << 28


def parser(description):
    result = argparse.ArgumentParser(description=description)
    result.add_argument("--threads", type=int, default=os.cpu_count(), help="threads that compute (default: all cores)")
    result.add_argument("--min-seconds", type=float, default=0.4, help="how long each case is repeated (default: 0.4)")
    result.add_argument(
        "--isa", choices=["native", "avx2"], default="native",
        help="hold the rival's libraries to AVX2, as far as they can be told (default: native)")
    result.add_argument("--smoke", action="store_true", help="tiny shapes, to see that it works")
    result.add_argument("--json", action="store_true", help="print JSON instead of a table")
    return result


def configure(threads, isa):
    """Must come before numpy and torch are imported: their libraries read these once."""
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = str(threads)
    if isa == "avx2":
        os.environ |= {
            "ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2", "MKL_ENABLE_INSTRUCTIONS": "AVX2",
            "OPENBLAS_CORETYPE": "Haswell"}


def load(module, package, why):
    """The module, or None with a line on stderr that says what is missing and how to get it."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        print(f"missing: {package} ({why}): pip install {package}: {error}", file=sys.stderr)
        return None


def numbers(text):
    return [int(part) for part in text.split(",")]


def median_seconds(run, minimum_seconds):
    """The median of at least three runs after one that does not count; `run` is given 0, 1, 2, …"""
    run(0)
    times = []
    while sum(times) < minimum_seconds or len(times) < 3:
        start = time.perf_counter()
        run(len(times) + 1)
        times.append(time.perf_counter() - start)
    times.sort()
    return times[len(times) // 2]


def render(report, columns, as_json):
    """Prints the report, or its results as a table; the exit status."""
    if as_json:
        json.dump(report, sys.stdout, indent=2)
        print()
    else:
        print(f"{report['threads']} threads")
        rows = [columns] + [[cell(result.get(column)) for column in columns] for result in report["results"]]
        widths = [max(len(row[index]) for row in rows) for index in range(len(columns))]
        for row in rows:
            print("  ".join(text.rjust(width) for text, width in zip(row, widths)))
    return 0 if report["results"] else UNAVAILABLE


def cell(value):
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.5f}" if value < 1 else f"{value:.1f}"
    return str(value)
