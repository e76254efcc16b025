// SPDX-License-Identifier: MIT

import FlashMLA
import KernelDispatch
import LowPrecision
import Platform
import Tensors
import TestSupport

/// One pool of a test and the lists into it.
struct SparsePoolShape: Sendable {
    var format: SparsePool.Format
    var pageSize: Int
    var pageCount: Int
    var topK: Int
    /// For each request; nil for all entries.
    var lengths: [Int32]?
    /// Of how many entries one is a hole; 1 for all, 0 for none.
    var holes = 7
}

struct SparseShape: Sendable, CustomStringConvertible {
    var requests: Int
    var tokens: Int
    var heads: Int
    var rowWidth: Int
    var valueWidth: Int
    var pools: [SparsePoolShape]
    var type = ScalarType.float32
    /// Repeated over the heads; nil for none.
    var sinks: [Float]?

    var description: String {
        "\(requests)x\(tokens), heads \(heads), \(rowWidth)/\(valueWidth), \(type.rawValue), "
            + pools.map { "\($0.format) page \($0.pageSize)x\($0.pageCount) top \($0.topK)" }.joined(separator: "; ")
    }
}

/// Random inputs of one call. Rows that no valid entry names are NaN, and entries beyond the lengths are nonsense.
struct SparseCase {
    let shape: SparseShape
    let queries: [Float]
    /// For each pool the lists [requests · tokens, topK].
    var indices: [[Int32]]
    /// For each pool the rows that are in use, as attention reads them.
    private let rows: [[Int: [Float]]]
    private let memories: [GuardedBuffer<UInt8>]
    let scale: Float

    var tokenCount: Int { shape.requests * shape.tokens }
    var sinks: [Float]? { shape.sinks.map { s in (0..<shape.heads).map { s[$0 % s.count] } } }

    init(_ shape: SparseShape, seed: UInt64) throws {
        self.shape = shape
        scale = 1 / Float(shape.rowWidth).squareRoot()
        var random = RandomNumbers(seed: seed)
        queries = random.normals(shape.requests * shape.tokens * shape.heads * shape.rowWidth).map {
            shape.type == .float32 ? 2 * $0 : Float(BFloat16(2 * $0))
        }
        var indices: [[Int32]] = []
        var rows: [[Int: [Float]]] = []
        var memories: [GuardedBuffer<UInt8>] = []
        for pool in shape.pools {
            // Half of the rows, in any order; few enough that some are listed twice.
            let all = pool.pageSize * pool.pageCount
            let used = Array((0..<all).shuffled(using: &random).prefix(all / 2))
            let numbers = random.normals(used.count * shape.rowWidth)
            let memory = GuardedBuffer<UInt8>(count: Self.byteCount(pool, shape.rowWidth), repeating: 0xFF)
            rows.append(try Self.fill(memory, pool, used, numbers, width: shape.rowWidth))
            memories.append(memory)
            var lists: [Int32] = []
            for token in 0..<shape.requests * shape.tokens {
                let length = pool.lengths.map { Int($0[token / shape.tokens]) } ?? pool.topK
                for place in 0..<pool.topK {
                    let isHole = used.isEmpty || pool.holes > 0 && random.number(below: pool.holes) == 0
                    let junk = [Int32.min, -123456, Int32(clamping: all), 2_147_480_000, .max][place % 5]
                    lists.append(
                        place >= length ? junk : isHole ? -1 : Int32(used[random.number(below: used.count)]))
                }
            }
            indices.append(lists)
        }
        self.indices = indices
        self.rows = rows
        self.memories = memories
    }

    private static func byteCount(_ pool: SparsePoolShape, _ width: Int) -> Int {
        switch pool.format {
        case .float32: pool.pageSize * pool.pageCount * width * 4
        case .bfloat16: pool.pageSize * pool.pageCount * width * 2
        case .packed(let format): format.pageByteCount(pageSize: pool.pageSize) * pool.pageCount
        }
    }

