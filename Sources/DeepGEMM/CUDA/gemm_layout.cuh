// SPDX-License-Identifier: MIT
//
// Places of the matrix product: what lies where in shared memory, which tile a unit of work is, where accumulators go
// in the output buffer. Plain constexpr functions of the configuration, which a test compiles with the host's clang.
#pragma once
#include "layout.cuh"
#include "configuration.cuh"

namespace fathom {

constexpr u32 kScaleBlock = 128;
/// Bytes of a row of A and of B in a stage: one swizzle span, one scale block of FP8.
constexpr u32 kRowBytes = 128;
constexpr u32 kBlockK = kRowBytes / kElementBytes;

/// Warpgroups that multiply: 64 rows each. A tile of 256 rows is two waves of 128.
constexpr u32 kMathGroups = kBlockM >= 128 ? 2 : 1;
constexpr u32 kWaveRows = kMathGroups * 64;
constexpr u32 kWaves = kBlockM / kWaveRows;
constexpr u32 kThreads = (kMathGroups + 1) * kWarpgroupSize;

constexpr u32 kColumnsPerRegister = 2;
constexpr u32 kSums = kBlockN / kColumnsPerRegister;

/// The output leaves in panels of 64 rows and one swizzle span, the widest that divides the columns of a store.
constexpr u32 kStoreBytes = kStoreColumns * kOutputBytes;
constexpr u32 kSpan = greatestCommonDivisor(kStoreBytes, 128);
constexpr u32 kPanelColumns = kSpan / kOutputBytes;
constexpr u32 kPanelBytes = 64 * kSpan;
constexpr u32 kStorePanels = kStoreColumns / kPanelColumns;

/// Bytes of one stage's parts. Both parts of operands are multiples of 1024, as the swizzle wants.
constexpr u32 kStageA = kBlockM * kRowBytes;
constexpr u32 kStageB = kBlockN * kRowBytes;
constexpr u32 kScaleABytes = kScaled ? kBlockM * 4 : 0;
/// Scales of four neighbouring blocks of B's rows: the least that a copy moves.
constexpr u32 kScaleBBytes = kScaled ? 16 : 0;
constexpr u32 kStageScales = kScaled ? kScaleABytes + 128 : 0;
/// Bytes that one stage's full barrier waits for, whoever sends them.
constexpr u32 kStageBytes = kStageA + kStageB + kScaleABytes + kScaleBBytes;

constexpr u32 kOutputGroupBytes = kStorePanels * kPanelBytes;
constexpr u32 kOffsetA = alignUp(kMathGroups * kOutputGroupBytes, 1024);
constexpr u32 kOffsetB = kOffsetA + kStages * kStageA;
constexpr u32 kOffsetScales = kOffsetB + kStages * kStageB;
constexpr u32 kOffsetFull = kOffsetScales + kStages * kStageScales;
constexpr u32 kOffsetEmpty = kOffsetFull + kStages * 8;
constexpr u32 kOffsetFlags = kOffsetEmpty + kStages * 8;
constexpr u32 kSharedBytes = kOffsetFlags + kMathGroups * 4;

static_assert(kBlockM == 64 || kBlockM == 128 || kBlockM == 256, "rows of a tile");
static_assert(kBlockN % 16 == 0 && kBlockN >= 16 && kBlockN <= 256, "columns of a tile");
static_assert(kBlockN % kStoreColumns == 0 && kStoreColumns % 16 == 0 && kSpan >= 32, "columns of a store");
static_assert(kStages >= 2 && kSharedBytes <= kSharedMemoryLimit, "shared memory");
static_assert(kCluster == 1 || kCluster == 2, "blocks of a cluster");
static_assert(kGrouping == 0 || kCluster == 1 || kShareA, "neighbours along M may be of different groups");
static_assert(kSplits == 1 || (kWaves == 1 && kGrouping == 0), "split tiles have one wave");

/// Byte offset, in a warpgroup's output buffer, of the 16 bytes that start `chunk` 16-byte columns into row `row`.
FATHOM_CONSTEXPR u32 outputOffset(u32 row, u32 chunk) {
    constexpr u32 perPanel = kSpan / 16;
    return chunk / perPanel * kPanelBytes + swizzledChunk<kSpan>(row, chunk % perPanel);
}

/// Columns of a tile from `firstColumn` on that belong to the first of the blocks of B's scales it touches.
FATHOM_CONSTEXPR u32 columnsOfFirstScale(u32 firstColumn) { return kScaleBlock - firstColumn % kScaleBlock; }

/// Units of work along M and N of a product: tiles, or pairs of them where a cluster shares an operand.
FATHOM_CONSTEXPR u32 unitsAlongM(u32 rows) {
    return divideUp(divideUp(rows, kBlockM), kShareA ? 1 : kCluster);
}
FATHOM_CONSTEXPR u32 unitsAlongN(u32 columns) {
    return divideUp(divideUp(columns, kBlockN), kShareA ? kCluster : 1);
}

struct TilePlace {
    u32 row;
    u32 column;
};

/// The tile of block `rank` of the cluster in unit `unit`: stripes of kRasterWidth units along one axis, so that tiles
/// that run at the same time share operands in the L2 cache.
FATHOM_CONSTEXPR TilePlace tileOfUnit(u32 unit, u32 rank, u32 unitsM, u32 unitsN) {
    const u32 along = kRasterAlongM ? unitsM : unitsN;
    const u32 across = kRasterAlongM ? unitsN : unitsM;
    const u32 stripe = unit / (kRasterWidth * across);
    const u32 inside = unit - stripe * kRasterWidth * across;
    const u32 width = smaller(kRasterWidth, along - stripe * kRasterWidth);
    const u32 major = stripe * kRasterWidth + inside % width;
    const u32 minor = inside / width;
    const u32 m = kRasterAlongM ? major : minor;
    const u32 n = kRasterAlongM ? minor : major;
    return TilePlace{(kShareA ? m : m * kCluster + rank) * kBlockM, (kShareA ? n * kCluster + rank : n) * kBlockN};
}

/// First K block of part `split` of a tile.
FATHOM_CONSTEXPR u32 firstBlockOfSplit(u32 split, u32 blocks) { return blocks * split / kSplits; }

}  // namespace fathom
