#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""DeepSeek's EPLB, where the user has it: seconds for a plan of all layers at the shapes of `fathom eplb bench`."""

import importlib.util
import math
import os
import random
import sys

import measure

SHAPES = "288x8x18x144,288x8x8x144,320x8x8x64,288x8x4x32"
COLUMNS = ["rival", "replicas", "groups", "nodes", "gpus", "seconds", "nanosecondsPerLayer", "balancedness"]
HELP = "the original's eplb.py (default: $FATHOM_RIVAL_EPLB)"


def original(path):
    """The module, or None with a line on stderr."""
    if not path or not os.path.isfile(path):
        print(f"missing: {path or 'the original'}: name the eplb.py of deepseek-ai/EPLB with --eplb", file=sys.stderr)
        return None
    spec = importlib.util.spec_from_file_location("eplb", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def balancedness(weight, maps, counts, gpus):
    """Mean load of a GPU divided by the largest, each added over the layers."""
    mean = largest = 0.0
    for row, slots, count in zip(weight.tolist(), maps.tolist(), counts.tolist()):
        size = len(slots) // gpus
        loads = [sum(row[e] / count[e] for e in slots[g * size:(g + 1) * size]) for g in range(gpus)]
        mean += sum(loads) / gpus
        largest += max(loads)
    return mean / largest


def main():
    options = measure.parser(__doc__)
    options.add_argument("--eplb", metavar="FILE", default=os.environ.get("FATHOM_RIVAL_EPLB"), help=HELP)
    options.add_argument("--shapes", default=SHAPES, help=f"replicas x groups x nodes x GPUs (default: {SHAPES})")
    options.add_argument("--layers", type=int, default=58)
    options.add_argument("--experts", type=int, default=256)
    given = options.parse_args()
    measure.configure(given.threads, given.isa)
    torch = measure.load("torch", "torch", "the original computes with it")
    module = original(given.eplb) if torch else None
    results = []
    if module:
        torch.set_num_threads(given.threads)
        generator = random.Random(1)
        layers = 2 if given.smoke else given.layers
        weight = torch.tensor([
            [round(1000 * math.exp(generator.gauss(0, 0.8))) for _ in range(given.experts)] for _ in range(layers)])
        for shape in given.shapes.split(",")[:1 if given.smoke else None]:
            counts = [int(part) for part in shape.split("x")]
            maps, _, replicas = module.rebalance_experts(weight, *counts)
            seconds = measure.median_seconds(
                lambda _: module.rebalance_experts(weight, *counts), 0 if given.smoke else 0.5)
            results.append({
                "rival": "eplb", **dict(zip(("replicas", "groups", "nodes", "gpus"), counts)), "seconds": seconds,
                "nanosecondsPerLayer": seconds * 1e9 / layers,
                "balancedness": balancedness(weight, maps, replicas, counts[3])})
    return measure.render({"threads": given.threads, "results": results}, COLUMNS, given.json)


if __name__ == "__main__":
    sys.exit(main())
