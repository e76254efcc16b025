// SPDX-License-Identifier: MIT
//
// D = A * B^T on compute capability 9.0a: FP8 with scales or BF16, plain or with groups of rows.
//
// A block stays on its multiprocessor and walks over tiles. One warp copies K blocks of A, B and the scales into a ring
// of stages; one or two warpgroups multiply them, 64 rows each, and write the finished tile through shared memory while
// the copies of the next tile are under way. FP8 products of one K block go to a fresh accumulator and are added,
// scaled, to the sum in float32: the tensor core keeps about 14 bits while it sums. With clusters of two, one operand
// is the same in both blocks: each loads half of it for both.
//
// The configuration (tile, stages, cluster, groups, splits) is compiled in; the shape is an argument.
#include "hopper.cuh"
#include "gemm_layout.cuh"
#include "multiply.cuh"

using namespace fathom;

namespace {

/// What a block does next: a tile, or a range of K blocks of one.
struct Work {
    u32 row;
    u32 column;
    u32 groupA;
    u32 groupB;
    u32 firstBlock;
    u32 endBlock;
    u32 split;
    /// The tile's number among all tiles of the launch, counting each block of a cluster.
    u32 tile;
};

/// The walk over a launch's units. Producer and consumers walk alike, each for itself.
struct Walk {
    u32 m, n, blocks, groups;
    const i32* rows;
    u32 rank;
    u32 unit;
    u32 unitsN;
    u32 group = 0;
    u32 unitsBefore = 0;

    FATHOM_INLINE Walk(u32 m, u32 n, u32 k, u32 groups, const i32* rows)
        : m(m), n(n), blocks(divideUp(k, kBlockK)), groups(groups), rows(rows),
          rank(kCluster > 1 ? clusterRank() : 0), unit(blockIdx.x / kCluster), unitsN(unitsAlongN(n)) {}

