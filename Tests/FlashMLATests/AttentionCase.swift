// SPDX-License-Identifier: MIT

import FlashMLA
import KernelDispatch
import LowPrecision
import Platform
import Tensors
import TestSupport

/// Random requests over a paged cache whose unused rows are NaN: a result that read one would be NaN too.
struct AttentionCase {
    /// A request: positions before its first token, and its tokens.
    struct Extent: Sendable, Equatable {
        var firstPosition: Int
        var tokenCount: Int
    }

    let shape: AttentionShape
    let format: LatentCacheLayer.Format
    let extents: [Extent]
    /// For each request its cached rows as they read back, in order of position.
    let rows: [[[Float]]]
    /// For each request the queries [tokens, heads, rowWidth].
    var queries: [[Float]]
    private let cache: GuardedBuffer<UInt8>
    private let tables: [GuardedBuffer<Int32>]

    /// - Parameter placement: seed of the blocks' order in the cache.
    init(
        _ extents: [Extent], heads: Int, rowWidth: Int, valueWidth: Int, format: LatentCacheLayer.Format,
        seed: UInt64, placement: UInt64 = 1
    ) {
        let size = LatentCacheLayer.blockSize
        shape = AttentionShape(
            headCount: heads, rowWidth: rowWidth, valueWidth: valueWidth,
            scale: 1 / Float(rowWidth).squareRoot())
        self.format = format
        self.extents = extents
        var random = RandomNumbers(seed: seed)
        rows = extents.map { extent in
            (0..<extent.firstPosition + extent.tokenCount).map { _ in
                random.normals(rowWidth).map { format == .float32 ? $0 : Float(BFloat16($0)) }
            }
        }
        queries = extents.map { extent in
            random.normals(extent.tokenCount * heads * rowWidth).map { $0 * 2 }
        }
        // Two blocks more than needed, in any order.
        let counts = rows.map { ($0.count + size - 1) / size }
        let blockCount = counts.reduce(2, +)
        var shuffle = RandomNumbers(seed: placement)
        let order = (0..<Int32(blockCount)).shuffled(using: &shuffle)
        let byteCount = format.byteCount
        // 0xFF throughout is a NaN in both formats.
        cache = GuardedBuffer(count: blockCount * size * rowWidth * byteCount, repeating: 0xFF)
        var used = 0
        var tables: [GuardedBuffer<Int32>] = []
        for (sequence, count) in zip(rows, counts) {
            let table = Array(order[used..<used + count])
            used += count
            tables.append(GuardedBuffer(table, filler: 0))
            for (position, row) in sequence.enumerated() {
                let slot = (Int(table[position / size]) * size + position % size) * rowWidth * byteCount
                let target = UnsafeMutableRawPointer(cache.start) + slot
                for (index, value) in row.enumerated() {
                    if format == .float32 {
                        target.storeBytes(of: value, toByteOffset: index * 4, as: Float.self)
                    } else {
                        target.storeBytes(
                            of: BFloat16(value).bitPattern, toByteOffset: index * 2, as: UInt16.self)
                    }
                }
            }
        }
        self.tables = tables
    }

    /// What `attend` makes of stretches of some requests' tokens: for each [tokens, heads, value].
    ///
    /// nil where it wrote outside of its results.
    ///
    /// - Parameter queryType: `bfloat16` rounds the queries.
    func attend(
        _ parts: [(request: Int, tokens: Range<Int>)], _ queryType: ScalarType = .float32, on context: ComputeContext
    ) throws -> [[Float]]? {
        let inputs = parts.map { part in
            let width = shape.headCount * shape.rowWidth
            let numbers = queries[part.request][part.tokens.lowerBound * width..<part.tokens.upperBound * width]
            return GuardedBuffer(
                queryType == .float32
                    ? numbers.flatMap { withUnsafeBytes(of: $0) { Array($0) } }
                    : numbers.flatMap { withUnsafeBytes(of: BFloat16($0).bitPattern) { Array($0) } }, filler: 0xFF)
        }
        let outs = parts.map { GuardedBuffer(poisoned: $0.tokens.count * shape.headCount * shape.valueWidth) }
        let requests = parts.indices.map { index in
            let part = parts[index]
            return AttentionRequest(
                queries: inputs[index].start, queryType, out: outs[index].start, tokenCount: part.tokens.count,
                firstPosition: extents[part.request].firstPosition + part.tokens.lowerBound,
                blockTable: tables[part.request].start)
        }
        let layer = LatentCacheLayer(format: format, rowWidth: shape.rowWidth, baseAddress: cache.start)
        // An array's buffers may end with its last mention, which is before the requests' use of their memory.
        try withExtendedLifetime((inputs, outs, self)) {
            try FlashMLA.attend(requests, shape: shape, cache: layer, on: context)
        }
        return outs.allSatisfy(\.isIntact) ? outs.map(\.values) : nil
    }

    /// All requests, whole.
    func attend(_ queryType: ScalarType = .float32, on context: ComputeContext) throws -> [[Float]]? {
        try attend(extents.indices.map { ($0, 0..<extents[$0].tokenCount) }, queryType, on: context)
    }

    /// The queries as bfloat16 has them.
    mutating func roundQueries() {
        queries = queries.map { $0.map { Float(BFloat16($0)) } }
    }

    /// The definition's result for one token: [heads, valueWidth].
    func reference(_ request: Int, token: Int) -> [Float] {
        let width = shape.headCount * shape.rowWidth
        let visible = extents[request].firstPosition + token + 1
        return referenceAttention(
            queries: Array(queries[request][token * width..<(token + 1) * width]),
            rows: Array(rows[request][..<visible]), shape: shape
        ).map { Float($0) }
    }
}
