// SPDX-License-Identifier: MIT
//
// Latent attention over a paged cache on compute capability 9.0a: 576-wide rows, 512-wide values, pages of 64.
//
// A block has 64 query rows (heads times tokens of one key head). The result of a tile, 64 x 512 sums, fills half of
// the register file, so two warpgroups have one half of its columns each and take turns: each makes the scores of
// every second page, multiplies its own weights from registers with its half of the page's values, and hands them
// through shared memory to the other, which multiplies them with the other half. While one is at exponentials the
// other is at the tensor core. A third warpgroup's first warp copies pages, in boxes of 64 x 64 with a barrier each,
// so that a product begins when a ninth of a page is there. Source: FlashMLA's "seesaw" schedule (reference notes).
//
// With index lists (kSparse) the keys are packed FP8 rows, which the third warpgroup unpacks into the same boxes; a
// query token is a request of its own then.
//
// Weights of page 0 of a pair go where the rotated part of its keys was, those of page 1 likewise: the scores are made
// by then.
#include "hopper.cuh"
#include "mla_layout.cuh"
#include "multiply.cuh"

using namespace fathom;

namespace {

constexpr float kInfinity = __builtin_bit_cast(float, 0x7F800000u);
constexpr float kLog2 = 0.693147180559945309f;

/// Keys of a request.
FATHOM_INLINE i32 lengthOf(const Arguments& a, i32 request) {
    if constexpr (kSparse) {
        return a.listLengths == nullptr ? a.listCount
                                        : listLength(__ldg(a.listLengths + request / a.listTokens), a.listCount);
    } else {
        return __ldg(a.lengths + request);
    }
}

/// Where the log-sum of a row goes: [requests, heads, tokens].
FATHOM_INLINE i64 placeOfLogSum(const Arguments& a, i32 request, i32 token, i32 head) {
    if constexpr (kSparse) {
        return (i64(request / a.listTokens) * a.heads + head) * a.listTokens + request % a.listTokens;
    } else {
        return (i64(request) * a.heads + head) * a.tokens + token;
    }
}

/// What the sink of a head leaves of its result; the log-sum in units of log2.
FATHOM_INLINE float sinkFactor(const Arguments& a, i32 head, float logSum) {
    if constexpr (kSparse) {
        if (a.sinks != nullptr) return 1 / (1 + exp2f(__ldg(a.sinks + head) * (1 / kLog2) - logSum));
    }
    return 1;
}

/// One stretch of a part: pages of one request.
struct Stretch {
    i32 request;
    i32 firstPage;
    i32 endPage;
    /// Number among the request's pieces; its only one if the request is not cut.
    i32 piece;
    bool isWhole;
    i32 length;
};

/// Walks over the stretches of a part. All warps walk alike.
struct Walk {
    const Arguments& a;
    Part part;
    i32 request;

    FATHOM_INLINE Walk(const Arguments& a, u32 index) : a(a), part(a.parts[index]), request(part.firstRequest) {}

    FATHOM_INLINE bool next(Stretch& s) {
        if (request > part.lastRequest) return false;
        s.request = request;
        s.length = lengthOf(a, request);
        s.firstPage = request == part.firstRequest ? part.firstPage : 0;
        s.endPage = request == part.lastRequest ? part.endPage : pagesOf(s.length);
        s.piece = a.pieceEnds[request] + (request == part.firstRequest ? part.firstPiece : 0);
        s.isWhole = a.pieceEnds[request + 1] - a.pieceEnds[request] == 1;
        // A request without keys has a page to nobody.
        if (s.length <= 0) s.endPage = s.firstPage;
        ++request;
        return true;
    }
};

/// Where a tile's rows are: row r is query token r / group and head keyHead * group + r % group.
struct Tile {
    i32 firstRow;
    i32 rowCount;
    i32 group;
    i32 keyHead;