    private static func pages(
        _ format: PackedLatentFormat, _ pool: SparsePoolShape, _ memory: GuardedBuffer<UInt8>
    ) throws -> PackedLatentPages {
        try PackedLatentPages(
            format, pageSize: pool.pageSize, pageCount: pool.pageCount,
            memory: UnsafeMutableRawBufferPointer(start: memory.start, count: memory.count))
    }

    /// Stores the rows; returns what they read back as.
    private static func fill(
        _ memory: GuardedBuffer<UInt8>, _ pool: SparsePoolShape, _ used: [Int], _ numbers: [Float], width: Int
    ) throws -> [Int: [Float]] {
        var found: [Int: [Float]] = [:]
        if case .packed(let format) = pool.format {
            let pages = try pages(format, pool, memory)
            try numbers.withUnsafeBufferPointer { try pages.pack($0, slots: used) }
            let context = try ComputeContext(threadCount: 1, level: .baseline)
            var row = [Float](repeating: 0, count: width)
            for slot in used {
                try row.withUnsafeMutableBufferPointer { try pages.unpack(slots: [slot], to: $0, on: context) }
                found[slot] = row
            }
            return found
        }
        let bytes = UnsafeMutableRawPointer(memory.start)
        for (place, slot) in used.enumerated() {
            let row = Array(numbers[place * width..<(place + 1) * width])
            for (c, x) in row.enumerated() {
                if pool.format == .float32 {
                    bytes.storeBytes(of: x.bitPattern, toByteOffset: (slot * width + c) * 4, as: UInt32.self)
                } else {
                    bytes.storeBytes(
                        of: BFloat16(x).bitPattern, toByteOffset: (slot * width + c) * 2, as: UInt16.self)
                }
            }
            found[slot] = pool.format == .float32 ? row : row.map { Float(BFloat16($0)) }
        }
        return found
    }

    struct Results {
        var out: [Float]
        var logSums: [Float]
        var maxima: [Float]
        var bits: [UInt32] { (out + logSums + maxima).map(\.bitPattern) }
    }

    private func pool(_ index: Int) throws -> SparsePool {
        let pool = shape.pools[index]
        if case .packed(let format) = pool.format {
            return SparsePool(try Self.pages(format, pool, memories[index]))
        }
        return SparsePool(
            memories[index].start, isBFloat16: pool.format == .bfloat16, rowWidth: shape.rowWidth,
            pageSize: pool.pageSize, pageCount: pool.pageCount)
    }

    /// The rows of a token's valid entries.
    private func keys(token: Int) -> [[Float]] {
        shape.pools.indices.flatMap { index -> [[Float]] in
            let pool = shape.pools[index]
            let length = pool.lengths.map { Int($0[token / shape.tokens]) } ?? pool.topK
            return indices[index][token * pool.topK..<token * pool.topK + length].compactMap { rows[index][Int($0)] }
        }
    }

    /// Σ weight · |value| for each result where the instruction set rounds weights to bfloat16 (`denseDecode`), else
    /// nil.
    func spread(on context: ComputeContext) -> [Float]? {
        guard context.pairAttention != nil, shape.type == .bfloat16 else { return nil }
        var found: [Float] = []
        for token in 0..<tokenCount {
            // The magnitudes of the values before the key, which no query sees.
            let keys = keys(token: token).map { (row: [Float]) -> [Float] in
                let values: [Float] = row.prefix(shape.valueWidth).map { abs($0) }
                return values + row
            }
            for head in 0..<shape.heads {
                let row = token * shape.heads + head
                var query = [Float](repeating: 0, count: shape.valueWidth)
                query += queries[row * shape.rowWidth..<(row + 1) * shape.rowWidth]
                found += ReferenceSparse(
                    query: query, keys: keys, valueWidth: shape.valueWidth, scale: scale, sink: sinks?[head]
                ).out.map { Float($0) }
            }
        }
        return found
    }

