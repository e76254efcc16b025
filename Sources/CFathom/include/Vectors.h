// SPDX-License-Identifier: MIT
//
// Operations on vectors of 256 and 512 bits: instructions that Swift has no spelling for, and shuffles, which Swift's
// optimiser takes apart lane by lane. There only where the module that includes this is compiled for them.

#ifndef FATHOM_VECTORS_H
#define FATHOM_VECTORS_H

#include <stdbool.h>
#include <stdint.h>

#if defined(__AVX__)
typedef float fathom_float8 __attribute__((vector_size(32)));
typedef float fathom_float4 __attribute__((vector_size(16)));

/// The sums of the lanes of four vectors, each in the order ((0+2)+(1+3)) + ((4+6)+(5+7)).
/// In Swift a shuffle is spelled lane by lane, and the optimiser makes single-lane moves of it: four times the work.
static inline fathom_float4 fathom_horizontal_sums(fathom_float8 a, fathom_float8 b, fathom_float8 c, fathom_float8 d) {
    fathom_float8 ab = __builtin_shufflevector(a, b, 0, 8, 1, 9, 4, 12, 5, 13) +
                       __builtin_shufflevector(a, b, 2, 10, 3, 11, 6, 14, 7, 15);
    fathom_float8 cd = __builtin_shufflevector(c, d, 0, 8, 1, 9, 4, 12, 5, 13) +
                       __builtin_shufflevector(c, d, 2, 10, 3, 11, 6, 14, 7, 15);
    fathom_float8 sums = __builtin_shufflevector(ab, cd, 0, 1, 8, 9, 4, 5, 12, 13) +
                         __builtin_shufflevector(ab, cd, 2, 3, 10, 11, 6, 7, 14, 15);
    return __builtin_shufflevector(sums, sums, 0, 1, 2, 3) + __builtin_shufflevector(sums, sums, 4, 5, 6, 7);
}

#define FATHOM_LOW(a, b) __builtin_shufflevector(a, b, 0, 8, 1, 9, 4, 12, 5, 13)
#define FATHOM_HIGH(a, b) __builtin_shufflevector(a, b, 2, 10, 3, 11, 6, 14, 7, 15)
#define FATHOM_LOW_PAIRS(a, b) __builtin_shufflevector(a, b, 0, 1, 8, 9, 4, 5, 12, 13)
#define FATHOM_HIGH_PAIRS(a, b) __builtin_shufflevector(a, b, 2, 3, 10, 11, 6, 7, 14, 15)

/// Transposes eight by eight numbers at `square`, row after row. In C for the same reason.
static inline void fathom_transpose(void *square) {
    fathom_float8 v[8], pairs[8], fours[8];
    __builtin_memcpy(v, square, sizeof v);
    for (int i = 0; i < 4; i++) {
        pairs[2 * i] = FATHOM_LOW(v[2 * i], v[2 * i + 1]);
        pairs[2 * i + 1] = FATHOM_HIGH(v[2 * i], v[2 * i + 1]);
    }
    for (int i = 0; i < 2; i++) {
        fours[4 * i] = FATHOM_LOW_PAIRS(pairs[4 * i], pairs[4 * i + 2]);
        fours[4 * i + 1] = FATHOM_HIGH_PAIRS(pairs[4 * i], pairs[4 * i + 2]);
        fours[4 * i + 2] = FATHOM_LOW_PAIRS(pairs[4 * i + 1], pairs[4 * i + 3]);
        fours[4 * i + 3] = FATHOM_HIGH_PAIRS(pairs[4 * i + 1], pairs[4 * i + 3]);
    }
    for (int i = 0; i < 4; i++) {
        v[i] = __builtin_shufflevector(fours[i], fours[i + 4], 0, 1, 2, 3, 8, 9, 10, 11);
        v[i + 4] = __builtin_shufflevector(fours[i], fours[i + 4], 4, 5, 6, 7, 12, 13, 14, 15);
    }
    __builtin_memcpy(square, v, sizeof v);
}
#undef FATHOM_LOW
#undef FATHOM_HIGH
#undef FATHOM_LOW_PAIRS
#undef FATHOM_HIGH_PAIRS
#endif

