// SPDX-License-Identifier: MIT
//
// The instructions of compute capability 9.0a that kernels use, one small function each: barriers in shared memory,
// bulk tensor copies, clusters, register reallocation, matrix descriptors and fragments. No headers of anybody else:
// the run-time compiler gets this text and `layout.cuh` from memory. The matrix instructions themselves are generated
// for the exact shape and types that a kernel uses (`WarpgroupInstruction` on the Swift side).
//
// Shared memory is named by 32-bit addresses (`sharedAddress`). Source: PTX ISA 8.x.
#pragma once
#include "layout.cuh"

namespace fathom {

/// A tensor map of the driver (CUtensorMap), passed by value as `const __grid_constant__ TensorMap`.
struct alignas(64) TensorMap {
    u8 bytes[128];
};

/// A barrier in shared memory; all functions take its shared address.
using Barrier = u64;

// Threads

FATHOM_INLINE u32 laneIndex() {
    u32 lane;
    asm("mov.u32 %0, %%laneid;" : "=r"(lane));
    return lane;
}

/// The warp's number, the same register in all lanes, so that branches on it are uniform.
FATHOM_INLINE u32 warpIndex() { return __shfl_sync(0xFFFFFFFFu, threadIdx.x / kWarpSize, 0); }

/// True in exactly one lane of a converged warp.
FATHOM_INLINE bool electOne() {
    u32 elected;
    asm volatile(
        "{\n.reg .pred p;\n elect.sync _|p, 0xFFFFFFFF;\n selp.u32 %0, 1, 0, p;\n}" : "=r"(elected));
    return elected != 0;
}

/// Gives registers up (`decrease`) or takes them (`increase`); count is a multiple of 8 in 24...256. Every warp of the
/// warpgroup executes it. The kernel needs `__launch_bounds__(threads, 1)`.
template <u32 Count>
FATHOM_INLINE void decreaseRegisters() { asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(Count)); }
template <u32 Count>
FATHOM_INLINE void increaseRegisters() { asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(Count)); }

/// Named barriers 1...15 (0 is `__syncthreads`): `threads` counts those that sync and those that arrive.
FATHOM_INLINE void namedSync(u32 id, u32 threads) {
    asm volatile("bar.sync %0, %1;" ::"r"(id), "r"(threads) : "memory");
}
FATHOM_INLINE void namedArrive(u32 id, u32 threads) {
    asm volatile("bar.arrive %0, %1;" ::"r"(id), "r"(threads) : "memory");
}

/// Waits until the kernel that this one depends on has given leave (programmatic dependent launch); at once if none.
FATHOM_INLINE void waitForPrerequisites() { asm volatile("griddepcontrol.wait;" ::: "memory"); }
/// Lets the dependent kernel be launched.
FATHOM_INLINE void launchDependents() { asm volatile("griddepcontrol.launch_dependents;" ::: "memory"); }

// Shared memory and clusters

FATHOM_INLINE u32 sharedAddress(const void* pointer) { return static_cast<u32>(__cvta_generic_to_shared(pointer)); }

FATHOM_INLINE u32 clusterRank() {
    u32 rank;
    asm volatile("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank));
    return rank;
}

/// The same place in the shared memory of block `rank` of the cluster, as an address for `shared::cluster`.
FATHOM_INLINE u32 mapToRank(u32 address, u32 rank) {
    u32 mapped;
    asm volatile("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(mapped) : "r"(address), "r"(rank));
    return mapped;
}

FATHOM_INLINE void clusterArrive() { asm volatile("barrier.cluster.arrive.release.aligned;" ::: "memory"); }
FATHOM_INLINE void clusterWait() { asm volatile("barrier.cluster.wait.acquire.aligned;" ::: "memory"); }
/// All threads of all blocks of the cluster.
FATHOM_INLINE void clusterSync() {
    clusterArrive();
    clusterWait();
}

// Barriers in shared memory

/// `arrivals` arrivals end a phase. Follow the last initialisation by `fenceBarrierInit` and a block or cluster sync.
FATHOM_INLINE void barrierInit(u32 barrier, u32 arrivals) {
    asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(barrier), "r"(arrivals) : "memory");
}
FATHOM_INLINE void fenceBarrierInit() { asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory"); }

/// Arrives once.
FATHOM_INLINE void barrierArrive(u32 barrier) {
    asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(barrier) : "memory");
}
/// Arrives once at the barrier of block `rank` of the cluster (this block's own included).
FATHOM_INLINE void barrierArrive(u32 barrier, u32 rank) {
    asm volatile(
        "{\n.reg .b32 remote;\n mapa.shared::cluster.u32 remote, %0, %1;\n"
        " mbarrier.arrive.release.cluster.shared::cluster.b64 _, [remote];\n}" ::"r"(barrier), "r"(rank)
        : "memory");
}
/// Arrives once and adds `bytes` to what the phase waits for; copies take them off again.
FATHOM_INLINE void barrierArriveExpect(u32 barrier, u32 bytes) {
    asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(barrier), "r"(bytes) : "memory");
}
/// Adds `bytes` without arriving.
FATHOM_INLINE void barrierExpect(u32 barrier, u32 bytes) {
    asm volatile("mbarrier.expect_tx.relaxed.cta.shared::cta.b64 [%0], %1;" ::"r"(barrier), "r"(bytes) : "memory");
}