    /// The definition's results; statistics [requests, heads, tokens].
    func reference() -> Results {
        var found = Results(
            out: Array(repeating: 0, count: tokenCount * shape.heads * shape.valueWidth),
            logSums: Array(repeating: 0, count: tokenCount * shape.heads),
            maxima: Array(repeating: 0, count: tokenCount * shape.heads))
        for token in 0..<tokenCount {
            let keys = keys(token: token)
            for head in 0..<shape.heads {
                let row = token * shape.heads + head
                let one = ReferenceSparse(
                    query: Array(queries[row * shape.rowWidth..<(row + 1) * shape.rowWidth]), keys: keys,
                    valueWidth: shape.valueWidth, scale: scale, sink: sinks?[head])
                for c in 0..<shape.valueWidth { found.out[row * shape.valueWidth + c] = Float(one.out[c]) }
                let place = (token / shape.tokens * shape.heads + head) * shape.tokens + token % shape.tokens
                found.logSums[place] = Float(one.logSum)
                found.maxima[place] = Float(one.maximum)
            }
        }
        return found
    }

    /// Decodes, or prefills from the first pool as rows; nil where something was written beside the results.
    ///
    /// - Parameter request: that one alone; its results.
    func run(request: Int? = nil, prefill: Bool = false, on context: ComputeContext) throws -> Results? {
        let range = request.map { $0 * shape.tokens..<($0 + 1) * shape.tokens } ?? 0..<tokenCount
        let size = shape.heads * shape.rowWidth
        let q = MHAMemory(
            Array(queries[range.lowerBound * size..<range.upperBound * size]), shape.type, range.count, shape.heads,
            shape.rowWidth)
        let out = MHAMemory(poisoned: shape.type, range.count, shape.heads, shape.valueWidth)
        let logSums = GuardedBuffer(poisoned: range.count * shape.heads)
        let maxima = GuardedBuffer(poisoned: range.count * shape.heads)
        let lists = shape.pools.indices.map { index -> GuardedBuffer<Int32> in
            let topK = shape.pools[index].topK
            return GuardedBuffer(
                Array(indices[index][range.lowerBound * topK..<range.upperBound * topK]), filler: 0)
        }
        let lengths = shape.pools.map { pool -> GuardedBuffer<Int32>? in
            pool.lengths.map { all in
                GuardedBuffer(request.map { [all[$0]] } ?? all, filler: 0)
            }
        }
        let sinkMemory = sinks.map { GuardedBuffer($0) }
        try withExtendedLifetime((q, out, logSums, maxima, lists, lengths, sinkMemory, self)) {
            let selections = try shape.pools.indices.map { index in
                SparseSelection(
                    pool: try pool(index), indices: lists[index].reading, topK: shape.pools[index].topK,
                    lengths: lengths[index]?.reading)
            }
            let results = SparseResults(out: out.writing, logSums: logSums.writing, maxima: maxima.writing)
            if prefill {
                let pool = shape.pools[0]
                let rows = MHATensor(
                    reading: memories[0].start, pool.format == .float32 ? .float32 : .bfloat16,
                    tokenCount: pool.pageSize * pool.pageCount, headCount: 1, width: shape.rowWidth)
                try sparsePrefill(
                    queries: q.reading, rows: rows, indices: selections[0].indices, topK: pool.topK,
                    lengths: selections[0].lengths, scale: scale, sinks: sinkMemory?.reading, results: results,
                    on: context)
            } else {
                try sparseDecode(
                    queries: q.reading, requestCount: request == nil ? shape.requests : 1, selection: selections[0],
                    extra: selections.count > 1 ? selections[1] : nil, scale: scale, sinks: sinkMemory?.reading,
                    results: results, on: context)
            }
        }
        guard out.isIntact, logSums.isIntact, maxima.isIntact else { return nil }
        return Results(out: out.values, logSums: logSums.values, maxima: maxima.values)
    }
}

extension GuardedBuffer {
    var reading: UnsafeBufferPointer<Element> { UnsafeBufferPointer(start: start, count: count) }
    var writing: UnsafeMutableBufferPointer<Element> { UnsafeMutableBufferPointer(start: start, count: count) }
}