#if defined(__AVX512BF16__) && defined(__AVX512VBMI__) && defined(__AVX512BW__) && defined(__AVX512DQ__)
// Instructions on 512 bits that Swift has no spelling for, and shuffles for the reason above.
typedef float fathom_float16 __attribute__((vector_size(64)));
typedef uint32_t fathom_word16 __attribute__((vector_size(64)));
typedef uint32_t fathom_word4 __attribute__((vector_size(16)));
typedef uint8_t fathom_byte64 __attribute__((vector_size(64)));
typedef __bf16 fathom_bfloat32 __attribute__((vector_size(64)));

/// sums[i] + a[2i+1]·b[2i+1] + a[2i]·b[2i], two fused steps in this order.
static inline fathom_float16 fathom_multiply_pairs(fathom_word16 a, fathom_word16 b, fathom_float16 sums) {
    return __builtin_ia32_dpbf16ps_512(sums, (fathom_bfloat32)a, (fathom_bfloat32)b);
}

/// The sixteen bytes at `bytes`, four times.
static inline fathom_word16 fathom_repeat_quarter(const void *bytes) {
    fathom_word4 q;
    __builtin_memcpy(&q, bytes, sizeof q);
    return __builtin_shufflevector(q, q, 0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3);
}

/// The four floats at `floats`, each as often as fills a quarter.
static inline fathom_float16 fathom_spread_quarters(const void *floats) {
    fathom_float4 q;
    __builtin_memcpy(&q, floats, sizeof q);
    return __builtin_shufflevector(q, q, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3);
}