/// Whether the phase with this parity has ended (may wait a moment in hardware).
FATHOM_INLINE bool barrierTry(u32 barrier, u32 parity) {
    u32 done;
    asm volatile(
        "{\n.reg .pred p;\n mbarrier.try_wait.parity.shared::cta.b64 p, [%1], %2;\n selp.u32 %0, 1, 0, p;\n}"
        : "=r"(done)
        : "r"(barrier), "r"(parity)
        : "memory");
    return done != 0;
}
/// As `barrierTry`, and what other blocks of the cluster did before they arrived is seen.
FATHOM_INLINE bool barrierTryCluster(u32 barrier, u32 parity) {
    u32 done;
    asm volatile(
        "{\n.reg .pred p;\n mbarrier.try_wait.parity.acquire.cluster.shared::cta.b64 p, [%1], %2;\n"
        " selp.u32 %0, 1, 0, p;\n}"
        : "=r"(done)
        : "r"(barrier), "r"(parity)
        : "memory");
    return done != 0;
}

FATHOM_INLINE u64 globalNanoseconds() {
    u64 time;
    asm volatile("mov.u64 %0, %%globaltimer;" : "=l"(time));
    return time;
}

/// Waits for the end of the phase with this parity. A fresh barrier is in phase 0: waiting for parity 1 returns at
/// once, waiting for parity 0 waits for the first phase. With FATHOM_WAIT_LIMIT (nanoseconds) a wait that takes longer
/// traps, so that a fault in a schedule is an error and not a hang.
template <bool Cluster = false>
FATHOM_INLINE void barrierWait(u32 barrier, u32 parity) {
#ifdef FATHOM_WAIT_LIMIT
    u64 start = 0;
#endif
    while (!(Cluster ? barrierTryCluster(barrier, parity) : barrierTry(barrier, parity))) {
#ifdef FATHOM_WAIT_LIMIT
        if (start == 0) start = globalNanoseconds();
        else if (globalNanoseconds() - start > FATHOM_WAIT_LIMIT) __trap();
#endif
    }
}

/// Position in a ring of `Stages` buffers: the buffer's index and the parity of its barriers' current round. A consumer
/// waits for the full barrier with `parity`, a producer for the empty barrier with `parity ^ 1`.
template <u32 Stages>
struct Ring {
    u32 index = 0;
    u32 parity = 0;
    FATHOM_INLINE void advance() {
        if (++index == Stages) {
            index = 0;
            parity ^= 1;
        }
    }
};

// Ordering

/// Orders this thread's ordinary accesses to shared memory before later accesses by copies and matrix instructions.
FATHOM_INLINE void fenceSharedForAsync() { asm volatile("fence.proxy.async.shared::cta;" ::: "memory"); }
/// The same for all memory.
FATHOM_INLINE void fenceForAsync() { asm volatile("fence.proxy.async;" ::: "memory"); }

// Bulk copies. One thread issues each.

FATHOM_INLINE void prefetchTensorMap(const TensorMap* map) {
    asm volatile("prefetch.tensormap [%0];" ::"l"(map) : "memory");
}

/// Cache policies for `L2::cache_hint`.
FATHOM_INLINE u64 policyEvictFirst() {
    u64 policy;
    asm("createpolicy.fractional.L2::evict_first.b64 %0, 1.0;" : "=l"(policy));
    return policy;
}
FATHOM_INLINE u64 policyEvictLast() {
    u64 policy;
    asm("createpolicy.fractional.L2::evict_last.b64 %0, 1.0;" : "=l"(policy));
    return policy;
}
FATHOM_INLINE u64 policyEvictNormal() {
    u64 policy;
    asm("createpolicy.fractional.L2::evict_normal.b64 %0, 1.0;" : "=l"(policy));
    return policy;
}