    FATHOM_INLINE Tile(const Arguments& a) {
        group = a.heads / a.keyHeads;
        const i32 rows = group * a.tokens;
        const i32 tiles = i32(divideUp(u32(rows), kTileRows));
        keyHead = i32(blockIdx.x) / tiles;
        firstRow = i32(blockIdx.x) % tiles * i32(kTileRows);
        rowCount = min(i32(kTileRows), rows - firstRow);
    }
    FATHOM_INLINE i32 token(i32 row) const { return (firstRow + row) / group; }
    FATHOM_INLINE i32 head(i32 row) const { return keyHead * group + (firstRow + row) % group; }
};

/// Named barriers: both consumers but for the last two, which are of one warpgroup each.
enum : u32 { kMaximaReady = 1, kSecondReady = 2, kFirstReady = 3, kBoth = 4, kOwn = 5 };
constexpr u32 kBothThreads = kConsumers * kWarpgroupSize;

/// The copier without index lists: one thread.
FATHOM_INLINE void copyKeys(const Arguments& a, const TensorMap* map, u32 base) {
    const Tile tile(a);
    const u64 policy = policyEvictFirst();
    // Two numbers and no array, which an index that is not known would put in memory.
    u32 firstRounds = 0;
    u32 secondRounds = 0;
    Walk walk(a, blockIdx.y);
    Stretch s;
    while (walk.next(s)) {
        const i32* table = a.pageTable + i64(s.request) * a.pageTableStride;
        i32 page = s.firstPage < s.endPage ? __ldg(table + s.firstPage) : 0;
        for (i32 index = s.firstPage; index < s.endPage; ++index) {
            const u32 buffer = u32(index - s.firstPage) & 1;
            const i32 following = index + 1 < s.endPage ? __ldg(table + index + 1) : 0;
            const u32 parity = ((buffer == 0 ? firstRounds : secondRounds) & 1) ^ 1;
            for (u32 part = 0; part < 2; ++part) {
                barrierWait(base + emptyBarrier(buffer, part), parity);
                for (u32 box = 0; box < kBoxes; ++box) {
                    if (partOfBox(buffer, box) != part) continue;
                    const u32 full = base + fullBarrier(buffer, box);
                    barrierArriveExpect(full, kBoxBytes);
                    loadTensor(
                        map, full, base + keyBox(buffer, box), policy, i32(box * kBoxColumns), 0, tile.keyHead, page);
                }
            }
            if (buffer == 0) ++firstRounds;
            else ++secondRounds;
            page = following;
        }
    }
}

/// Sixteen E4M3 codes times their scale, as two-byte numbers.
FATHOM_INLINE void unpackCodes(const uint4& codes, float scale, u32 (&out)[8]) {
    const u32 words[4] = {codes.x, codes.y, codes.z, codes.w};
#pragma unroll
    for (u32 i = 0; i < 8; ++i) {
        const u32 halves = unpackE4M3(u16(words[i / 2] >> (i % 2 * 16)));
        out[i] = packPair(float16Low(halves) * scale, float16High(halves) * scale);
    }
}

/// The copier with index lists: a warpgroup that reads packed rows, eight threads each, and writes them as boxes. Rows
/// that are not there are zeros, and marked as holes.
FATHOM_INLINE void unpackKeys(const Arguments& a, u32 base) {
    const u32 thread = threadIdx.x % kWarpgroupSize;
    const u32 lane = thread % kWarpSize;
    const u32 column = thread % 8;
    u32 firstRounds = 0;
    u32 secondRounds = 0;
    Walk walk(a, blockIdx.y);
    Stretch s;
    while (walk.next(s)) {
        const i32* list = a.lists + i64(s.request) * a.listCount;
        for (i32 index = s.firstPage; index < s.endPage; ++index) {
            const u32 buffer = u32(index - s.firstPage) & 1;
            const u32 parity = ((buffer == 0 ? firstRounds : secondRounds) & 1) ^ 1;
            barrierWait(base + emptyBarrier(buffer, 0), parity);
            barrierWait(base + emptyBarrier(buffer, 1), parity);
#pragma unroll 1
            for (u32 pass = 0; pass < 4; ++pass) {
                const u32 row = pass * 16 + thread / 8;
                const i32 place = index * i32(kPage) + i32(row);
                const i32 key = place < s.length ? __ldg(list + place) : -1;
                const bool isThere = key >= 0 && key < a.poolRows;
                const u8* source = a.pool;
                if (isThere) {
                    source += i64(key / a.poolPageSize) * a.poolPageStride
                        + i64(key % a.poolPageSize) * i64(kPackedRowBytes);
                }
                const uint4 nothing = make_uint4(0, 0, 0, 0);
                uint4 codes[4];
#pragma unroll
                for (u32 i = 0; i < 4; ++i) {
                    codes[i] = isThere ? __ldg(reinterpret_cast<const uint4*>(source) + i * 8 + column) : nothing;
                }
                const float4 four =
                    isThere ? __ldg(reinterpret_cast<const float4*>(source + kPackedScales)) : make_float4(0, 0, 0, 0);
                const float scales[4] = {four.x, four.y, four.z, four.w};
                const uint4 rotated =
                    isThere ? __ldg(reinterpret_cast<const uint4*>(source + kPackedRotated) + column) : nothing;
#pragma unroll
                for (u32 i = 0; i < 4; ++i) {
                    u32 numbers[8];
                    unpackCodes(codes[i], scales[i], numbers);
                    const u32 part = i * 8 + column;
                    const u32 box = base + keyBox(buffer, boxOfCodes(part));
                    const u32 chunk = chunkOfCodes(part);
                    storeShared(
                        box + swizzledChunk<128>(row, chunk), numbers[0], numbers[1], numbers[2], numbers[3]);
                    storeShared(
                        box + swizzledChunk<128>(row, chunk + 1), numbers[4], numbers[5], numbers[6], numbers[7]);
                }
                storeShared(
                    base + keyBox(buffer, kBoxes - 1) + swizzledChunk<128>(row, column), rotated.x, rotated.y,
                    rotated.z, rotated.w);
                if (column == 0) {
                    storeShared(base + kOffsetHoles + (buffer * kPage + row) * 4, isThere ? 0.0f : -1e33f);
                }
            }
            fenceSharedForAsync();
            __syncwarp();
            if (lane < kBoxes) barrierArrive(base + fullBarrier(buffer, lane));
            if (buffer == 0) ++firstRounds;
            else ++secondRounds;
        }
    }
}

/// Copies the tile's queries to shared memory, boxes of 64 columns; rows that are not there are zero. Both consumers.
FATHOM_INLINE void copyQueries(const Arguments& a, const Tile& tile, i32 request, u32 base) {
    constexpr u32 chunks = kKeyWidth / 8;
    for (u32 index = threadIdx.x; index < kTileRows * chunks; index += kBothThreads) {
        const u32 row = index / chunks;
        const u32 chunk = index % chunks;
        uint4 value = make_uint4(0, 0, 0, 0);
        if (i32(row) < tile.rowCount) {
            const u16* source = a.queries + request * a.queryRequestStride
                + tile.token(i32(row)) * a.queryTokenStride + tile.head(i32(row)) * a.queryHeadStride;
            value = __ldg(reinterpret_cast<const uint4*>(source) + chunk);
        }
        const u32 target = base + kOffsetQueries + chunk / 8 * kBoxBytes + swizzledChunk<128>(row, chunk % 8);
        storeShared(target, value.x, value.y, value.z, value.w);
    }
    fenceSharedForAsync();
    namedSync(kBoth, kBothThreads);
}

/// Starts the scores of a page; begins as soon as its first box is there.
FATHOM_INLINE void startScores(float (&scores)[32], u32 base, u32 buffer, u32 parity) {
#pragma unroll
    for (u32 box = 0; box < kBoxes; ++box) {
        barrierWait(base + fullBarrier(buffer, box), parity);
        warpgroupArrive();
        const u64 q = descriptorKMajor<128>(base + kOffsetQueries + box * kBoxBytes);
        const u64 k = descriptorKMajor<128>(base + keyBox(buffer, box));
#pragma unroll
        for (u32 step = 0; step < 4; ++step) {
            multiplyScores(
                scores, q + descriptorStep(step * 32), k + descriptorStep(step * 32), box != 0 || step != 0);
        }
    }
    warpgroupCommit();
}

/// Descriptor of this warpgroup's half of a page's values, from key `first` on.
FATHOM_INLINE u64 valueDescriptor(u32 base, u32 buffer, u32 half, u32 first) {
    return descriptorMNMajor<128>(base + keyBox(buffer, half * kHalfBoxes) + first * 128, kBoxBytes);
}

/// out += weights (registers) * values.
FATHOM_INLINE void multiplyOwn(float (&out)[128], const u32 (&weights)[16], u32 base, u32 buffer, u32 half) {
    warpgroupArrive();
#pragma unroll
    for (u32 step = 0; step < 4; ++step) {
        multiplyOwnWeights(
            out, weights[step * 4], weights[step * 4 + 1], weights[step * 4 + 2], weights[step * 4 + 3],
            valueDescriptor(base, buffer, half, step * 16), true);
    }
    warpgroupCommit();
}

/// out += weights (shared memory, in the box of the rotated keys) * values.
FATHOM_INLINE void multiplyOthers(float (&out)[128], u32 base, u32 buffer, u32 half) {
    const u64 weights = descriptorKMajor<128>(base + keyBox(buffer, kBoxes - 1));
    warpgroupArrive();
#pragma unroll
    for (u32 step = 0; step < 4; ++step) {
        multiplySharedWeights(
            out, weights + descriptorStep(step * 32), valueDescriptor(base, buffer, half, step * 16), true);
    }
    warpgroupCommit();
}

/// Weights as operands in registers: columns 16 * step of four registers each.
FATHOM_INLINE void packWeights(u32 (&packed)[16], const float (&weights)[32], const float (&factor)[2]) {
#pragma unroll
    for (u32 i = 0; i < 16; ++i) {
        packed[i] = packPair(weights[2 * i] * factor[i % 2], weights[2 * i + 1] * factor[i % 2]);
    }
}

/// Keeps operands in their registers until here: products read them until they have ended.
FATHOM_INLINE void holdOperands(u32 (&packed)[16]) {
#pragma unroll
    for (u32 i = 0; i < 16; ++i) asm volatile("" : "+r"(packed[i])::"memory");
}

/// Puts packed weights where the other warpgroup finds them.
FATHOM_INLINE void shareWeights(const u32 (&packed)[16], u32 base, u32 buffer, u32 thread) {
    const u32 lane = thread % kWarpSize;
    const u32 row = thread / kWarpSize * 16 + matrixRow(lane);
#pragma unroll
    for (u32 step = 0; step < 4; ++step) {
        storeMatrix(
            base + keyBox(buffer, kBoxes - 1) + swizzledChunk<128>(row, step * 2 + matrixHalf(lane)),
            packed[step * 4], packed[step * 4 + 1], packed[step * 4 + 2], packed[step * 4 + 3]);
    }
    fenceSharedForAsync();
}

FATHOM_INLINE void release(u32 base, u32 buffer, u32 part, u32 lane) {
    __syncwarp();
    if (lane == 0) barrierArrive(base + emptyBarrier(buffer, part));
}

/// Scores in units of log2, those of keys that a row does not see far below any maximum.
FATHOM_INLINE void maskScores(
    float (&scores)[32], float scale, i32 firstKey, const i32 (&visible)[2], bool mayHide, u32 base, u32 buffer,
    u32 thread) {
#pragma unroll
    for (u32 i = 0; i < 32; ++i) {
        const float score = scores[i] * scale;
        if constexpr (kSparse) {
            // Keys of holes are zeros, so the score is a number.
            const u32 hole = base + kOffsetHoles + (buffer * kPage + accumulatorColumn(thread, i)) * 4;
            scores[i] = score + loadShared(hole);
        } else {
            const bool isHidden = mayHide && firstKey + i32(accumulatorColumn(thread, i)) >= visible[i / 2 % 2];
            scores[i] = isHidden ? -1e33f : score;
        }
    }
}

/// The largest score of both rows of this thread, with the other three threads of the row, and not below `maximum`.
FATHOM_INLINE void raiseMaximum(float (&maximum)[2], const float (&scores)[32]) {
#pragma unroll
    for (u32 i = 0; i < 32; ++i) maximum[i / 2 % 2] = fmaxf(maximum[i / 2 % 2], scores[i]);
#pragma unroll
    for (u32 half = 0; half < 2; ++half) {
        maximum[half] = fmaxf(maximum[half], __shfl_xor_sync(0xFFFFFFFFu, maximum[half], 1));
        maximum[half] = fmaxf(maximum[half], __shfl_xor_sync(0xFFFFFFFFu, maximum[half], 2));
    }
}

/// Scores become weights; this thread's part of their sums is added.
FATHOM_INLINE void makeWeights(float (&scores)[32], const float (&maximum)[2], float (&sums)[2]) {
#pragma unroll
    for (u32 i = 0; i < 32; ++i) {
        scores[i] = exp2Approximate(scores[i] - maximum[i / 2 % 2]);
        sums[i / 2 % 2] += scores[i];
    }
}

FATHOM_INLINE void scaleOut(float (&out)[128], const float (&factor)[2]) {
#pragma unroll
    for (u32 i = 0; i < 128; ++i) out[i] *= factor[i / 2 % 2];
}

/// Zeros in rows of this warpgroup's half of a page's values that no key of the request fills: what lies there may be
/// anything, and zero times NaN is NaN.
FATHOM_INLINE void clearTail(u32 base, u32 buffer, u32 half, u32 firstRow, u32 parity, u32 thread) {
#pragma unroll
    for (u32 box = 0; box < kHalfBoxes; ++box) {
        barrierWait(base + fullBarrier(buffer, half * kHalfBoxes + box), parity);
    }
    const u32 chunks = (kPage - firstRow) * 8;
    for (u32 index = thread; index < kHalfBoxes * chunks; index += kWarpgroupSize) {
        const u32 box = index / chunks;
        const u32 place = index % chunks;
        storeShared(
            base + keyBox(buffer, half * kHalfBoxes + box) + firstRow * 128 + place * 16, 0u, 0u, 0u, 0u);
    }
    fenceSharedForAsync();
    namedSync(kOwn + half, kWarpgroupSize);
}

/// Waits for this warpgroup's half of a page's values.
FATHOM_INLINE void awaitValues(u32 base, u32 buffer, u32 half, u32 parity) {
#pragma unroll
    for (u32 box = 0; box < kHalfBoxes; ++box) {
        barrierWait(base + fullBarrier(buffer, half * kHalfBoxes + box), parity);
    }
}

/// What a warpgroup keeps over a stretch.
struct Sums {
    float out[128];
    /// For the thread's two rows: the running maximum, the same in both warpgroups, and this thread's part of the sum
    /// of the pages whose scores this warpgroup makes.
    float maximum[2];
    float sum[2];
};

/// The thread's two rows of a tile.
FATHOM_INLINE u32 rowOf(u32 thread, u32 half) { return accumulatorRow(thread, half * 2); }

/// A pair of pages, for the warpgroup of the first (half 0).
FATHOM_INLINE void firstOfPair(
    Sums& sums, u32 base, bool hasSecond, u32 firstParity, u32 secondParity, float scale, i32 firstKey,
    const i32 (&visible)[2], bool mayHide, i32 length, u32 thread) {
    const u32 lane = thread % kWarpSize;
    float scores[32];
    startScores(scores, base, 0, firstParity);
    warpgroupWait<0>();
    holdRegisters(scores);
    maskScores(scores, scale, firstKey, visible, mayHide, base, 0, thread);
    const float before[2] = {sums.maximum[0], sums.maximum[1]};
    raiseMaximum(sums.maximum, scores);
    if (lane % 4 == 0) {
        storeShared(base + kOffsetMaxima + rowOf(thread, 0) * 4, sums.maximum[0]);
        storeShared(base + kOffsetMaxima + rowOf(thread, 1) * 4, sums.maximum[1]);
    }
    namedArrive(kMaximaReady, kBothThreads);
    const float fall[2] = {
        exp2Approximate(before[0] - sums.maximum[0]), exp2Approximate(before[1] - sums.maximum[1])};
    sums.sum[0] *= fall[0];
    sums.sum[1] *= fall[1];
    makeWeights(scores, sums.maximum, sums.sum);
    scaleOut(sums.out, fall);
    if (!kSparse && firstKey + i32(kPage) > length) clearTail(base, 0, 0, u32(length - firstKey), firstParity, thread);
    u32 packed[16];
    const float one[2] = {1, 1};
    packWeights(packed, scores, one);
    holdRegisters(sums.out);
    multiplyOwn(sums.out, packed, base, 0, 0);
    float second[2] = {1, 1};
    if (hasSecond) {
        namedSync(kSecondReady, kBothThreads);
#pragma unroll
        for (u32 half = 0; half < 2; ++half) {
            const float raised = loadShared(base + kOffsetMaxima + (kTileRows + rowOf(thread, half)) * 4);
            second[half] = exp2Approximate(sums.maximum[half] - raised);
            sums.maximum[half] = raised;
            sums.sum[half] *= second[half];
        }
    }
    u32 shared[16];
    packWeights(shared, scores, second);
    shareWeights(shared, base, 0, thread);
    namedArrive(kFirstReady, kBothThreads);
    release(base, 0, 1, lane);
    warpgroupWait<0>();
    holdRegisters(sums.out);
    holdOperands(packed);
    release(base, 0, 0, lane);
    if (!hasSecond) return;
    scaleOut(sums.out, second);
    const i32 secondKey = firstKey + i32(kPage);
    if (!kSparse && secondKey + i32(kPage) > length) {
        clearTail(base, 1, 0, u32(length - secondKey), secondParity, thread);
    } else {
        awaitValues(base, 1, 0, secondParity);
    }
    holdRegisters(sums.out);
    multiplyOthers(sums.out, base, 1, 0);
    warpgroupWait<0>();
    holdRegisters(sums.out);
    release(base, 1, 0, lane);
}

/// A pair of pages, for the warpgroup of the second (half 1).
FATHOM_INLINE void secondOfPair(
    Sums& sums, u32 base, bool hasSecond, u32 firstParity, u32 secondParity, float scale, i32 firstKey,
    const i32 (&visible)[2], bool mayHide, i32 length, u32 thread) {
    const u32 lane = thread % kWarpSize;
    const i32 secondKey = firstKey + i32(kPage);
    float scores[32];
    if (hasSecond) {
        startScores(scores, base, 1, secondParity);
        warpgroupWait<0>();
        holdRegisters(scores);
        maskScores(scores, scale, secondKey, visible, mayHide, base, 1, thread);
    }
    namedSync(kMaximaReady, kBothThreads);
    const float before[2] = {sums.maximum[0], sums.maximum[1]};
    sums.maximum[0] = loadShared(base + kOffsetMaxima + rowOf(thread, 0) * 4);
    sums.maximum[1] = loadShared(base + kOffsetMaxima + rowOf(thread, 1) * 4);
    if (hasSecond) {
        raiseMaximum(sums.maximum, scores);
        if (lane % 4 == 0) {
            storeShared(base + kOffsetMaxima + (kTileRows + rowOf(thread, 0)) * 4, sums.maximum[0]);
            storeShared(base + kOffsetMaxima + (kTileRows + rowOf(thread, 1)) * 4, sums.maximum[1]);
        }
    }
    const float fall[2] = {
        exp2Approximate(before[0] - sums.maximum[0]), exp2Approximate(before[1] - sums.maximum[1])};
    sums.sum[0] *= fall[0];
    sums.sum[1] *= fall[1];
    u32 packed[16];
    if (hasSecond) {
        makeWeights(scores, sums.maximum, sums.sum);
        const float one[2] = {1, 1};
        packWeights(packed, scores, one);
        shareWeights(packed, base, 1, thread);
        namedArrive(kSecondReady, kBothThreads);
        release(base, 1, 0, lane);
        scaleOut(sums.out, fall);
        if (!kSparse && secondKey + i32(kPage) > length) {
            clearTail(base, 1, 1, u32(length - secondKey), secondParity, thread);
        }
        holdRegisters(sums.out);
        multiplyOwn(sums.out, packed, base, 1, 1);
    } else {
        scaleOut(sums.out, fall);
    }
    namedSync(kFirstReady, kBothThreads);
    if (!kSparse && firstKey + i32(kPage) > length) clearTail(base, 0, 1, u32(length - firstKey), firstParity, thread);
    else awaitValues(base, 0, 1, firstParity);
    holdRegisters(sums.out);
    multiplyOthers(sums.out, base, 0, 1);
    warpgroupWait<0>();
    holdRegisters(sums.out);
    if (hasSecond) {
        holdOperands(packed);
        release(base, 1, 1, lane);
    }
    release(base, 0, 1, lane);
}

/// Writes this warpgroup's half of a stretch's results.
FATHOM_INLINE void finish(
    const Arguments& a, const Tile& tile, const Stretch& s, const Sums& sums, u32 base, u32 half, u32 thread) {
    const u32 lane = thread % kWarpSize;
    float total[2];
#pragma unroll
    for (u32 side = 0; side < 2; ++side) {
        float sum = sums.sum[side];
        sum += __shfl_xor_sync(0xFFFFFFFFu, sum, 1);
        sum += __shfl_xor_sync(0xFFFFFFFFu, sum, 2);
        total[side] = sum;
        if (lane % 4 == 0) storeShared(base + kOffsetSums + (half * kTileRows + rowOf(thread, side)) * 4, sum);
    }
    namedSync(kBoth, kBothThreads);
#pragma unroll
    for (u32 side = 0; side < 2; ++side) {
        const u32 row = rowOf(thread, side);
        // Always the first warpgroup's sum and then the second's.
        const float other = loadShared(base + kOffsetSums + ((1 - half) * kTileRows + row) * 4);
        const float sum = half == 0 ? total[side] + other : other + total[side];
        if (i32(row) >= tile.rowCount) continue;
        const i32 token = tile.token(i32(row));
        const i32 head = tile.head(i32(row));
        const float logSum = sum > 0 ? sums.maximum[side] + log2f(sum) : -kInfinity;
        const float factor = sum > 0 ? (s.isWhole ? sinkFactor(a, head, logSum) : 1) / sum : 0;
        const u32 firstColumn = half * (kValueWidth / 2);
        if (s.isWhole) {
            u16* target = a.out + s.request * a.outRequestStride + token * a.outTokenStride + head * a.outHeadStride
                + firstColumn;
#pragma unroll
            for (u32 i = 0; i < 128; i += 4) {
                const u32 j = i + side * 2;
                *reinterpret_cast<u32*>(target + accumulatorColumn(thread, j)) =
                    packPair(sums.out[j] * factor, sums.out[j + 1] * factor);
            }
            if (half == 0 && lane % 4 == 0) {
                a.logSums[placeOfLogSum(a, s.request, token, head)] =
                    sum > 0 ? logSum * kLog2 : kInfinity;
            }
        } else {
            const i64 place = (i64(s.piece) * a.tokens + token) * a.heads + head;
            float* target = a.pieceOut + place * kValueWidth + firstColumn;
#pragma unroll
            for (u32 i = 0; i < 128; i += 4) {
                const u32 j = i + side * 2;
                *reinterpret_cast<float2*>(target + accumulatorColumn(thread, j)) =
                    make_float2(sums.out[j] * factor, sums.out[j + 1] * factor);
            }
            if (half == 0 && lane % 4 == 0) a.pieceLogSums[place] = logSum;
        }
    }
}

/// A warpgroup that multiplies: half 0 has the first page of each pair and the left half of the values.
template <u32 Half>
FATHOM_INLINE void consume(const Arguments& a, u32 base) {
    const u32 thread = threadIdx.x % kWarpgroupSize;
    const Tile tile(a);
    u32 rounds[2] = {0, 0};
    Walk walk(a, blockIdx.y);
    Stretch s;
    while (walk.next(s)) {
        // Nobody reads the queries of the stretch before any more.
        namedSync(kBoth, kBothThreads);
        copyQueries(a, tile, s.request, base);
        Sums sums;
#pragma unroll
        for (u32 i = 0; i < 128; ++i) sums.out[i] = 0;
        sums.maximum[0] = sums.maximum[1] = -1e30f;
        sums.sum[0] = sums.sum[1] = 0;
        i32 visible[2];
#pragma unroll
        for (u32 side = 0; side < 2; ++side) {
            visible[side] = visibleKeys(s.length, tile.token(i32(rowOf(thread, side))), a.tokens, a.isCausal != 0);
        }
        const i32 least = visibleKeys(s.length, tile.token(0), a.tokens, a.isCausal != 0);
        for (i32 page = s.firstPage; page < s.endPage; page += 2) {
            const bool hasSecond = page + 1 < s.endPage;
            const i32 firstKey = page * i32(kPage);
            const bool mayHide = firstKey + 2 * i32(kPage) > least;
            const u32 firstParity = rounds[0] & 1;
            const u32 secondParity = rounds[1] & 1;
            if constexpr (Half == 0) {
                firstOfPair(
                    sums, base, hasSecond, firstParity, secondParity, a.scale, firstKey, visible, mayHide, s.length,
                    thread);
            } else {
                secondOfPair(
                    sums, base, hasSecond, firstParity, secondParity, a.scale, firstKey, visible, mayHide, s.length,
                    thread);
            }
            ++rounds[0];
            if (hasSecond) ++rounds[1];
        }
        finish(a, tile, s, sums, base, Half, thread);
    }
}

}  // namespace

