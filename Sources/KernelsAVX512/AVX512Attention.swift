// SPDX-License-Identifier: MIT

public import Kernels

/// Attention on bfloat16 pairs.
public let avx512PairAttention = PairAttentionKernels(
    block: { pairAttentionBlock(AVX512.self, $0) },
    packedBlock: { packedAttentionBlock(AVX512.self, $0) },
    readScales: { readLatentScales($0, stride: $1, keyCount: $2, groupCount: $3, coding: $4, to: $5) },
    decodeRow: { decodeLatentPairs(AVX512.self, $0, to: $1) },
    isModerate: { isModerate($0, count: $1) }
)