/// Copies the box of `map` at (x, y, ...), x fastest, to shared memory; `barrier` counts its bytes, those outside of
/// the tensor included (they arrive as zero).
FATHOM_INLINE void loadTensor(const TensorMap* map, u32 barrier, u32 target, u64 policy, i32 x, i32 y) {
    asm volatile(
        "cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes.L2::cache_hint"
        " [%0], [%1, {%3, %4}], [%2], %5;" ::"r"(target), "l"(map), "r"(barrier), "r"(x), "r"(y), "l"(policy)
        : "memory");
}
FATHOM_INLINE void loadTensor(const TensorMap* map, u32 barrier, u32 target, u64 policy, i32 x, i32 y, i32 z) {
    asm volatile(
        "cp.async.bulk.tensor.3d.shared::cluster.global.mbarrier::complete_tx::bytes.L2::cache_hint"
        " [%0], [%1, {%3, %4, %5}], [%2], %6;" ::"r"(target), "l"(map), "r"(barrier), "r"(x), "r"(y), "r"(z),
        "l"(policy)
        : "memory");
}
FATHOM_INLINE void loadTensor(const TensorMap* map, u32 barrier, u32 target, u64 policy, i32 x, i32 y, i32 z, i32 w) {
    asm volatile(
        "cp.async.bulk.tensor.4d.shared::cluster.global.mbarrier::complete_tx::bytes.L2::cache_hint"
        " [%0], [%1, {%3, %4, %5, %6}], [%2], %7;" ::"r"(target), "l"(map), "r"(barrier), "r"(x), "r"(y), "r"(z),
        "r"(w), "l"(policy)
        : "memory");
}

/// As `loadTensor`, to the same place in every block of the cluster whose bit is set in `ranks`; the barrier at the
/// same place in each of them counts the bytes.
FATHOM_INLINE void loadTensorMulticast(
    const TensorMap* map, u32 barrier, u32 target, u64 policy, u16 ranks, i32 x, i32 y) {
    asm volatile(
        "cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes.multicast::cluster"
        ".L2::cache_hint [%0], [%1, {%4, %5}], [%2], %3, %6;" ::"r"(target), "l"(map), "r"(barrier), "h"(ranks),
        "r"(x), "r"(y), "l"(policy)
        : "memory");
}
FATHOM_INLINE void loadTensorMulticast(
    const TensorMap* map, u32 barrier, u32 target, u64 policy, u16 ranks, i32 x, i32 y, i32 z) {
    asm volatile(
        "cp.async.bulk.tensor.3d.shared::cluster.global.mbarrier::complete_tx::bytes.multicast::cluster"
        ".L2::cache_hint [%0], [%1, {%4, %5, %6}], [%2], %3, %7;" ::"r"(target), "l"(map), "r"(barrier), "h"(ranks),
        "r"(x), "r"(y), "r"(z), "l"(policy)
        : "memory");
}
FATHOM_INLINE void loadTensorMulticast(
    const TensorMap* map, u32 barrier, u32 target, u64 policy, u16 ranks, i32 x, i32 y, i32 z, i32 w) {
    asm volatile(
        "cp.async.bulk.tensor.4d.shared::cluster.global.mbarrier::complete_tx::bytes.multicast::cluster"
        ".L2::cache_hint [%0], [%1, {%4, %5, %6, %7}], [%2], %3, %8;" ::"r"(target), "l"(map), "r"(barrier),
        "h"(ranks), "r"(x), "r"(y), "r"(z), "r"(w), "l"(policy)
        : "memory");
}

