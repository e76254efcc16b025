// SPDX-License-Identifier: MIT
//
// The rate at which the tensor cores multiply random numbers that lie in shared memory already: the ceiling that
// products are measured against. Two warpgroups of each block, 64 x 256 sums each.
#include "hopper.cuh"
#include "multiply.cuh"

using namespace fathom;

/// `mask` and `bits` make finite numbers of random ones. Each warpgroup runs `rounds` times four products.
extern "C" __global__ void __launch_bounds__(256, 1) fathom_matrix_rate(u32 rounds, u32 mask, u32 bits, float* sink) {
    extern __shared__ __align__(1024) u8 shared[];
    constexpr u32 kBytesA = 2 * 64 * 128;
    constexpr u32 kBytesB = 256 * 128;
    u32* words = reinterpret_cast<u32*>(shared);
    for (u32 i = threadIdx.x; i < (kBytesA + kBytesB) / 4; i += 256) {
        u32 x = (i + blockIdx.x * 77777u) * 2654435761u;
        x ^= x >> 15;
        x *= 2246822519u;
        words[i] = ((x ^ (x >> 13)) & mask) | bits;
    }
    fenceSharedForAsync();
    __syncthreads();
    const u32 base = sharedAddress(shared);
    const u64 a = descriptorKMajor<128>(base + warpIndex() / 4 * 64 * 128);
    const u64 b = descriptorKMajor<128>(base + kBytesA);
    float sums[128];
#pragma unroll
    for (u32 i = 0; i < 128; ++i) sums[i] = 0;
    for (u32 round = 0; round < rounds; ++round) {
        warpgroupArrive();
#pragma unroll
        for (u32 step = 0; step < 4; ++step) {
            multiply(sums, a + descriptorStep(step * 32), b + descriptorStep(step * 32), true);
        }
        warpgroupCommit();
        warpgroupWait<1>();
    }
    warpgroupWait<0>();
    holdRegisters(sums);
    float total = 0;
#pragma unroll
    for (u32 i = 0; i < 128; ++i) total += sums[i];
    // Keeps the products from being dropped; never true.
    if (total == 1.2345e-30f) sink[threadIdx.x] = total;
}