/// Grid: tiles of rows times key heads, parts. The map is of the cache, [pages][key heads][64][576].
extern "C" __global__ void __launch_bounds__(kThreads, 1)
    fathom_mla(const __grid_constant__ TensorMap map, const __grid_constant__ Arguments a) {
    extern __shared__ __align__(1024) u8 shared[];
    const u32 base = sharedAddress(shared);
    const u32 warp = warpIndex();
    if (warp == 8 && electOne()) {
        prefetchTensorMap(&map);
        for (u32 buffer = 0; buffer < 2; ++buffer) {
            // A copy, or each warp that unpacks.
            for (u32 box = 0; box < kBoxes; ++box) barrierInit(base + fullBarrier(buffer, box), kSparse ? 4 : 1);
            for (u32 part = 0; part < 2; ++part) {
                barrierInit(base + emptyBarrier(buffer, part), releasesOfPart(buffer, part));
            }
        }
        fenceBarrierInit();
    }
    __syncthreads();
    waitForPrerequisites();
    if (warp >= 8) {
        if constexpr (kSparse) {
            decreaseRegisters<72>();
            unpackKeys(a, base);
        } else {
            decreaseRegisters<40>();
            if (warp == 8 && electOne()) copyKeys(a, &map, base);
        }
        __syncwarp();
    } else {
        increaseRegisters<(kSparse ? 216 : 232)>();
        if (warp < 4) consume<0>(a, base);
        else consume<1>(a, base);
    }
    launchDependents();
}