/// Stores a box; parts outside of the tensor are dropped. Before it: `fenceSharedForAsync` in each thread that wrote
/// the tile, then a barrier among them.
FATHOM_INLINE void storeTensor(const TensorMap* map, u32 source, i32 x, i32 y) {
    asm volatile(
        "cp.async.bulk.tensor.2d.global.shared::cta.bulk_group [%0, {%2, %3}], [%1];" ::"l"(map), "r"(source), "r"(x),
        "r"(y)
        : "memory");
}
FATHOM_INLINE void storeTensor(const TensorMap* map, u32 source, i32 x, i32 y, i32 z) {
    asm volatile(
        "cp.async.bulk.tensor.3d.global.shared::cta.bulk_group [%0, {%2, %3, %4}], [%1];" ::"l"(map), "r"(source),
        "r"(x), "r"(y), "r"(z)
        : "memory");
}
FATHOM_INLINE void storeTensor(const TensorMap* map, u32 source, i32 x, i32 y, i32 z, i32 w) {
    asm volatile(
        "cp.async.bulk.tensor.4d.global.shared::cta.bulk_group [%0, {%2, %3, %4, %5}], [%1];" ::"l"(map), "r"(source),
        "r"(x), "r"(y), "r"(z), "r"(w)
        : "memory");
}
/// Adds a box of the tensor map's type (float32) to what is in device memory.
FATHOM_INLINE void addTensor(const TensorMap* map, u32 source, i32 x, i32 y) {
    asm volatile(
        "cp.reduce.async.bulk.tensor.2d.global.shared::cta.add.bulk_group [%0, {%2, %3}], [%1];" ::"l"(map),
        "r"(source), "r"(x), "r"(y)
        : "memory");
}
FATHOM_INLINE void addTensor(const TensorMap* map, u32 source, i32 x, i32 y, i32 z) {
    asm volatile(
        "cp.reduce.async.bulk.tensor.3d.global.shared::cta.add.bulk_group [%0, {%2, %3, %4}], [%1];" ::"l"(map),
        "r"(source), "r"(x), "r"(y), "r"(z)
        : "memory");
}

/// Copies `bytes` (a multiple of 16, both addresses 16-byte aligned) without a tensor map.
FATHOM_INLINE void loadBulk(const void* source, u32 barrier, u32 target, u32 bytes) {
    asm volatile(
        "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %3, [%2];" ::"r"(target),
        "l"(source), "r"(barrier), "r"(bytes)
        : "memory");
}
FATHOM_INLINE void storeBulk(void* target, u32 source, u32 bytes) {
    asm volatile(
        "cp.async.bulk.global.shared::cta.bulk_group [%0], [%1], %2;" ::"l"(target), "r"(source), "r"(bytes)
        : "memory");
}

/// Ends the group of this thread's stores so far.
FATHOM_INLINE void commitStores() { asm volatile("cp.async.bulk.commit_group;" ::: "memory"); }
/// Waits until at most `Pending` of this thread's groups still read shared memory.
template <u32 Pending>
FATHOM_INLINE void waitStoresRead() { asm volatile("cp.async.bulk.wait_group.read %0;" ::"n"(Pending) : "memory"); }
/// Waits until at most `Pending` of this thread's groups are not yet complete in memory.
template <u32 Pending>
FATHOM_INLINE void waitStores() { asm volatile("cp.async.bulk.wait_group %0;" ::"n"(Pending) : "memory"); }

/// Stores 16 bytes in another block's shared memory (an address of `mapToRank`); its barrier (also of `mapToRank`)
/// counts the bytes.
FATHOM_INLINE void storeRemote(u32 target, u32 barrier, u32 a, u32 b, u32 c, u32 d) {
    asm volatile(
        "st.async.shared::cluster.mbarrier::complete_tx::bytes.v4.b32 [%0], {%2, %3, %4, %5}, [%1];" ::"r"(target),
        "r"(barrier), "r"(a), "r"(b), "r"(c), "r"(d)
        : "memory");
}

// Warpgroup matrix instructions: order, commit, wait. The products themselves are generated.

/// Before the first product of a batch, and whenever registers that a product uses were written.
FATHOM_INLINE void warpgroupArrive() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
/// Ends a batch of products.
FATHOM_INLINE void warpgroupCommit() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }
/// Waits until at most `Pending` batches run.
template <u32 Pending>
FATHOM_INLINE void warpgroupWait() { asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(Pending) : "memory"); }

/// Keeps the compiler from moving accesses to accumulator registers across a fence or a wait.
template <u32 Count>
FATHOM_INLINE void holdRegisters(float (&values)[Count]) {
#pragma unroll
    for (u32 i = 0; i < Count; ++i) asm volatile("" : "+f"(values[i])::"memory");
}

/// Descriptor of a K-major operand (rows of `Span` bytes, swizzled) that starts at `address`, which is 8 * Span
/// aligned; add `descriptorStep(bytes)` to advance along K within a row.
template <u32 Span>
FATHOM_INLINE u64 descriptorKMajor(u32 address) {
    return descriptorShape<Span>(16, 8 * Span) | descriptorAddress(address);
}
/// Descriptor of an MN-major operand of 16-bit elements: each row of `Span` bytes is a run along MN for one k, eight
/// rows are 8 * Span bytes; `leading` bytes lead to the next run along MN.
template <u32 Span>
FATHOM_INLINE u64 descriptorMNMajor(u32 address, u32 leading) {
    return descriptorShape<Span>(leading, 8 * Span) | descriptorAddress(address);
}
FATHOM_CONSTEXPR u64 descriptorStep(u32 bytes) { return bytes >> 4; }

