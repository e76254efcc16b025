// SPDX-License-Identifier: MIT

public import Kernels

/// The kernels compiled for any processor.
public let baselineKernels = KernelTable(
    name: "baseline",
    linearFloat32: { linear(Baseline.self, Float32Format.self, $0) },
    linearBFloat16: { linear(Baseline.self, BFloat16Format.self, $0) },
    linearFloat16: { linear(Baseline.self, Float16Format.self, $0) },
    linearFloat8E4M3: { linear(Baseline.self, Float8E4M3Format.self, $0) },
    linearFloat4: { float4Linear(Baseline.self, $0) },
    decodeBFloat16: { decode(Baseline.self, BFloat16Format.self, $0, to: $1, count: $2, scale: $3) },
    decodeFloat16: { decode(Baseline.self, Float16Format.self, $0, to: $1, count: $2, scale: $3) },
    decodeFloat8E4M3: { decode(Baseline.self, Float8E4M3Format.self, $0, to: $1, count: $2, scale: $3) },
    decodeFloat4: { decodeFloat4(Baseline.self, $0, to: $1, count: $2, scale: $3) },
    decodePackedLatent: { decodePackedLatent(Baseline.self, $0) },
    packFloat32: { pack(Baseline.self, Float32Format.self, $0) },
    packBFloat16: { pack(Baseline.self, BFloat16Format.self, $0) },
    packFloat16: { pack(Baseline.self, Float16Format.self, $0) },
    packFloat8E4M3: { pack(Baseline.self, Float8E4M3Format.self, $0) },
    packFloat4E2M1: { pack(Baseline.self, Float4E2M1Format.self, $0) },
    scalePacked: { scalePacked(Baseline.self, $0) },
    prefetchRows: { prefetchRows($0, rowCount: $1, byteCount: $2, stride: $3) },
    quantizeE4M3Float32: { quantizeE4M3(Baseline.self, Float32Format.self, $0) },
    quantizeE4M3BFloat16: { quantizeE4M3(Baseline.self, BFloat16Format.self, $0) },
    quantizeFloat4Float32: { quantizeFloat4(Baseline.self, Float32Format.self, $0) },
    quantizeFloat4BFloat16: { quantizeFloat4(Baseline.self, BFloat16Format.self, $0) },
    indexerLogits: { indexerLogits(Baseline.self, $0) },
    finishIndexerLogits: { finishIndexerLogits(Baseline.self, sums: $0, scales: $1, out: $2, count: $3) },
    packIndexerHead: { packIndexerHead($0, to: $1, lane: $2, width: $3, depth: $4) },
    decodeIndexerE4M3: { decodeIndexerE4M3(Baseline.self, $0) },
    decodeIndexerFloat4: { decodeIndexerFloat4(Baseline.self, $0) },
    sumOfSquares: { sumOfSquares(Baseline.self, $0, count: $1) },
    dotBlock: { dotBlock(Baseline.self, $0) },
    dotPanel: { dotPanel(Baseline.self, $0) }, panelRows: Baseline.panelRows,
    outerProduct: { outerProduct(Baseline.self, $0) },
    attentionBlock: { attentionBlock(Baseline.self, $0) },
    attentionBlockBFloat16: { storedAttentionBlock(Baseline.self, BFloat16Format.self, $0) },
    attentionBlockFloat16: { storedAttentionBlock(Baseline.self, Float16Format.self, $0) },
    mergeAttention: {
        mergeAttention(
            Baseline.self, maximumA: $0, sumA: $1, outA: $2, maximumB: $3, sumB: $4, outB: $5, valueWidth: $6)
    },
    mha: MHAKernels(
        panelProduct: { panelProduct(Baseline.self, $0) },
        packRowPanels: {
            packRowPanels($0, rowStride: $1, rowCount: $2, width: $3, panels: $4, panelStride: $5)
        },
        packColumnPanels: {
            packColumnPanels($0, rowStride: $1, rowCount: $2, width: $3, panels: $4, panelStride: $5)
        },
        softmax: { mhaSoftmax(Baseline.self, $0) },
        normalise: { mhaNormalise($0, outStride: $1, outWidth: $2, rowCount: $3, sums: $4) },
        gradient: { mhaGradient(Baseline.self, $0) },
        rowDot: { rowDot(Baseline.self, $0, $1, count: $2) }),
    rmsNorm: { rmsNorm(Baseline.self, $0, weight: $1, epsilon: $2, out: $3, count: $4) },
    siluMultiply: { siluMultiply(Baseline.self, gate: $0, up: $1, count: $2) },
    addScaled: { addScaled(Baseline.self, $0, factor: $1, to: $2, count: $3) },
    roundBFloat16: { roundBFloat16($0, to: $1, count: $2) },
    multiplyAddProbe: { multiplyAddProbe(Baseline.self, iterations: $0) },
    readProbe: { readProbe($0, byteCount: $1) },
    firstNonFinite16: { firstNonFinite($0, count: $1, mask: $2) },
    firstNonFinite32: { firstNonFinite($0, count: $1, mask: 0x7F80_0000 as UInt32) },
    firstNonFinite8: { firstNonFinite($0, count: $1, mask: 0x7F as UInt8) }
)

/// Sums of rows.
public let baselineRowSums = RowSumKernels(
    bfloat16: { sumRowsBFloat16(Baseline.self, $0) },
    float32: { sumRowsFloat32(Baseline.self, $0) }
)

/// LogFMT-10.
public let baselineLogFMT = LogFMTKernels(
    encode: { encodeLogFMT(Baseline.self, $0, to: $1, count: $2, scratch: $3) },
    sum: { sumLogFMT(Baseline.self, $0) }
)
