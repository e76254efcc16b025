// SPDX-License-Identifier: MIT
//
// Places and rules of the GPU's latent attention: what lies where in shared memory, which keys a row sees, and how
// requests are cut among multiprocessors. Plain constexpr functions, which a test compiles with the host's clang.
#pragma once
#include "layout.cuh"

namespace fathom {

/// Numbers of a cache row, and the first of them that are the value.
constexpr u32 kKeyWidth = 576;
constexpr u32 kValueWidth = 512;
/// Tokens of a page, and rows of queries of a tile.
constexpr u32 kPage = 64;
constexpr u32 kTileRows = 64;

/// A tile of 64 x 64 two-byte numbers: rows of one swizzle span.
constexpr u32 kBoxColumns = 64;
constexpr u32 kBoxBytes = 64 * 128;
constexpr u32 kBoxes = kKeyWidth / kBoxColumns;
/// Boxes of one warpgroup's half of the values.
constexpr u32 kHalfBoxes = kValueWidth / 2 / kBoxColumns;

constexpr u32 kConsumers = 2;
constexpr u32 kThreads = (kConsumers + 1) * kWarpgroupSize;

/// Shared memory: queries, two pages of keys, one float for each row of two maxima and two sums, barriers.
constexpr u32 kOffsetQueries = 0;
constexpr u32 kOffsetKeys = kBoxes * kBoxBytes;
constexpr u32 kOffsetMaxima = kOffsetKeys + 2 * kBoxes * kBoxBytes;
constexpr u32 kOffsetSums = kOffsetMaxima + 2 * kTileRows * 4;
/// With index lists, for both pages of keys: 0 for a key that is there, far below any score for one that is not.
constexpr u32 kOffsetHoles = kOffsetSums + 2 * kTileRows * 4;
constexpr u32 kOffsetFull = kOffsetHoles + 2 * kPage * 4;
constexpr u32 kOffsetEmpty = kOffsetFull + 2 * kBoxes * 8;
constexpr u32 kSharedBytes = kOffsetEmpty + 2 * 2 * 8;
static_assert(kSharedBytes <= kSharedMemoryLimit, "shared memory");

/// Where a box of a page of keys lies.
FATHOM_CONSTEXPR u32 keyBox(u32 buffer, u32 box) { return kOffsetKeys + (buffer * kBoxes + box) * kBoxBytes; }
FATHOM_CONSTEXPR u32 fullBarrier(u32 buffer, u32 box) { return kOffsetFull + (buffer * kBoxes + box) * 8; }
FATHOM_CONSTEXPR u32 emptyBarrier(u32 buffer, u32 part) { return kOffsetEmpty + (buffer * 2 + part) * 8; }

/// A page is refilled in two parts, each as soon as its last reader is done: part 0 has the left half of the values,
/// part 1 the right half. The box with the rotated part of the keys takes the weights of its page once the scores are
/// there, and belongs to the part that the other warpgroup reads last.
FATHOM_CONSTEXPR u32 partOfBox(u32 buffer, u32 box) {
    return box < kHalfBoxes ? 0 : box < 2 * kHalfBoxes ? 1 : 1 - buffer;
}
/// Warps that release a part: those of the warpgroup that makes the page's scores, and of the one that reads the half.
FATHOM_CONSTEXPR u32 releasesOfPart(u32 buffer, u32 part) { return buffer == part ? 4 : 8; }

/// Keys that query token `token` of `tokens` sees of a request of `length` keys.
FATHOM_CONSTEXPR i32 visibleKeys(i32 length, i32 token, i32 tokens, bool isCausal) {
    const i32 visible = isCausal ? length - tokens + token + 1 : length;
    return visible < 0 ? 0 : visible;
}

/// Pages of a request; one of no keys counts as one, so that somebody writes its result.
FATHOM_CONSTEXPR i32 pagesOf(i32 length) { return length <= 0 ? 1 : (length + i32(kPage) - 1) / i32(kPage); }

/// What one multiprocessor does: pages of consecutive requests. `firstRequest` > `lastRequest` is nothing.
struct alignas(32) Part {
    i32 firstRequest;
    i32 lastRequest;
    /// Of the first request, and behind the last page of the last one.
    i32 firstPage;
    i32 endPage;
    /// Number of the first request's piece among its pieces.
    i32 firstPiece;
    i32 pad[3];
};

/// The arguments of the attention kernel, by value.
struct Arguments {
    /// [requests, tokens, heads, 576], two bytes each; strides in elements.
    const u16* queries;
    i64 queryRequestStride, queryTokenStride, queryHeadStride;
    /// [requests, pages at most], and keys of each request.
    const i32* pageTable;
    i32 pageTableStride;
    const i32* lengths;
    const Part* parts;
    const i32* pieceEnds;
    /// [requests, tokens, heads, 512], two bytes each.
    u16* out;
    i64 outRequestStride, outTokenStride, outHeadStride;
    /// [requests, heads, tokens], natural logarithm.
    float* logSums;
    /// Of pieces: [pieces, tokens, heads, 512] and [pieces, tokens, heads], base 2.
    float* pieceOut;
    float* pieceLogSums;
    i32 requests, tokens, heads, keyHeads;
    /// softmax scale times log2 e.
    float scale;
    i32 isCausal;