/// Cuts the requests among `count` parts; one block of one warp.
extern "C" __global__ void fathom_mla_schedule(const __grid_constant__ Arguments a, i32 count) {
    struct Lengths {
        const Arguments& a;
        FATHOM_INLINE i32 operator[](i32 request) const { return lengthOf(a, request); }
    };
    if (threadIdx.x == 0) {
        cutRequests(Lengths{a}, a.requests, count, const_cast<Part*>(a.parts), const_cast<i32*>(a.pieceEnds));
    }
    launchDependents();
}

/// Adds up the pieces of requests that were cut: a warp for each row. Grid: rows / 4, requests; four warps.
extern "C" __global__ void __launch_bounds__(128)
    fathom_mla_combine(const __grid_constant__ Arguments a) {
    waitForPrerequisites();
    const i32 request = i32(blockIdx.y);
    const i32 first = a.pieceEnds[request];
    const i32 count = a.pieceEnds[request + 1] - first;
    const i32 row = i32(blockIdx.x * 4 + threadIdx.x / kWarpSize);
    if (count < 2 || row >= a.tokens * a.heads) return;
    const u32 lane = laneIndex();
    const i32 token = row / a.heads;
    const i32 head = row % a.heads;
    const i64 rows = i64(a.tokens) * a.heads;
    float largest = -kInfinity;
    for (i32 piece = 0; piece < count; ++piece) {
        largest = fmaxf(largest, a.pieceLogSums[(first + piece) * rows + row]);
    }
    // A row that sees no key has −∞ in every piece.
    const bool isEmpty = largest == -kInfinity;
    float total = 0;
    float sums[16];
#pragma unroll
    for (u32 i = 0; i < 16; ++i) sums[i] = 0;
    for (i32 piece = 0; piece < count; ++piece) {
        const i64 place = (first + piece) * rows + row;
        const float weight = isEmpty ? 0 : exp2f(a.pieceLogSums[place] - largest);
        total += weight;
        const float4* source = reinterpret_cast<const float4*>(a.pieceOut + place * kValueWidth);
#pragma unroll
        for (u32 i = 0; i < 4; ++i) {
            const float4 value = source[i * kWarpSize + lane];
            sums[4 * i] += weight * value.x;
            sums[4 * i + 1] += weight * value.y;
            sums[4 * i + 2] += weight * value.z;
            sums[4 * i + 3] += weight * value.w;
        }
    }
    const float logSum = largest + log2f(total);
    const float factor = isEmpty ? 0 : sinkFactor(a, head, logSum) / total;
    u16* target = a.out + request * a.outRequestStride + token * a.outTokenStride + head * a.outHeadStride;
#pragma unroll
    for (u32 i = 0; i < 4; ++i) {
        uint2 packed;
        packed.x = packPair(sums[4 * i] * factor, sums[4 * i + 1] * factor);
        packed.y = packPair(sums[4 * i + 2] * factor, sums[4 * i + 3] * factor);
        *reinterpret_cast<uint2*>(target + (i * kWarpSize + lane) * 4) = packed;
    }
    if (lane == 0) {
        a.logSums[placeOfLogSum(a, request, token, head)] = isEmpty ? kInfinity : logSum * kLog2;
    }
}