    FATHOM_INLINE bool next(Work& work) {
        const u32 whole = unit / kSplits;
        u32 unitsM = unitsAlongM(m);
        u32 inside = whole;
        work.groupA = 0;
        work.groupB = 0;
        if constexpr (kGrouping == 2) {
            for (;; ++group) {
                if (group >= groups) return false;
                const i32 count = __ldg(rows + group);
                unitsM = unitsAlongM(count < 0 ? 0 : smaller(u32(count), m));
                if (whole - unitsBefore < unitsM * unitsN) break;
                unitsBefore += unitsM * unitsN;
            }
            inside = whole - unitsBefore;
            work.groupA = group;
            work.groupB = group;
        } else {
            if (whole >= unitsM * unitsN) return false;
        }
        const TilePlace place = tileOfUnit(inside, rank, unitsM, unitsN);
        work.row = place.row;
        work.column = place.column;
        work.split = unit % kSplits;
        work.tile = whole * kCluster + rank;
        work.firstBlock = firstBlockOfSplit(work.split, blocks);
        work.endBlock = firstBlockOfSplit(work.split + 1, blocks);
        if constexpr (kGrouping == 1) {
            // The first row of a tile names the group of all its rows; without one the tile is zeros.
            const i32 id = place.row < m ? __ldg(rows + place.row) : -1;
            if (id < 0 || u32(id) >= groups) work.endBlock = work.firstBlock;
            else work.groupB = u32(id);
        }
        unit += gridDim.x / kCluster;
        return true;
    }
};

struct Maps {
    const TensorMap *a, *b, *scaleA, *scaleB, *d;
};

/// The producer: one thread.
FATHOM_INLINE void produce(Walk walk, Maps maps, u32 base) {
    const u64 policyA = kRereadsB ? policyEvictNormal() : policyEvictLast();
    const u64 policyB = kRereadsB ? policyEvictNormal() : policyEvictFirst();
    Ring<kStages> ring;
    Work work;
    while (walk.next(work)) {
        for (u32 block = work.firstBlock; block < work.endBlock; ++block) {
            const u32 s = ring.index;
            const u32 full = base + kOffsetFull + s * 8;
            barrierWait<(kCluster > 1)>(base + kOffsetEmpty + s * 8, ring.parity ^ 1);
            barrierArriveExpect(full, kStageBytes);
            const u32 a = base + kOffsetA + s * kStageA;
            const u32 b = base + kOffsetB + s * kStageB;
            const i32 x = i32(block * kBlockK);
            if constexpr (kCluster > 1 && kShareA) {
                loadTensorMulticast(
                    maps.a, full, a + walk.rank * (kStageA / 2), policyA, 3, x,
                    i32(work.row + walk.rank * (kBlockM / 2)), i32(work.groupA));
            } else {
                loadTensor(maps.a, full, a, policyA, x, i32(work.row), i32(work.groupA));
            }
            if constexpr (kCluster > 1 && !kShareA) {
                loadTensorMulticast(
                    maps.b, full, b + walk.rank * (kStageB / 2), policyB, 3, x,
                    i32(work.column + walk.rank * (kBlockN / 2)), i32(work.groupB));
            } else {
                loadTensor(maps.b, full, b, policyB, x, i32(work.column), i32(work.groupB));
            }
            if constexpr (kScaled) {
                const u32 scales = base + kOffsetScales + s * kStageScales;
                loadTensor(maps.scaleA, full, scales, policyA, i32(work.row), i32(block), i32(work.groupA));
                loadTensor(
                    maps.scaleB, full, scales + kScaleABytes, policyB, i32(work.column / kScaleBlock), i32(block),
                    i32(work.groupB));
            }
            ring.advance();
        }
    }
}

/// Tells the producers that this warp has read stage `s`.
FATHOM_INLINE void releaseStage(u32 base, u32 s, u32 lane) {
    __syncwarp();
    const u32 empty = base + kOffsetEmpty + s * 8;
    if constexpr (kCluster > 1) {
        if (lane < kCluster) barrierArrive(empty, lane);
    } else {
        if (lane == 0) barrierArrive(empty);
    }
}

/// The sums of a tile in FP8: each K block multiplied afresh and added with its scales.
FATHOM_INLINE void sumScaled(
    float (&total)[kWaves][kSums], const Work& work, Ring<kStages>& ring, u32 base, u32 group, u32 thread) {
    const u32 lane = thread % kWarpSize;
    const u32 border = columnsOfFirstScale(work.column);
    for (u32 block = work.firstBlock; block < work.endBlock; ++block) {
        const u32 s = ring.index;
        barrierWait<(kCluster > 1)>(base + kOffsetFull + s * 8, ring.parity);
        const u32 scales = base + kOffsetScales + s * kStageScales;
        const float first = loadShared(scales + kScaleABytes);
        const float second = loadShared(scales + kScaleABytes + 4);
        const u64 b = descriptorKMajor<kRowBytes>(base + kOffsetB + s * kStageB);
#pragma unroll
        for (u32 wave = 0; wave < kWaves; ++wave) {
            const u32 row = wave * kWaveRows + group * 64;
            const u64 a = descriptorKMajor<kRowBytes>(base + kOffsetA + s * kStageA + row * kRowBytes);
            float scale[2];
            scale[0] = loadShared(scales + (row + accumulatorRow(thread, 0)) * 4);
            scale[1] = loadShared(scales + (row + accumulatorRow(thread, 2)) * 4);
            float partial[kSums];
            warpgroupArrive();
#pragma unroll
            for (u32 step = 0; step < 4; ++step) {
                multiply(partial, a + descriptorStep(step * 32), b + descriptorStep(step * 32), step != 0);
            }
            warpgroupCommit();
            warpgroupWait<0>();
            holdRegisters(partial);
            if (wave == kWaves - 1) releaseStage(base, s, lane);
            const float left[2] = {scale[0] * first, scale[1] * first};
            const float right[2] = {scale[0] * second, scale[1] * second};
#pragma unroll
            for (u32 i = 0; i < kSums; ++i) {
                // Eight columns never straddle: borders of scale blocks are multiples of 16 columns of a tile.
                const bool straddles = kScaleBlock % kBlockN != 0 && accumulatorColumn(0, i) >= border;
                total[wave][i] += (straddles ? right[i / 2 % 2] : left[i / 2 % 2]) * partial[i];
            }
        }
        ring.advance();
    }
}

/// The sums of a tile in BF16: the tensor core adds up; one batch of products is always under way.
FATHOM_INLINE void sumPlain(
    float (&total)[kWaves][kSums], const Work& work, Ring<kStages>& ring, u32 base, u32 group, u32 thread) {
    const u32 lane = thread % kWarpSize;
    u32 previous = kStages;
    for (u32 block = work.firstBlock; block < work.endBlock; ++block) {
        const u32 s = ring.index;
        barrierWait<(kCluster > 1)>(base + kOffsetFull + s * 8, ring.parity);
        const u64 b = descriptorKMajor<kRowBytes>(base + kOffsetB + s * kStageB);
        warpgroupArrive();
#pragma unroll
        for (u32 wave = 0; wave < kWaves; ++wave) {
            const u32 row = wave * kWaveRows + group * 64;
            const u64 a = descriptorKMajor<kRowBytes>(base + kOffsetA + s * kStageA + row * kRowBytes);
#pragma unroll
            for (u32 step = 0; step < 4; ++step) {
                multiply(total[wave], a + descriptorStep(step * 32), b + descriptorStep(step * 32), true);
            }
        }
        warpgroupCommit();
        warpgroupWait<1>();
        if (previous != kStages) releaseStage(base, previous, lane);
        previous = s;
        ring.advance();
    }
    warpgroupWait<0>();
#pragma unroll
    for (u32 wave = 0; wave < kWaves; ++wave) holdRegisters(total[wave]);
    if (previous != kStages) releaseStage(base, previous, lane);
}

/// Adds up the parts of a split tile in the order of K. Each part goes to memory; whoever comes last adds all of them,
/// so nobody waits. Returns whether this warpgroup did.
FATHOM_INLINE bool addSplits(
    float (&total)[kWaves][kSums], const Work& work, float* workspace, u32* counters, u32 base, u32 group,
    u32 thread) {
    const u64 half = u64(work.tile) * kMathGroups + group;
    float4* parts = reinterpret_cast<float4*>(workspace + half * kSplits * 64 * kBlockN);
    constexpr u32 perPart = 64 * kBlockN / 4;
    float4* mine = parts + work.split * perPart;
#pragma unroll
    for (u32 i = 0; i < kSums / 4; ++i) {
        mine[i * kWarpgroupSize + thread] =
            make_float4(total[0][4 * i], total[0][4 * i + 1], total[0][4 * i + 2], total[0][4 * i + 3]);
    }
    __threadfence();
    namedSync(1 + group, kWarpgroupSize);
    const u32 flag = base + kOffsetFlags + group * 4;
    if (thread == 0) {
        const u32 before = atomicAdd(counters + half, 1u);
        if (before == kSplits - 1) counters[half] = 0;
        storeShared(flag, __uint_as_float(before));
    }
    namedSync(1 + group, kWarpgroupSize);
    if (__float_as_uint(loadShared(flag)) != kSplits - 1) return false;
    __threadfence();
#pragma unroll
    for (u32 i = 0; i < kSums; ++i) total[0][i] = 0;
    for (u32 split = 0; split < kSplits; ++split) {
        const float4* part = parts + split * perPart;
#pragma unroll
        for (u32 i = 0; i < kSums / 4; ++i) {
            const float4 value = __ldcg(part + i * kWarpgroupSize + thread);
            total[0][4 * i] += value.x;
            total[0][4 * i + 1] += value.y;
            total[0][4 * i + 2] += value.z;
            total[0][4 * i + 3] += value.w;
        }
    }
    return true;
}

/// Puts columns of a wave's sums in the warpgroup's output buffer.
template <u32 First>
FATHOM_INLINE void fillOutput(const float (&sums)[kSums], u32 buffer, u32 thread) {
    if constexpr (kOutputBytes == 2) {
        const u32 lane = thread % kWarpSize;
        const u32 row = thread / kWarpSize * 16 + matrixRow(lane);
        const u32 side = matrixHalf(lane);
#pragma unroll
        for (u32 j = 0; j < kStoreColumns / 16; ++j) {
            const u32 i = First / 2 + j * 8;
            storeMatrix(
                buffer + outputOffset(row, j * 2 + side), packBFloat16(sums[i], sums[i + 1]),
                packBFloat16(sums[i + 2], sums[i + 3]), packBFloat16(sums[i + 4], sums[i + 5]),
                packBFloat16(sums[i + 6], sums[i + 7]));
        }
    } else {
#pragma unroll
        for (u32 j = 0; j < kStoreColumns / 4; ++j) {
            const u32 i = j * 2;
            const u32 byte = accumulatorColumn(thread, i) * 4;
            storeShared(
                buffer + outputOffset(accumulatorRow(thread, i), byte / 16) + byte % 16, sums[First / 2 + i],
                sums[First / 2 + i + 1]);
        }
    }
}

/// Writes a wave of a tile, kStoreColumns at a time, and returns while the copy engine still works.
template <u32 First = 0>
FATHOM_INLINE void storeWave(
    const float (&sums)[kSums], const TensorMap* map, u32 buffer, u32 group, u32 thread, u32 row, u32 column, u32 m,
    u32 n, u32 slice) {
    if (thread == 0) waitStoresRead<0>();
    namedSync(1 + group, kWarpgroupSize);
    fillOutput<First>(sums, buffer, thread);
    fenceSharedForAsync();
    namedSync(1 + group, kWarpgroupSize);
    if (thread == 0) {
#pragma unroll
        for (u32 panel = 0; panel < kStorePanels; ++panel) {
            const u32 x = column + First + panel * kPanelColumns;
            if (x >= n || row >= m) continue;
            const u32 source = buffer + panel * kPanelBytes;
            if constexpr (kAccumulates) addTensor(map, source, i32(x), i32(row), i32(slice));
            else storeTensor(map, source, i32(x), i32(row), i32(slice));
        }
        commitStores();
    }
    if constexpr (First + kStoreColumns < kBlockN) {
        storeWave<First + kStoreColumns>(sums, map, buffer, group, thread, row, column, m, n, slice);
    }
}

/// A warpgroup that multiplies: rows `group * 64` on of each wave.
FATHOM_INLINE void consume(
    Walk walk, Maps maps, u32 base, u32 group, float* workspace, u32* counters) {
    const u32 thread = threadIdx.x % kWarpgroupSize;
    const u32 buffer = base + group * kOutputGroupBytes;
    Ring<kStages> ring;
    Work work;
    while (walk.next(work)) {
        float total[kWaves][kSums];
        bool isPadding[kWaves][2];
#pragma unroll
        for (u32 wave = 0; wave < kWaves; ++wave) {
#pragma unroll
            for (u32 i = 0; i < kSums; ++i) total[wave][i] = 0;
            if constexpr (kGrouping == 1) {
#pragma unroll
                for (u32 half = 0; half < 2; ++half) {
                    const u32 row = work.row + wave * kWaveRows + group * 64 + accumulatorRow(thread, half * 2);
                    isPadding[wave][half] = row < walk.m && __ldg(walk.rows + row) < 0;
                }
            }
        }
        if constexpr (kScaled) sumScaled(total, work, ring, base, group, thread);
        else sumPlain(total, work, ring, base, group, thread);
        if constexpr (kSplits > 1) {
            if (!addSplits(total, work, workspace, counters, base, group, thread)) continue;
        }
#pragma unroll
        for (u32 wave = 0; wave < kWaves; ++wave) {
            if constexpr (kGrouping == 1) {
#pragma unroll
                for (u32 i = 0; i < kSums; ++i) {
                    if (isPadding[wave][i / 2 % 2]) total[wave][i] = 0;
                }
            }
            storeWave(
                total[wave], maps.d, buffer, group, thread, work.row + wave * kWaveRows + group * 64, work.column,
                walk.m, walk.n, work.groupA);
        }
    }
    if (thread == 0) waitStores<0>();
}

}  // namespace