/// Sixteen bytes from each of four addresses.
static inline fathom_word16 fathom_gather_quarters(const void *a, const void *b, const void *c, const void *d) {
    fathom_word4 q[4];
    __builtin_memcpy(&q[0], a, sizeof q[0]);
    __builtin_memcpy(&q[1], b, sizeof q[1]);
    __builtin_memcpy(&q[2], c, sizeof q[2]);
    __builtin_memcpy(&q[3], d, sizeof q[3]);
    typedef uint32_t word8 __attribute__((vector_size(32)));
    word8 low = __builtin_shufflevector(q[0], q[1], 0, 1, 2, 3, 4, 5, 6, 7);
    word8 high = __builtin_shufflevector(q[2], q[3], 0, 1, 2, 3, 4, 5, 6, 7);
    return __builtin_shufflevector(low, high, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
}

// The upper and the lower byte of the bfloat16 number that each E4M3 code without sign stands for; the code of NaN
// is the number 480.
#define FATHOM_EIGHT(x) x, x, x, x, x, x, x, x
#define FATHOM_EVEN 0x00, 0x10, 0x20, 0x30, 0x40, 0x50, 0x60, 0x70
#define FATHOM_ODD 0x80, 0x90, 0xA0, 0xB0, 0xC0, 0xD0, 0xE0, 0xF0
#define FATHOM_UPPER_LOW                                                                                               \
    {0x00, 0x3B, 0x3B, 0x3B, 0x3C, 0x3C, 0x3C, 0x3C, FATHOM_EIGHT(0x3C), FATHOM_EIGHT(0x3D), FATHOM_EIGHT(0x3D),       \
     FATHOM_EIGHT(0x3E), FATHOM_EIGHT(0x3E), FATHOM_EIGHT(0x3F), FATHOM_EIGHT(0x3F)}
#define FATHOM_UPPER_HIGH                                                                                              \
    {FATHOM_EIGHT(0x40), FATHOM_EIGHT(0x40), FATHOM_EIGHT(0x41), FATHOM_EIGHT(0x41), FATHOM_EIGHT(0x42),               \
     FATHOM_EIGHT(0x42), FATHOM_EIGHT(0x43), FATHOM_EIGHT(0x43)}
#define FATHOM_LOWER_LOW                                                                                               \
    {0x00, 0x00, 0x80, 0xC0, 0x00, 0x20, 0x40, 0x60, FATHOM_ODD, FATHOM_EVEN, FATHOM_ODD, FATHOM_EVEN, FATHOM_ODD,     \
     FATHOM_EVEN, FATHOM_ODD}
#define FATHOM_LOWER_HIGH                                                                                              \
    {FATHOM_EVEN, FATHOM_ODD, FATHOM_EVEN, FATHOM_ODD, FATHOM_EVEN, FATHOM_ODD, FATHOM_EVEN, FATHOM_ODD}

/// Codes 0…7 (or 8…15) of each quarter as bfloat16; NaN codes as NaN if that is asked for.
static inline fathom_word16 fathom_decode_e4m3_nan(fathom_word16 codes, bool upper, bool has_nan) {
    typedef char byte64 __attribute__((vector_size(64)));
    const fathom_byte64 upper_low = FATHOM_UPPER_LOW, lower_low = FATHOM_LOWER_LOW;
    fathom_byte64 upper_high = FATHOM_UPPER_HIGH, lower_high = FATHOM_LOWER_HIGH;
    if (has_nan) {
        upper_high[63] = 0x7F;
        lower_high[63] = 0xC0;
    }
    byte64 index = (byte64)codes;
    fathom_byte64 high = (fathom_byte64)__builtin_ia32_vpermi2varqi512((byte64)upper_low, index, (byte64)upper_high);
    fathom_byte64 low = (fathom_byte64)__builtin_ia32_vpermi2varqi512((byte64)lower_low, index, (byte64)lower_high);
    high = (fathom_byte64)((fathom_word16)high | (codes & 0x80808080u));
    return upper ? (fathom_word16)__builtin_shufflevector(
                       low, high, 8, 72, 9, 73, 10, 74, 11, 75, 12, 76, 13, 77, 14, 78, 15, 79, 24, 88, 25, 89, 26, 90,
                       27, 91, 28, 92, 29, 93, 30, 94, 31, 95, 40, 104, 41, 105, 42, 106, 43, 107, 44, 108, 45, 109, 46,
                       110, 47, 111, 56, 120, 57, 121, 58, 122, 59, 123, 60, 124, 61, 125, 62, 126, 63, 127)
                 : (fathom_word16)__builtin_shufflevector(
                       low, high, 0, 64, 1, 65, 2, 66, 3, 67, 4, 68, 5, 69, 6, 70, 7, 71, 16, 80, 17, 81, 18, 82, 19,
                       83, 20, 84, 21, 85, 22, 86, 23, 87, 32, 96, 33, 97, 34, 98, 35, 99, 36, 100, 37, 101, 38, 102,
                       39, 103, 48, 112, 49, 113, 50, 114, 51, 115, 52, 116, 53, 117, 54, 118, 55, 119);
}

/// Codes 0…7 (or 8…15) of each quarter as bfloat16.
static inline fathom_word16 fathom_decode_e4m3(fathom_word16 codes, bool upper) {
    return fathom_decode_e4m3_nan(codes, upper, false);
}
#undef FATHOM_EIGHT
#undef FATHOM_EVEN
#undef FATHOM_ODD
#undef FATHOM_UPPER_LOW
#undef FATHOM_UPPER_HIGH
#undef FATHOM_LOWER_LOW
#undef FATHOM_LOWER_HIGH

/// The sums of the quarters of four vectors, each in the order (0+2)+(1+3): those of `a` first.
static inline fathom_float16 fathom_quarter_sums(fathom_float16 a, fathom_float16 b, fathom_float16 c,
                                                 fathom_float16 d) {
#define FATHOM_LOW(a, b) __builtin_shufflevector(a, b, 0, 16, 1, 17, 4, 20, 5, 21, 8, 24, 9, 25, 12, 28, 13, 29)
#define FATHOM_HIGH(a, b) __builtin_shufflevector(a, b, 2, 18, 3, 19, 6, 22, 7, 23, 10, 26, 11, 27, 14, 30, 15, 31)
    fathom_float16 ab = FATHOM_LOW(a, b) + FATHOM_HIGH(a, b);
    fathom_float16 cd = FATHOM_LOW(c, d) + FATHOM_HIGH(c, d);
#undef FATHOM_LOW
#undef FATHOM_HIGH
    fathom_float16 even = __builtin_shufflevector(ab, cd, 0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12, 13, 28, 29);
    fathom_float16 odd = __builtin_shufflevector(ab, cd, 2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26, 27, 14, 15, 30, 31);
    fathom_float16 sums = even + odd;
    return __builtin_shufflevector(sums, sums, 0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
}

/// Eight by eight numbers of two bytes in each quarter of eight vectors at `source`: row i of a quarter becomes column
/// i. Row j of quarter q goes to `out` + q · `quarter_stride` + 16 · j.
static inline void fathom_store_transposed(const void *source, void *out, long quarter_stride) {
    fathom_word16 rows[8];
    __builtin_memcpy(rows, source, sizeof rows);
    typedef uint16_t half32 __attribute__((vector_size(64)));
    typedef uint64_t long8 __attribute__((vector_size(64)));
    typedef uint64_t long2 __attribute__((vector_size(16)));
#define FATHOM_LOW16(a, b)                                                                                             \
    __builtin_shufflevector(a, b, 0, 32, 1, 33, 2, 34, 3, 35, 8, 40, 9, 41, 10, 42, 11, 43, 16, 48, 17, 49,            \
    18, 50, 19, 51, 24, 56, 25, 57, 26, 58, 27, 59)
#define FATHOM_HIGH16(a, b)                                                                                            \
    __builtin_shufflevector(a, b, 4, 36, 5, 37, 6, 38, 7, 39, 12, 44, 13, 45, 14, 46, 15, 47, 20, 52, 21, 53,          \
    22, 54, 23, 55, 28, 60, 29, 61, 30, 62, 31, 63)
#define FATHOM_LOW32(a, b)                                                                                             \
    __builtin_shufflevector(a, b, 0, 16, 1, 17, 4, 20, 5, 21, 8, 24, 9, 25, 12, 28, 13, 29)
#define FATHOM_HIGH32(a, b)                                                                                            \
    __builtin_shufflevector(a, b, 2, 18, 3, 19, 6, 22, 7, 23, 10, 26, 11, 27, 14, 30, 15, 31)
#define FATHOM_LOW64(a, b)                                                                                             \
    __builtin_shufflevector(a, b, 0, 8, 2, 10, 4, 12, 6, 14)
#define FATHOM_HIGH64(a, b)                                                                                            \
    __builtin_shufflevector(a, b, 1, 9, 3, 11, 5, 13, 7, 15)
    fathom_word16 pairs[8], fours[8];
    for (int i = 0; i < 4; i++) {
        half32 a = (half32)rows[2 * i], b = (half32)rows[2 * i + 1];
        pairs[2 * i] = (fathom_word16)FATHOM_LOW16(a, b);
        pairs[2 * i + 1] = (fathom_word16)FATHOM_HIGH16(a, b);
    }
    for (int i = 0; i < 2; i++)
        for (int j = 0; j < 2; j++) {
            fathom_word16 a = pairs[4 * i + j], b = pairs[4 * i + 2 + j];
            fours[4 * i + 2 * j] = FATHOM_LOW32(a, b);
            fours[4 * i + 2 * j + 1] = FATHOM_HIGH32(a, b);
        }
    for (int i = 0; i < 4; i++) {
        long8 a = (long8)fours[i], b = (long8)fours[4 + i];
        long8 columns[2] = {FATHOM_LOW64(a, b), FATHOM_HIGH64(a, b)};
        for (int j = 0; j < 2; j++) {
            char *place = (char *)out + 16 * (2 * i + j);
            long2 q0 = __builtin_shufflevector(columns[j], columns[j], 0, 1);
            long2 q1 = __builtin_shufflevector(columns[j], columns[j], 2, 3);
            long2 q2 = __builtin_shufflevector(columns[j], columns[j], 4, 5);
            long2 q3 = __builtin_shufflevector(columns[j], columns[j], 6, 7);
            __builtin_memcpy(place, &q0, 16);
            __builtin_memcpy(place + quarter_stride, &q1, 16);
            __builtin_memcpy(place + 2 * quarter_stride, &q2, 16);
            __builtin_memcpy(place + 3 * quarter_stride, &q3, 16);
        }
    }
#undef FATHOM_LOW16
#undef FATHOM_HIGH16
#undef FATHOM_LOW32
#undef FATHOM_HIGH32
#undef FATHOM_LOW64
#undef FATHOM_HIGH64
}

/// The eight floats at `floats`, twice.
static inline fathom_float16 fathom_repeat_half(const void *floats) {
    fathom_float8 h;
    __builtin_memcpy(&h, floats, sizeof h);
    return __builtin_shufflevector(h, h, 0, 1, 2, 3, 4, 5, 6, 7, 0, 1, 2, 3, 4, 5, 6, 7);
}

/// The sums of the halves of four vectors, each in the order ((0+2)+(1+3)) + ((4+6)+(5+7)): both of `a` first.
static inline fathom_float8 fathom_half_sums(fathom_float16 a, fathom_float16 b, fathom_float16 c, fathom_float16 d) {
    fathom_float16 quarters = fathom_quarter_sums(a, b, c, d);
    fathom_float8 even = __builtin_shufflevector(quarters, quarters, 0, 2, 4, 6, 8, 10, 12, 14);
    fathom_float8 odd = __builtin_shufflevector(quarters, quarters, 1, 3, 5, 7, 9, 11, 13, 15);
    return even + odd;
}

/// The word at `first` in the lower half, that at `second` in the upper one. As vectors of lanes the optimiser would
/// make three shuffles of the two loads.
static inline fathom_word16 fathom_spread_words(const void *first, const void *second) {
    typedef struct {
        uint32_t word;
    } __attribute__((packed, may_alias)) loose;
    fathom_word16 words;
    __asm__("vpbroadcastd %1, %0" : "=v"(words) : "m"(*(const loose *)first));
    __asm__("vpbroadcastd %1, %0 %{%2%}" : "+v"(words) : "m"(*(const loose *)second), "Yk"((uint16_t)0xFF00));
    return words;
}

/// The levels of the eight E2M1 codes of a word, times 2⁻¹⁴.
static inline fathom_float8 fathom_small_float4(uint32_t word) {
    const fathom_float16 levels = {0, 0x1p-15f, 0x1p-14f, 0x3p-15f, 0x1p-13f, 0x3p-14f, 0x1p-12f, 0x3p-13f,
                                   -0.0f, -0x1p-15f, -0x1p-14f, -0x3p-15f, -0x1p-13f, -0x3p-14f, -0x1p-12f, -0x3p-13f};
    typedef uint32_t word8 __attribute__((vector_size(32)));
    typedef int index16 __attribute__((vector_size(64)));
    const word8 shifts = {0, 4, 8, 12, 16, 20, 24, 28};
    word8 codes = (word8){word, word, word, word, word, word, word, word} >> shifts;
    fathom_word16 wide = __builtin_shufflevector(codes, codes, 0, 1, 2, 3, 4, 5, 6, 7, -1, -1, -1, -1, -1, -1, -1, -1);
    fathom_float16 numbers = __builtin_ia32_permvarsf512(levels, (index16)wide);
    return __builtin_shufflevector(numbers, numbers, 0, 1, 2, 3, 4, 5, 6, 7);
}

/// The levels of the eight E2M1 codes at `first` and of those at `second`.
static inline fathom_float16 fathom_float4_levels(const void *first, const void *second) {
    const fathom_float16 levels = {0, 0.5f, 1, 1.5f, 2, 3, 4, 6, -0.0f, -0.5f, -1, -1.5f, -2, -3, -4, -6};
    const fathom_word16 shifts = {0, 4, 8, 12, 16, 20, 24, 28, 0, 4, 8, 12, 16, 20, 24, 28};
    fathom_word16 words = fathom_spread_words(first, second);
    // Of an index the instruction takes four bits.
    typedef int index16 __attribute__((vector_size(64)));
    return __builtin_ia32_permvarsf512(levels, (index16)(words >> shifts));
}

/// Of each quarter of four vectors the sum (0+2)+(1+3); the four sums of a quarter side by side.
static inline fathom_float16 fathom_quarter_columns(fathom_float16 a, fathom_float16 b, fathom_float16 c,
                                                    fathom_float16 d) {
#define FATHOM_LOW(a, b) __builtin_shufflevector(a, b, 0, 16, 1, 17, 4, 20, 5, 21, 8, 24, 9, 25, 12, 28, 13, 29)
#define FATHOM_HIGH(a, b) __builtin_shufflevector(a, b, 2, 18, 3, 19, 6, 22, 7, 23, 10, 26, 11, 27, 14, 30, 15, 31)
    fathom_float16 ab = FATHOM_LOW(a, b) + FATHOM_HIGH(a, b);
    fathom_float16 cd = FATHOM_LOW(c, d) + FATHOM_HIGH(c, d);
#undef FATHOM_LOW
#undef FATHOM_HIGH
    return __builtin_shufflevector(ab, cd, 0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12, 13, 28, 29) +
           __builtin_shufflevector(ab, cd, 2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26, 27, 14, 15, 30, 31);
}

/// Adds `fathom_half_sums` of four vectors times `factor` to the eight floats at `first`, and those of four others to
/// those at `second`.
static inline void fathom_add_half_sums(fathom_float16 a, fathom_float16 b, fathom_float16 c, fathom_float16 d,
                                        fathom_float16 e, fathom_float16 f, fathom_float16 g, fathom_float16 h,
                                        float factor, void *first, void *second) {
    fathom_float16 x = fathom_quarter_columns(a, b, c, d), y = fathom_quarter_columns(e, f, g, h);
    fathom_float16 sums =
        __builtin_shufflevector(x, y, 0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27) +
        __builtin_shufflevector(x, y, 4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30, 31);
    sums = __builtin_shufflevector(sums, sums, 0, 4, 1, 5, 2, 6, 3, 7, 8, 12, 9, 13, 10, 14, 11, 15) * factor;
    fathom_float8 old;
    __builtin_memcpy(&old, first, sizeof old);
    old += __builtin_shufflevector(sums, sums, 0, 1, 2, 3, 4, 5, 6, 7);
    __builtin_memcpy(first, &old, sizeof old);
    __builtin_memcpy(&old, second, sizeof old);
    old += __builtin_shufflevector(sums, sums, 8, 9, 10, 11, 12, 13, 14, 15);
    __builtin_memcpy(second, &old, sizeof old);
}

/// The sums of the quarters of each of four vectors, in the order (0+2)+(1+3), those of `a` first.
static inline fathom_float16 fathom_add_quarters(fathom_float16 a, fathom_float16 b, fathom_float16 c,
                                                 fathom_float16 d) {
#define FATHOM_LOW(a, b) __builtin_shufflevector(a, b, 0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23)
#define FATHOM_HIGH(a, b) __builtin_shufflevector(a, b, 8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26, 27, 28, 29, 30, 31)
    fathom_float16 ab = FATHOM_LOW(a, b) + FATHOM_HIGH(a, b);
    fathom_float16 cd = FATHOM_LOW(c, d) + FATHOM_HIGH(c, d);
#undef FATHOM_LOW
#undef FATHOM_HIGH
    return __builtin_shufflevector(ab, cd, 0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27) +
           __builtin_shufflevector(ab, cd, 4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30, 31);
}

/// In each lane the larger number: that of `b` where either is NaN or both are zero.
static inline fathom_float16 fathom_larger(fathom_float16 a, fathom_float16 b) {
    return __builtin_ia32_maxps512(a, b, 4);
}

/// The largest lane, found by `fathom_larger` of the upper half and the lower half, and so on with what is left.
static inline float fathom_largest_lane(fathom_float16 a) {
    a = fathom_larger(__builtin_shufflevector(a, a, 8, 9, 10, 11, 12, 13, 14, 15, 8, 9, 10, 11, 12, 13, 14, 15), a);
    a = fathom_larger(__builtin_shufflevector(a, a, 4, 5, 6, 7, 4, 5, 6, 7, 4, 5, 6, 7, 4, 5, 6, 7), a);
    a = fathom_larger(__builtin_shufflevector(a, a, 2, 3, 2, 3, 2, 3, 2, 3, 2, 3, 2, 3, 2, 3, 2, 3), a);
    return fathom_larger(__builtin_shufflevector(a, a, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1), a)[0];
}

/// The sum of the lanes: the halves first, then in the order ((0+2)+(1+3)) + ((4+6)+(5+7)).
static inline float fathom_lane_sum(fathom_float16 a) {
    fathom_float8 half = __builtin_shufflevector(a, a, 0, 1, 2, 3, 4, 5, 6, 7) +
                         __builtin_shufflevector(a, a, 8, 9, 10, 11, 12, 13, 14, 15);
    half += __builtin_shufflevector(half, half, 2, 3, 2, 3, 6, 7, 6, 7);
    half += __builtin_shufflevector(half, half, 1, 1, 1, 1, 5, 5, 5, 5);
    return half[0] + half[4];
}

typedef uint16_t fathom_half32 __attribute__((vector_size(64)));

/// Words of the lower (or upper) four 16-bit numbers of each quarter of `a`, each with its partner from `b` above it.
static inline fathom_word16 fathom_pair_halves(fathom_word16 a, fathom_word16 b, bool upper) {
    fathom_half32 x = (fathom_half32)a, y = (fathom_half32)b;
    return upper ? (fathom_word16)__builtin_shufflevector(
                       x, y, 4, 36, 5, 37, 6, 38, 7, 39, 12, 44, 13, 45, 14, 46, 15, 47, 20, 52, 21, 53, 22, 54, 23, 55,
                       28, 60, 29, 61, 30, 62, 31, 63)
                 : (fathom_word16)__builtin_shufflevector(
                       x, y, 0, 32, 1, 33, 2, 34, 3, 35, 8, 40, 9, 41, 10, 42, 11, 43, 16, 48, 17, 49, 18, 50, 19, 51,
                       24, 56, 25, 57, 26, 58, 27, 59);
}

typedef uint16_t fathom_half16 __attribute__((vector_size(32)));

/// Sixteen floats rounded to the nearest bfloat16, ties to even; NaN becomes quiet, denormal numbers zero.
static inline fathom_half16 fathom_round_pairs(fathom_float16 numbers) {
    typedef __bf16 bfloat16 __attribute__((vector_size(32)));
    return (fathom_half16)__builtin_ia32_cvtneps2bf16_512_mask(numbers, (bfloat16){0}, 0xFFFF);
}

/// bfloat16 numbers times powers of two, given by what they add to the bits; zeros stay.
static inline fathom_word16 fathom_raise_pairs(fathom_word16 numbers, uint16_t low_step, uint16_t high_step) {
    fathom_half32 x = (fathom_half32)numbers, low = x - x + low_step, high = x - x + high_step;
    fathom_half32 steps = __builtin_shufflevector(low, high, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 48,
                                                  49, 50, 51, 52, 53, 54, 55, 56, 57, 58, 59, 60, 61, 62, 63);
    return (fathom_word16)(x + (steps & (fathom_half32)((x & 0x7FFF) != 0)));
}

/// As `fathom_pair_halves` with the lower (or upper) eight bytes of each quarter.
static inline fathom_word16 fathom_pair_bytes(fathom_word16 a, fathom_word16 b, bool upper) {
    fathom_byte64 x = (fathom_byte64)a, y = (fathom_byte64)b;
    return upper ? (fathom_word16)__builtin_shufflevector(
                       x, y, 8, 72, 9, 73, 10, 74, 11, 75, 12, 76, 13, 77, 14, 78, 15, 79, 24, 88, 25, 89, 26, 90, 27,
                       91, 28, 92, 29, 93, 30, 94, 31, 95, 40, 104, 41, 105, 42, 106, 43, 107, 44, 108, 45, 109, 46,
                       110, 47, 111, 56, 120, 57, 121, 58, 122, 59, 123, 60, 124, 61, 125, 62, 126, 63, 127)
                 : (fathom_word16)__builtin_shufflevector(
                       x, y, 0, 64, 1, 65, 2, 66, 3, 67, 4, 68, 5, 69, 6, 70, 7, 71, 16, 80, 17, 81, 18, 82, 19, 83, 20,
                       84, 21, 85, 22, 86, 23, 87, 32, 96, 33, 97, 34, 98, 35, 99, 36, 100, 37, 101, 38, 102, 39, 103,
                       48, 112, 49, 113, 50, 114, 51, 115, 52, 116, 53, 117, 54, 118, 55, 119);
}
#endif

#endif
