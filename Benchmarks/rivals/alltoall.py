#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Holds `fathom ep bench` against Open MPI's alltoallv and PyTorch gloo's all_to_all on the same number of bytes.

Both rivals move the average number of rows between every two ranks; neither sums on the way back. Where ranks have
few tokens the low-latency way is measured too: it reads a row for each choice, where others move one for each rank.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))


# Tokens of a rank up to which the low-latency way is measured.
FEW_TOKENS = 512

# As Open MPI chooses by itself (UCX where it has it), and over its own shared memory.
MCA_CHOICES = [[], ["--mca", "pml", "ob1", "--mca", "btl", "self,vader"]]


def open_mpi(binary, ranks, rows, row_bytes, rounds):
    """The faster of Open MPI's ways. --oversubscribe makes ranks yield while they wait."""
    times = []
    for choice in MCA_CHOICES:
        command = ["mpirun", "-np", str(ranks), "--oversubscribe", "--allow-run-as-root", *choice, binary, str(rows),
                   str(row_bytes), str(rounds)]
        found = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        if found.returncode == 0:
            times.append(float(found.stdout))
        else:
            print(f"missing: Open MPI {' '.join(choice)}: {found.stderr.strip()[-300:]}", file=sys.stderr)
    return min(times, default=None)


def gloo_rank(rank, ranks, rows, row_bytes, rounds, port, queue):
    import torch
    import torch.distributed as dist
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    torch.set_num_threads(1)
    dist.init_process_group("gloo", rank=rank, world_size=ranks)
    out = torch.ones(ranks * rows, row_bytes, dtype=torch.uint8)
    into = torch.empty_like(out)
    times = []
    for number in range(rounds + 1):
        # As in a model, what is sent has just been written.
        out.fill_(number)
        dist.barrier()
        start = time.perf_counter()
        dist.all_to_all_single(into, out)
        own = torch.tensor(time.perf_counter() - start)
        dist.all_reduce(own, op=dist.ReduceOp.MAX)
        times.append(own.item())
    dist.destroy_process_group()
    if rank == 0:
        queue.put(sorted(times[1:])[rounds // 2])


def gloo(ranks, rows, row_bytes, rounds, port):
    try:
        import torch.multiprocessing as processes
    except ImportError as error:
        print(f"missing: torch (gloo's all_to_all): pip install torch: {error}", file=sys.stderr)
        return None
    context = processes.get_context("spawn")
    queue = context.SimpleQueue()
    processes.spawn(gloo_rank, (ranks, rows, row_bytes, rounds, port, queue), nprocs=ranks)
    return queue.get()


def fathom(options, more):
    command = [options.fathom, "ep", "bench", "--ranks", options.ranks, "--formats", "bf16", "--rounds",
               str(options.rounds), "--json", *more]
    return json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True).stdout)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fathom", default=os.path.join(ROOT, ".build/release/fathom"))
    parser.add_argument("--ranks", default="2,4,8")
    parser.add_argument("--tokens", default="4096,128")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--port", type=int, default=29511)
    parser.add_argument("--without-gloo", action="store_true")
    options = parser.parse_args()
    measured = fathom(options, ["--tokens", options.tokens])
    few = ",".join(count for count in options.tokens.split(",") if int(count) <= FEW_TOKENS)
    low = fathom(options, ["--mode", "low-latency", "--tokens", few])["results"] if few else []
    low = {(entry["result"]["shape"]["ranks"], entry["result"]["shape"]["tokens"]): entry["result"] for entry in low}
    print(f"memcpy {measured['memcpyGigabytesPerSecond']:.1f} GB/s; times in µs")
    columns = ["dispatch", "floor", "combine", "floor", "low: out", "back", "Open MPI", "gloo"]
    print(f"{'ranks':>5} {'tokens':>6} {'MB':>8} " + " ".join(f"{name:>9}" for name in columns))
    with tempfile.TemporaryDirectory() as folder:
        binary = os.path.join(folder, "alltoallv")
        try:
            built = subprocess.run(["mpicc", "-O2", "-o", binary, os.path.join(HERE, "alltoallv.c")]).returncode == 0
        except FileNotFoundError:
            built = False
            print("missing: mpicc: apt-get install openmpi-bin libopenmpi-dev", file=sys.stderr)
        for number, entry in enumerate(measured["results"]):
            result, shape = entry["result"], entry["result"]["shape"]
            ranks, row_bytes = shape["ranks"], 2 * shape["hidden"]
            rows = round(result["rows"] / ranks**2)
            quick = low.get((ranks, shape["tokens"]), {})
            times = [result["dispatchSeconds"], entry["dispatchFloorSeconds"], result["combineSeconds"],
                     entry["combineFloorSeconds"], quick.get("dispatchSeconds"), quick.get("combineSeconds"),
                     open_mpi(binary, ranks, rows, row_bytes, options.rounds) if built else None,
                     None if options.without_gloo else
                     gloo(ranks, rows, row_bytes, options.rounds, options.port + number)]
            cells = " ".join(f"{'-' if t is None else round(t * 1e6):>9}" for t in times)
            print(f"{ranks:>5} {shape['tokens']:>6} {result['dispatchBytes'] / 1e6:>8.1f} {cells}", flush=True)


if __name__ == "__main__":
    main()