#if FATHOM_CLUSTER > 1
#define FATHOM_CLUSTER_DIMENSIONS __cluster_dims__(FATHOM_CLUSTER, 1, 1)
#else
#define FATHOM_CLUSTER_DIMENSIONS
#endif

/// - a: [groups of A][m][k], b: [groups][n][k], 128-byte rows of boxes; scaleA: [groups of A][k blocks][m], scaleB:
///   [groups][k blocks][n / 128], both with their last axis fastest; d: [groups of A][m][n].
/// - rows: with kGrouping 1 the group of each row, -1 for padding; with 2 how many rows each group has.
/// - workspace, counters: with splits; the counters are zero before and after a launch.
extern "C" __global__ void FATHOM_CLUSTER_DIMENSIONS __launch_bounds__(kThreads, 1) fathom_gemm(
    const __grid_constant__ TensorMap mapA, const __grid_constant__ TensorMap mapB,
    const __grid_constant__ TensorMap mapScaleA, const __grid_constant__ TensorMap mapScaleB,
    const __grid_constant__ TensorMap mapD, u32 m, u32 n, u32 k, u32 groups, const i32* rows, float* workspace,
    u32* counters) {
    extern __shared__ __align__(1024) u8 shared[];
    const u32 base = sharedAddress(shared);
#ifdef FATHOM_WAIT_LIMIT
    // Swizzled tiles start at multiples of 1024 bytes.
    if (base % 1024 != 0) __trap();
#endif
    const u32 warp = warpIndex();
    if (warp == kMathGroups * 4 && electOne()) {
        prefetchTensorMap(&mapA);
        prefetchTensorMap(&mapB);
        if constexpr (kScaled) {
            prefetchTensorMap(&mapScaleA);
            prefetchTensorMap(&mapScaleB);
        }
        prefetchTensorMap(&mapD);
        for (u32 s = 0; s < kStages; ++s) {
            barrierInit(base + kOffsetFull + s * 8, 1);
            // One arrival of each multiplying warp, of both blocks where they share.
            barrierInit(base + kOffsetEmpty + s * 8, kMathGroups * 4 * kCluster);
        }
        fenceBarrierInit();
    }
    __syncwarp();
    if constexpr (kCluster > 1) clusterSync();
    else __syncthreads();
    waitForPrerequisites();

    const Maps maps{&mapA, &mapB, &mapScaleA, &mapScaleB, &mapD};
    const Walk walk(m, n, k, groups, rows);
    if (warp / 4 == kMathGroups) {
        if constexpr (kMathGroups > 1) decreaseRegisters<40>();
        if (warp == kMathGroups * 4 && electOne()) produce(walk, maps, base);
        __syncwarp();
    } else {
        if constexpr (kMathGroups > 1) increaseRegisters<232>();
        consume(walk, maps, base, warp / 4, workspace, counters);
    }
    launchDependents();
    // A block's shared memory takes the other's copies and arrivals until both are done.
    if constexpr (kCluster > 1) {
        __syncwarp();
        clusterSync();
    }
}
