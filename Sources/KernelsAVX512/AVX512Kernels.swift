// SPDX-License-Identifier: MIT

public import Kernels

/// The kernels compiled for x86-64 with AVX-512 (F, BW, DQ, VL, BF16 and VBMI).
public let avx512Kernels = KernelTable(
    name: "avx512",
    linearFloat32: { linear(AVX512.self, Float32Format.self, $0) },
    linearBFloat16: { linear(AVX512.self, BFloat16Format.self, $0) },
    linearFloat16: { linear(AVX512.self, Float16Format.self, $0) },
    linearFloat8E4M3: { linear(AVX512.self, Float8E4M3Format.self, $0) },
    linearFloat4: { float4Linear(AVX512.self, $0) },
    decodeBFloat16: { decode(AVX512.self, BFloat16Format.self, $0, to: $1, count: $2, scale: $3) },
    decodeFloat16: { decode(AVX512.self, Float16Format.self, $0, to: $1, count: $2, scale: $3) },
    decodeFloat8E4M3: { decode(AVX512.self, Float8E4M3Format.self, $0, to: $1, count: $2, scale: $3) },
    decodeFloat4: { decodeFloat4(AVX512.self, $0, to: $1, count: $2, scale: $3) },
    decodePackedLatent: { decodePackedLatent(AVX512.self, $0) },
    packFloat32: { pack(AVX512.self, Float32Format.self, $0) },
    packBFloat16: { pack(AVX512.self, BFloat16Format.self, $0) },
    packFloat16: { pack(AVX512.self, Float16Format.self, $0) },
    packFloat8E4M3: { pack(AVX512.self, Float8E4M3Format.self, $0) },
    packFloat4E2M1: { pack(AVX512.self, Float4E2M1Format.self, $0) },
    scalePacked: { scalePacked(AVX512.self, $0) },
    prefetchRows: { prefetchRows($0, rowCount: $1, byteCount: $2, stride: $3) },
    quantizeE4M3Float32: { quantizeE4M3(AVX512.self, Float32Format.self, $0) },
    quantizeE4M3BFloat16: { quantizeE4M3(AVX512.self, BFloat16Format.self, $0) },
    quantizeFloat4Float32: { quantizeFloat4(AVX512.self, Float32Format.self, $0) },
    quantizeFloat4BFloat16: { quantizeFloat4(AVX512.self, BFloat16Format.self, $0) },
    indexerLogits: { indexerLogits(AVX512.self, $0) },
    finishIndexerLogits: { finishIndexerLogits(AVX512.self, sums: $0, scales: $1, out: $2, count: $3) },
    packIndexerHead: { packIndexerHead($0, to: $1, lane: $2, width: $3, depth: $4) },
    decodeIndexerE4M3: { decodeIndexerE4M3(AVX512.self, $0) },
    decodeIndexerFloat4: { decodeIndexerFloat4(AVX512.self, $0) },
    sumOfSquares: { sumOfSquares(AVX512.self, $0, count: $1) },
    dotBlock: { dotBlock(AVX512.self, $0) },
    dotPanel: { dotPanel(AVX512.self, $0) }, panelRows: AVX512.panelRows,
    outerProduct: { outerProduct(AVX512.self, $0) },
    attentionBlock: { attentionBlock(AVX512.self, $0) },
    attentionBlockBFloat16: { storedAttentionBlock(AVX512.self, BFloat16Format.self, $0) },
    attentionBlockFloat16: { storedAttentionBlock(AVX512.self, Float16Format.self, $0) },
    mergeAttention: {
        mergeAttention(
            AVX512.self, maximumA: $0, sumA: $1, outA: $2, maximumB: $3, sumB: $4, outB: $5, valueWidth: $6)
    },
    mha: MHAKernels(
        panelProduct: { panelProduct(AVX512.self, $0) },
        packRowPanels: {
            packRowPanels($0, rowStride: $1, rowCount: $2, width: $3, panels: $4, panelStride: $5)
        },
        packColumnPanels: {
            packColumnPanels($0, rowStride: $1, rowCount: $2, width: $3, panels: $4, panelStride: $5)
        },
        softmax: { mhaSoftmax(AVX512.self, $0) },
        normalise: { mhaNormalise($0, outStride: $1, outWidth: $2, rowCount: $3, sums: $4) },
        gradient: { mhaGradient(AVX512.self, $0) },
        rowDot: { rowDot(AVX512.self, $0, $1, count: $2) }),
    rmsNorm: { rmsNorm(AVX512.self, $0, weight: $1, epsilon: $2, out: $3, count: $4) },
    siluMultiply: { siluMultiply(AVX512.self, gate: $0, up: $1, count: $2) },
    addScaled: { addScaled(AVX512.self, $0, factor: $1, to: $2, count: $3) },
    roundBFloat16: { roundBFloat16($0, to: $1, count: $2) },
    multiplyAddProbe: { multiplyAddProbe(AVX512.self, iterations: $0) },
    readProbe: { readProbe($0, byteCount: $1) },
    firstNonFinite16: { firstNonFinite($0, count: $1, mask: $2) },
    firstNonFinite32: { firstNonFinite($0, count: $1, mask: 0x7F80_0000 as UInt32) },
    firstNonFinite8: { firstNonFinite($0, count: $1, mask: 0x7F as UInt8) }
)

/// The kernels on bfloat16 pairs.
public let avx512PairKernels = PairKernels(
    product: { pairProduct(AVX512.self, $0) },
    packRowsBFloat16: { packPairRows(AVX512.self, BFloat16Pairs.self, $0) },
    packRowsFloat8E4M3: { packPairRows(AVX512.self, Float8E4M3Pairs.self, $0) },
    packUnitsBFloat16: { packPairUnits(AVX512.self, BFloat16Pairs.self, $0) },
    packUnitsFloat8E4M3: { packPairUnits(AVX512.self, Float8E4M3Pairs.self, $0) },
    packColumnsBFloat16: { packPairColumns(AVX512.self, BFloat16Pairs.self, $0) },
    packColumnsFloat8E4M3: { packPairColumns(AVX512.self, Float8E4M3Pairs.self, $0) },
    narrowRows: { narrowPairRows($0, sourceStride: $1, rowCount: $2, count: $3, to: $4, outStride: $5) },
    linearBFloat16: { pairLinear(AVX512.self, BFloat16Pairs.self, $0) },
    linearFloat8E4M3: { pairLinear(AVX512.self, Float8E4M3Pairs.self, $0) },
    probe: { multiplyPairsProbe(AVX512.self, iterations: $0) }
)

/// Sums of rows.
public let avx512RowSums = RowSumKernels(
    bfloat16: { sumRowsBFloat16(AVX512.self, $0) },
    float32: { sumRowsFloat32(AVX512.self, $0) }
)

/// LogFMT-10.
public let avx512LogFMT = LogFMTKernels(
    encode: { encodeLogFMT(AVX512.self, $0, to: $1, count: $2, scratch: $3) },
    sum: { sumLogFMT(AVX512.self, $0) }
)