// Matrices between registers and shared memory: each lane names a row of 16 bytes.

FATHOM_INLINE void storeMatrix(u32 address, u32 a, u32 b, u32 c, u32 d) {
    asm volatile(
        "stmatrix.sync.aligned.m8n8.x4.shared.b16 [%0], {%1, %2, %3, %4};" ::"r"(address), "r"(a), "r"(b), "r"(c),
        "r"(d)
        : "memory");
}
FATHOM_INLINE void storeMatrix(u32 address, u32 a, u32 b) {
    asm volatile("stmatrix.sync.aligned.m8n8.x2.shared.b16 [%0], {%1, %2};" ::"r"(address), "r"(a), "r"(b) : "memory");
}
FATHOM_INLINE void storeMatrixTransposed(u32 address, u32 a, u32 b, u32 c, u32 d) {
    asm volatile(
        "stmatrix.sync.aligned.m8n8.x4.trans.shared.b16 [%0], {%1, %2, %3, %4};" ::"r"(address), "r"(a), "r"(b),
        "r"(c), "r"(d)
        : "memory");
}
FATHOM_INLINE void loadMatrix(u32 address, u32& a, u32& b, u32& c, u32& d) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(a), "=r"(b), "=r"(c), "=r"(d)
                 : "r"(address)
                 : "memory");
}
FATHOM_INLINE void loadMatrixTransposed(u32 address, u32& a, u32& b, u32& c, u32& d) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(a), "=r"(b), "=r"(c), "=r"(d)
                 : "r"(address)
                 : "memory");
}

// Shared and device memory by width

FATHOM_INLINE float loadShared(u32 address) {
    float value;
    asm volatile("ld.shared.f32 %0, [%1];" : "=f"(value) : "r"(address) : "memory");
    return value;
}
FATHOM_INLINE void storeShared(u32 address, float value) {
    asm volatile("st.shared.f32 [%0], %1;" ::"r"(address), "f"(value) : "memory");
}
FATHOM_INLINE void storeShared(u32 address, float a, float b) {
    asm volatile("st.shared.v2.f32 [%0], {%1, %2};" ::"r"(address), "f"(a), "f"(b) : "memory");
}
FATHOM_INLINE void storeShared(u32 address, u32 a, u32 b, u32 c, u32 d) {
    asm volatile("st.shared.v4.b32 [%0], {%1, %2, %3, %4};" ::"r"(address), "r"(a), "r"(b), "r"(c), "r"(d) : "memory");
}
/// A load through the read-only path.
FATHOM_INLINE float loadConstant(const float* pointer) { return __ldg(pointer); }

// Numbers

/// Two float32 to bfloat16 in one register, `low` in the low half, to nearest even.
FATHOM_INLINE u32 packBFloat16(float low, float high) {
    u32 packed;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(packed) : "f"(high), "f"(low));
    return packed;
}
FATHOM_INLINE u32 packFloat16(float low, float high) {
    u32 packed;
    asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(packed) : "f"(high), "f"(low));
    return packed;
}
FATHOM_INLINE float bfloat16Low(u32 packed) { return __uint_as_float(packed << 16); }
FATHOM_INLINE float bfloat16High(u32 packed) { return __uint_as_float(packed & 0xFFFF0000u); }
FATHOM_INLINE float float16Low(u32 packed) {
    float value;
    asm("{\n.reg .b16 low, high;\n mov.b32 {low, high}, %1;\n cvt.f32.f16 %0, low;\n}" : "=f"(value) : "r"(packed));
    return value;
}
FATHOM_INLINE float float16High(u32 packed) {
    float value;
    asm("{\n.reg .b16 low, high;\n mov.b32 {low, high}, %1;\n cvt.f32.f16 %0, high;\n}" : "=f"(value) : "r"(packed));
    return value;
}
/// Two E4M3 bytes to two float16 in one register.
FATHOM_INLINE u32 unpackE4M3(u16 pair) {
    u32 packed;
    asm("cvt.rn.f16x2.e4m3x2 %0, %1;" : "=r"(packed) : "h"(pair));
    return packed;
}
FATHOM_INLINE float exp2Approximate(float x) {
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}
FATHOM_INLINE float log2Approximate(float x) {
    float y;
    asm("lg2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}

}  // namespace fathom
