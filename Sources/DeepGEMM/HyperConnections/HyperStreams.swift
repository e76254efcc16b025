// SPDX-License-Identifier: MIT

// SAFETY: In this file pointers are rows of matrices whose extents the calls checked, or a worker's scratch memory.

internal import Kernels

/// Columns that are mixed at a time, so that a token's streams stay in the first-level cache.
let hyperChunk = 1024

extension FloatRows {
    /// Decodes a run of a row's numbers to floats.
    func decode(
        row: Int, columns: Range<Int>, to out: UnsafeMutablePointer<Float>, _ kernels: KernelTable
    ) {
        let source = baseAddress + (row * rowStride + columns.lowerBound) * element.byteCount
        if element == .bfloat16 {
            kernels.decodeBFloat16(source, out, columns.count, 1)
        } else {
            UnsafeMutableRawPointer(out).copyMemory(from: source, byteCount: columns.count * 4)
        }
    }

    /// Decodes the same columns of each of a token's n streams, `hyperChunk` floats apart.
    func decodeStreams(
        token: Int, count: Int, width: Int, columns: Range<Int>, to out: UnsafeMutablePointer<Float>,
        _ kernels: KernelTable
    ) {
        for stream in 0..<count {
            let first = stream * width
            decode(
                row: token, columns: first + columns.lowerBound..<first + columns.upperBound,
                to: out + stream * hyperChunk, kernels)
        }
    }

    /// Asks for the columns from one on, up to `hyperChunk` of each of a token's streams.
    func prefetchStreams(token: Int, count: Int, width: Int, from column: Int, _ kernels: KernelTable) {
        let size = element.byteCount
        kernels.prefetchRows(
            baseAddress + (token * rowStride + column) * size, count, min(hyperChunk, width - column) * size,
            width * size)
    }
}
