// SPDX-License-Identifier: MIT
//
// The only C in Fathom: what Swift on Linux cannot import or spell. Header-only where possible, every
// symbol prefixed `fathom_`, each with the reason why it is here.

#ifndef FATHOM_CFATHOM_H
#define FATHOM_CFATHOM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "CUDADriverTypes.h"
#include "Vectors.h"

#if defined(__linux__)
#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/// `futex(2)` has no libc wrapper and `syscall` is variadic, which Swift cannot call.
/// Sleeps while `*word == expected`, at most `timeout_nanoseconds`. Spurious returns are possible.
static inline void fathom_futex_wait(uint32_t *word, uint32_t expected, uint64_t timeout_nanoseconds) {
    struct timespec timeout = {
        .tv_sec = (time_t)(timeout_nanoseconds / 1000000000u),
        .tv_nsec = (long)(timeout_nanoseconds % 1000000000u),
    };
    syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, expected, &timeout, (void *)0, 0);
}

/// Wakes up to `count` threads that sleep on `word`.
static inline void fathom_futex_wake(uint32_t *word, int count) {
    syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, count, (void *)0, (void *)0, 0);
}

/// As `fathom_futex_wait` for a word in memory that processes share.
static inline void fathom_shared_futex_wait(uint32_t *word, uint32_t expected, uint64_t timeout_nanoseconds) {
    struct timespec timeout = {
        .tv_sec = (time_t)(timeout_nanoseconds / 1000000000u),
        .tv_nsec = (long)(timeout_nanoseconds % 1000000000u),
    };
    syscall(SYS_futex, word, FUTEX_WAIT, expected, &timeout, (void *)0, 0);
}

/// As `fathom_futex_wake` for a word in memory that processes share.
static inline void fathom_shared_futex_wake(uint32_t *word, int count) {
    syscall(SYS_futex, word, FUTEX_WAKE, count, (void *)0, (void *)0, 0);
}

/// A file of memory without a name, closed on exec; -1 with `errno`. glibc shows `memfd_create` only under
/// `_GNU_SOURCE`.
static inline int fathom_memory_file(const char *name) {
    return (int)syscall(SYS_memfd_create, name, 1 /* MFD_CLOEXEC */);
}

/// A descriptor that becomes readable when process `pid` ends; -1 with `errno`. glibc 2.36 is the first to wrap it.
static inline int fathom_process_descriptor(int pid) {
    return (int)syscall(434 /* SYS_pidfd_open */, pid, 0);
}

/// The number of processor cores that this process may run on, or 0 where the system does not tell.
/// glibc shows `sched_getaffinity` only under `_GNU_SOURCE`; the system call itself returns the mask's size in bytes.
static inline int fathom_usable_core_count(void) {
    uint64_t mask[128] = {0};
    long size = syscall(SYS_sched_getaffinity, 0, sizeof mask, mask);
    int count = 0;
    for (long word = 0; word < size / 8; word++) count += __builtin_popcountll(mask[word]);
    return count;
}

/// Claims disk space for the first `byte_count` bytes of a file without changing its size; 0, or -1 with `errno`.
/// glibc shows `fallocate` only under `_GNU_SOURCE`, which Swift's module map does not set.
static inline int fathom_reserve_file(int descriptor, int64_t byte_count) {
    return (int)syscall(SYS_fallocate, descriptor, 1 /* FALLOC_FL_KEEP_SIZE */, (int64_t)0, byte_count);
}
#endif

/// The processor's hint for a spinning loop; Swift has no spelling for it.
static inline void fathom_spin_hint(void) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

/// Asks for the cache line at `address`, into the second-level cache; never faults. Swift has no spelling for it.
static inline void fathom_prefetch(const void *address) {
    __builtin_prefetch(address, 0, 2);
}

/// Asks for the cache line at `address` to be written soon, into the first-level cache; never faults.
static inline void fathom_prefetch_write(const void *address) {
    __builtin_prefetch(address, 1, 3);
}

/// Keeps the compiler from moving loads across it. It would otherwise start all rows of a tile at once and run out of
/// registers; Swift has no spelling for it.
static inline void fathom_load_barrier(void) { __asm__ volatile("" ::: "memory"); }

/// Copies past the caches, for what nobody is going to read soon; Swift has no spelling for such stores. `target` is a
/// multiple of 16. The stores are ordered before later stores only by `fathom_store_fence`.
static inline void fathom_stream_copy(void *target, const void *source, size_t byte_count) {
#if defined(__x86_64__)
    typedef long long fathom_words __attribute__((vector_size(16)));
    typedef long long fathom_loose_words __attribute__((vector_size(16), aligned(1)));
    size_t blocks = byte_count / 16;
    for (size_t i = 0; i < blocks; i++)
        __builtin_nontemporal_store((fathom_words)((const fathom_loose_words *)source)[i], (fathom_words *)target + i);
    __builtin_memcpy((char *)target + blocks * 16, (const char *)source + blocks * 16, byte_count % 16);
#else
    __builtin_memcpy(target, source, byte_count);
#endif
}

typedef int fathom_int4 __attribute__((vector_size(16)));

/// Stores past the caches; see `fathom_stream_copy`.
static inline void fathom_stream_store(void *target, fathom_int4 value) {
#if defined(__x86_64__)
    __builtin_nontemporal_store(value, (fathom_int4 *)target);
#else
    *(fathom_int4 *)target = value;
#endif
}

/// Makes all earlier stores, those past the caches too, visible before later ones.
static inline void fathom_store_fence(void) {
#if defined(__x86_64__)
    __builtin_ia32_sfence();
#else
    __sync_synchronize();
#endif
}

/// The largest magnitude of 128 bfloat16 numbers in the lower half, and in the upper one the smallest above zero, less
/// one; all ones where there is none. In C because Swift has no least and greatest of lanes.
static inline uint32_t fathom_magnitude_range(const void *numbers) {
    typedef uint16_t lanes __attribute__((vector_size(64)));
    lanes top = {0}, bottom = ~top;
    for (int part = 0; part < 4; ++part) {
        lanes magnitudes;
        __builtin_memcpy(&magnitudes, (const char *)numbers + 64 * part, sizeof magnitudes);
        magnitudes &= 0x7FFF;
        top = __builtin_elementwise_max(top, magnitudes);
        bottom = __builtin_elementwise_min(bottom, magnitudes - 1);
    }
    return (uint32_t)__builtin_reduce_min(bottom) << 16 | __builtin_reduce_max(top);
}

/// Whether the processor and the operating system both support AVX2, FMA and F16C.
/// `cpuid` and `xgetbv` are compiler builtins that Swift does not import.
static inline bool fathom_cpu_supports_avx2(void) {
#if defined(__x86_64__)
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c");
#else
    return false;
#endif
}

/// Whether the processor and the operating system both support AVX-512 with F, BW, DQ, VL, BF16 and VBMI.
static inline bool fathom_cpu_supports_avx512(void) {
#if defined(__x86_64__)
    return fathom_cpu_supports_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
           __builtin_cpu_supports("avx512bf16") && __builtin_cpu_supports("avx512vbmi");
#else
    return false;
#endif
}

#endif
