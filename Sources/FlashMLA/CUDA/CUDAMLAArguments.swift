// SPDX-License-Identifier: MIT

/// The arguments of the attention and combine kernels: `Arguments` of `mla_layout.cuh`, field by field.
package struct CUDAMLAArguments: Sendable {
    package var queries: UInt64 = 0
    package var queryStrides: (request: Int64, token: Int64, head: Int64) = (0, 0, 0)
    package var pageTable: UInt64 = 0
    package var pageTableStride: Int32 = 0
    package var lengths: UInt64 = 0
    package var parts: UInt64 = 0
    package var pieceEnds: UInt64 = 0
    package var out: UInt64 = 0
    package var outStrides: (request: Int64, token: Int64, head: Int64) = (0, 0, 0)
    package var logSums: UInt64 = 0
    package var pieceOut: UInt64 = 0
    package var pieceLogSums: UInt64 = 0
    package var requests: Int32 = 0
    package var tokens: Int32 = 0
    package var heads: Int32 = 0
    package var keyHeads: Int32 = 0
    /// Softmax scale times log₂ e.
    package var scale: Float = 0
    package var isCausal = false
    // With index lists; see `Arguments`.
    package var pool: UInt64 = 0
    package var poolPageStride: Int64 = 0
    package var lists: UInt64 = 0
    package var listLengths: UInt64 = 0
    package var sinks: UInt64 = 0
    package var listCount: Int32 = 0
    package var listTokens: Int32 = 1
    package var poolPageSize: Int32 = 1
    package var poolRows: Int32 = 0

    package init() {}

    /// Where each field begins.
    package static let offsets = [
        0, 8, 16, 24, 32, 40, 48, 56, 64, 72, 80, 88, 96, 104, 112, 120, 128, 132, 136, 140, 144, 148,
        152, 160, 168, 176, 184, 192, 196, 200, 204,
    ]

    /// The structure as the kernel reads it.
    package var bytes: [UInt8] {
        var bytes: [UInt8] = []
        func append(_ value: some FixedWidthInteger) {
            while bytes.count % (type(of: value).bitWidth / 8) != 0 { bytes.append(0) }
            // SAFETY: the bytes are copied at once.
            withUnsafeBytes(of: value.littleEndian) { bytes += $0 }
        }
        append(queries)
        for stride in [queryStrides.request, queryStrides.token, queryStrides.head] { append(stride) }
        append(pageTable)
        append(pageTableStride)
        for address in [lengths, parts, pieceEnds, out] { append(address) }
        for stride in [outStrides.request, outStrides.token, outStrides.head] { append(stride) }
        for address in [logSums, pieceOut, pieceLogSums] { append(address) }
        for count in [requests, tokens, heads, keyHeads] { append(count) }
        append(scale.bitPattern)
        append(Int32(isCausal ? 1 : 0))
        append(pool)
        append(poolPageStride)
        for address in [lists, listLengths, sinks] { append(address) }
        for count in [listCount, listTokens, poolPageSize, poolRows] { append(count) }
        return bytes
    }
}
