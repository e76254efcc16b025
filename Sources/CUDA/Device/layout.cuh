// SPDX-License-Identifier: MIT
//
// Where things lie: shared-memory swizzles, register fragments and matrix descriptors of the Hopper tensor core, as
// constexpr functions of plain integers. The file needs no CUDA compiler: a test compiles it with the host's clang
// and compares every function with an independent model over all lanes.
//
// Source of the layouts: PTX ISA 8.x, "Asynchronous Warpgroup Level Matrix Instructions" (register fragments, matrix
// descriptor), "Tensors" (swizzle modes) and "stmatrix".
#pragma once

#if defined(__CUDACC__)
#define FATHOM_INLINE __device__ __forceinline__
#define FATHOM_CONSTEXPR __host__ __device__ __forceinline__ constexpr
#else
#define FATHOM_CONSTEXPR inline constexpr
#endif

namespace fathom {

using u8 = unsigned char;
using u16 = unsigned short;
using u32 = unsigned int;
using u64 = unsigned long long;
using i32 = int;
using i64 = long long;

static_assert(sizeof(u32) == 4 && sizeof(u64) == 8, "widths");

constexpr u32 kWarpSize = 32;
constexpr u32 kWarpgroupSize = 128;
/// Most dynamic shared memory that a block of compute capability 9.0 may ask for.
constexpr u32 kSharedMemoryLimit = 232448;

FATHOM_CONSTEXPR u32 divideUp(u32 a, u32 b) { return (a + b - 1) / b; }
FATHOM_CONSTEXPR u32 alignUp(u32 a, u32 b) { return divideUp(a, b) * b; }
FATHOM_CONSTEXPR u32 smaller(u32 a, u32 b) { return a < b ? a : b; }
FATHOM_CONSTEXPR u32 larger(u32 a, u32 b) { return a > b ? a : b; }
FATHOM_CONSTEXPR u32 greatestCommonDivisor(u32 a, u32 b) { return b == 0 ? a : greatestCommonDivisor(b, a % b); }

/// Byte offset after the swizzle of `Span` bytes (128, 64, 32; 0 or 16 is none): the 16-byte column within a row of
/// `Span` bytes is exclusive-ored with the row number. The tile must start at a multiple of 8 * Span bytes.
template <u32 Span>
FATHOM_CONSTEXPR u32 swizzle(u32 offset) {
    static_assert(Span == 0 || Span == 16 || Span == 32 || Span == 64 || Span == 128, "swizzle span");
    if constexpr (Span == 128) return offset ^ ((offset >> 3) & 0x70);
    if constexpr (Span == 64) return offset ^ ((offset >> 3) & 0x30);
    if constexpr (Span == 32) return offset ^ ((offset >> 3) & 0x10);
    return offset;
}

/// Byte offset of a 16-byte column of a row in a tile of rows of `Span` bytes.
template <u32 Span>
FATHOM_CONSTEXPR u32 swizzledChunk(u32 row, u32 chunk) {
    return swizzle<Span>(row * (Span < 32 ? 16 : Span) + chunk * 16);
}

/// Row and column that accumulator register `r` of thread `t` (0..127 of the warpgroup) of m64nN holds.
FATHOM_CONSTEXPR u32 accumulatorRow(u32 t, u32 r) { return t / 32 * 16 + t % 32 / 4 + (r / 2 % 2) * 8; }
FATHOM_CONSTEXPR u32 accumulatorColumn(u32 t, u32 r) { return r / 4 * 8 + t % 4 * 2 + r % 2; }

/// Row and first column of 32-bit register `r` (0..3) of the A operand held in registers, `PerRegister` elements
/// each: 2 for 16-bit types (m64k16), 4 for 8-bit types (m64k32).
FATHOM_CONSTEXPR u32 operandRow(u32 t, u32 r) { return t / 32 * 16 + t % 32 / 4 + r % 2 * 8; }
template <u32 PerRegister>
FATHOM_CONSTEXPR u32 operandColumn(u32 t, u32 r) { return r / 2 * 4 * PerRegister + t % 4 * PerRegister; }

/// Shared-memory matrix descriptor without its start address. `leading` and `stride` are byte offsets; for a K-major
/// operand in a swizzled layout `stride` leads from one group of eight rows to the next (8 * Span) and `leading` is
/// not used; for an MN-major one `stride` leads to the next eight K rows and `leading` to the next span along MN.
template <u32 Span>
FATHOM_CONSTEXPR u64 descriptorShape(u32 leading, u32 stride) {
    static_assert(Span == 0 || Span == 32 || Span == 64 || Span == 128, "swizzle span");
    const u64 mode = Span == 128 ? 1 : Span == 64 ? 2 : Span == 32 ? 3 : 0;
    return mode << 62 | u64(stride >> 4 & 0x3FFF) << 32 | u64(leading >> 4 & 0x3FFF) << 16;
}

/// The descriptor's start address field of a byte address in shared memory.
FATHOM_CONSTEXPR u64 descriptorAddress(u32 address) { return address >> 4 & 0x3FFF; }

/// Row (0..15) and 8-column half (0, 1) whose 16 bytes lane `lane` addresses when stmatrix or ldmatrix .x4 moves a
/// 16 x 16 tile of 16-bit elements: matrix 0 rows 0..7 left, 1 rows 8..15 left, 2 rows 0..7 right, 3 rows 8..15 right.
/// This is the order in which two neighbouring groups of four accumulator registers pack.
FATHOM_CONSTEXPR u32 matrixRow(u32 lane) { return lane % 8 + lane / 8 % 2 * 8; }
FATHOM_CONSTEXPR u32 matrixHalf(u32 lane) { return lane / 16; }

}  // namespace fathom
