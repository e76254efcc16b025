// SPDX-License-Identifier: MIT
//
// MPI_Alltoallv of as many rows as a dispatch sends: every rank sends --rows to every rank, itself included.
// Usage: mpirun -np N alltoallv ROWS_PER_PAIR ROW_BYTES ROUNDS; prints the median seconds of the slowest rank.

#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int ascending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

int main(int argc, char **argv) {
    MPI_Init(&argc, &argv);
    int ranks, rank;
    MPI_Comm_size(MPI_COMM_WORLD, &ranks);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    if (argc != 4) MPI_Abort(MPI_COMM_WORLD, 64);
    int rows = atoi(argv[1]), row_bytes = atoi(argv[2]), rounds = atoi(argv[3]);
    // Counts are in rows, so that no displacement exceeds an int.
    MPI_Datatype row;
    MPI_Type_contiguous(row_bytes, MPI_BYTE, &row);
    MPI_Type_commit(&row);
    size_t bytes = (size_t)ranks * rows * row_bytes;
    char *out = malloc(bytes), *in = malloc(bytes);
    memset(out, rank, bytes);
    memset(in, 0, bytes);
    int *counts = malloc(sizeof(int) * ranks), *starts = malloc(sizeof(int) * ranks);
    for (int i = 0; i < ranks; i++) {
        counts[i] = rows;
        starts[i] = i * rows;
    }
    double *times = malloc(sizeof(double) * rounds);
    for (int round = -1; round < rounds; round++) {
        // As in a model, what is sent has just been written.
        memset(out, rank + round, bytes);
        MPI_Barrier(MPI_COMM_WORLD);
        double start = MPI_Wtime();
        MPI_Alltoallv(out, counts, starts, row, in, counts, starts, row, MPI_COMM_WORLD);
        double own = MPI_Wtime() - start, slowest;
        MPI_Allreduce(&own, &slowest, 1, MPI_DOUBLE, MPI_MAX, MPI_COMM_WORLD);
        if (round >= 0) times[round] = slowest;
    }
    qsort(times, rounds, sizeof(double), ascending);
    if (rank == 0) printf("%.9f\n", times[rounds / 2]);
    MPI_Finalize();
    return 0;
}