    // With index lists a request is a query token: tokens is 1, and these say where its keys are.

    /// Rows of 656 bytes in pages: 512 codes, 4 scales, 64 rotated numbers.
    const u8* pool;
    /// Bytes from a page to the next.
    i64 poolPageStride;
    /// [requests, listCount]; an index names row index % poolPageSize of page index / poolPageSize, others are holes.
    const i32* lists;
    /// [requests / listTokens], or nothing for whole lists.
    const i32* listLengths;
    /// [heads] in natural units, or nothing.
    const float* sinks;
    i32 listCount, listTokens, poolPageSize, poolRows;
};

/// Entries of a list that are read.
FATHOM_CONSTEXPR i32 listLength(i32 length, i32 count) { return length < 0 ? 0 : length < count ? length : count; }

/// Bytes of a packed row, and where its parts begin.
constexpr u32 kPackedRowBytes = 656;
constexpr u32 kPackedScales = 512;
constexpr u32 kPackedRotated = 528;

/// The box and the first of two 16-byte columns of it where the 16 codes of part `part` (0...31) of a row go.
FATHOM_CONSTEXPR u32 boxOfCodes(u32 part) { return part / 4; }
FATHOM_CONSTEXPR u32 chunkOfCodes(u32 part) { return part % 4 * 2; }

/// Costs of a request beyond its pages, in pages.
constexpr i32 kFixedPages = 5;

/// Cuts requests into parts of about equal cost: each part takes whole requests while they fit what it may still do,
/// then pages of the next one. `pieceEnds` [requests + 1] are the prefix sums of the requests' pieces. `parts` [count].
/// Source: FlashMLA's tile scheduler (reference notes), with its costs.
template <typename Lengths>
FATHOM_CONSTEXPR void cutRequests(Lengths lengths, i32 requests, i32 count, Part* parts, i32* pieceEnds) {
    i64 total = 0;
    for (i32 r = 0; r < requests; ++r) total += pagesOf(lengths[r]) + kFixedPages;
    const i32 payload = i32((total + count - 1) / count) + kFixedPages;
    i32 request = 0;
    i32 page = 0;
    i32 piece = 0;
    pieceEnds[0] = 0;
    for (i32 index = 0; index < count; ++index) {
        Part part{};
        part.firstRequest = request;
        part.firstPage = page;
        part.firstPiece = piece;
        part.lastRequest = request - 1;
        part.endPage = 0;
        i32 left = payload;
        while (request < requests) {
            const i32 pages = pagesOf(lengths[request]);
            const i32 rest = pages - page;
            if (left >= rest + kFixedPages || index == count - 1) {
                left -= rest + kFixedPages;
                part.lastRequest = request;
                part.endPage = pages;
                pieceEnds[request + 1] = pieceEnds[request] + piece + 1;
                ++request;
                page = 0;
                piece = 0;
                continue;
            }
            if (left > kFixedPages) {
                part.lastRequest = request;
                part.endPage = page + (left - kFixedPages);
                page = part.endPage;
                ++piece;
            }
            break;
        }
        parts[index] = part;
    }
}

}  // namespace fathom
