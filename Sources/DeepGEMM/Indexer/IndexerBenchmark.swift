// SPDX-License-Identifier: MIT

public import KernelDispatch
internal import Kernels
public import Platform
internal import Tensors

/// Times the indexer's logits at one shape.
public struct IndexerBenchmark: Sendable, Codable {
    /// Queries; in the paged form requests with one query each.
    public var queryCount: Int
    public var headCount: Int
    public var depth: Int
    /// Keys that each query scores: all, or those of its list.
    public var keyCount: Int
    /// `IndexerMatrix.Format` of queries and keys.
    public var format: String
    /// Tokens in a block of the paged cache; nil for the plain form.
    public var blockSize: Int?
    /// Median time of one call.
    public var seconds: Double
    /// Rectified dot products, queries · heads · keys, in 10⁹ per second: what DeepGEMM prints per cycle.
    public var gigareluPerSecond: Double
    /// Two operations for each of a dot product's multiply-adds, in 10⁹ per second.
    public var gigaflops: Double

    /// - Parameters:
    ///   - blockSize: tokens per block of a paged cache whose blocks lie in random order; nil for the plain form.
    ///   - minimumSeconds: how long to repeat; at least three runs.
    /// - Throws: `usage` for an unknown format or an extent below 1.
    public static func measure(
        queryCount: Int, headCount: Int = 64, depth: Int = 128, keyCount: Int, format: String = "float8E4M3",
        blockSize: Int? = nil, minimumSeconds: Double, on context: ComputeContext
    ) throws(FathomError) -> IndexerBenchmark {
        let format = try self.format(named: format)
        for (name, extent) in [("queries", queryCount), ("heads", headCount), ("depth", depth), ("keys", keyCount)]
        where extent < 1 {
            throw FathomError(.usage, "the indexer's benchmark with \(extent) \(name); at least 1 is legal")
        }
        let queries = try IndexerQueries(
            values: randomRows(queryCount * headCount, depth, format, seed: 1, context), headCount: headCount,
            weights: randomNumbers(queryCount, headCount, seed: 2))
        let logits = try IndexerLogits(rowCount: queryCount, columnCount: keyCount)
        let run: () throws(FathomError) -> Void
        if let blockSize {
            let paged = try PagedInput(
                queryCount: queryCount, keyCount: keyCount, depth: depth, format: format, blockSize: blockSize, context)
            run = { () throws(FathomError) in
                try pagedMQALogits(
                    queries, cache: paged.cache, lengths: paged.lengths, table: paged.table, into: logits, on: context)
            }
        } else {
            let keys = try randomRows(keyCount, depth, format, seed: 3, context)
            let starts = [Int32](repeating: 0, count: queryCount)
            let ends = [Int32](repeating: Int32(clamping: keyCount), count: queryCount)
            run = { () throws(FathomError) in
                try mqaLogits(queries, keys: keys, starts: starts, ends: ends, into: logits, on: context)
            }
        }
        return IndexerBenchmark(
            queryCount: queryCount, headCount: headCount, depth: depth, keyCount: keyCount, format: format,
            blockSize: blockSize, seconds: try median(minimumSeconds: minimumSeconds, run))
    }

    init(
        queryCount: Int, headCount: Int, depth: Int, keyCount: Int, format: IndexerMatrix.Format, blockSize: Int?,
        seconds: Double
    ) {
        let relus = Double(queryCount) * Double(headCount) * Double(keyCount)
        self.queryCount = queryCount
        self.headCount = headCount
        self.depth = depth
        self.keyCount = keyCount
        self.format = format.rawValue
        self.blockSize = blockSize
        self.seconds = seconds
        gigareluPerSecond = relus / seconds / 1e9
        gigaflops = 2 * relus * Double(depth) / seconds / 1e9
    }

    /// - Throws: `usage` for a format that there is not.
    static func format(named name: String) throws(FathomError) -> IndexerMatrix.Format {
        guard let format = IndexerMatrix.Format(rawValue: name) else {
            let legal = IndexerMatrix.Format.allCases.map(\.rawValue).joined(separator: ", ")
            throw FathomError(.usage, "no indexer format '\(name)'; there are \(legal)")
        }
        return format
    }

    /// Times the choice of the `count` largest among random logits.
    ///
    /// - Returns: seconds of one call (median) over [queryCount, keyCount].
    public static func measureTopK(
        queryCount: Int, keyCount: Int, count: Int = 2048, minimumSeconds: Double, on context: ComputeContext
    ) throws(FathomError) -> Double {
        let logits = try IndexerLogits(rowCount: queryCount, columnCount: keyCount)
        var random = Sequence(seed: 5)
        for row in 0..<queryCount {
            for column in 0..<keyCount {
                // SAFETY: inside the logits.
                logits.baseAddress.storeBytes(
                    of: random.next(), toByteOffset: (row * logits.rowStride + column) * 4, as: Float.self)
            }
        }
        return try median(minimumSeconds: minimumSeconds) { () throws(FathomError) in
            blackHole(try topK(logits, count: count, on: context))
        }
    }

    static func median(
        minimumSeconds: Double, _ body: () throws(FathomError) -> Void
    ) throws(FathomError) -> Double {
        let clock = ContinuousClock()
        var times: [Double] = []
        while times.count < 3 || times.reduce(0, +) < minimumSeconds {
            let start = clock.now
            try body()
            times.append((clock.now - start) / .seconds(1))
        }
        return times.sorted()[times.count / 2]
    }

    /// Numbers between −½ and ½, the same for the same seed.
    struct Sequence {
        var state: UInt64
        init(seed: UInt64) { state = seed &* 0x9E37_79B9_7F4A_7C15 | 1 }
        mutating func next() -> Float {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return Float(Int32(truncatingIfNeeded: state >> 32)) * 0x1p-32
        }
    }

    static func randomNumbers(
        _ rows: Int, _ columns: Int, seed: UInt64
    ) throws(FathomError) -> FloatRows {
        let buffer = try AlignedBuffer<Float>(count: rows * columns, purpose: "benchmark input")
        var random = Sequence(seed: seed)
        // SAFETY: the buffer has this count.
        for index in 0..<buffer.count { buffer.baseAddress[index] = random.next() }
        return try FloatRows(buffer, rowCount: rows, columnCount: columns)
    }

    static func randomRows(
        _ rows: Int, _ depth: Int, _ format: IndexerMatrix.Format, seed: UInt64, _ context: ComputeContext
    ) throws(FathomError) -> IndexerMatrix {
        let numbers = try randomNumbers(rows, depth, seed: seed)
        switch format {
        case .float32: return try IndexerMatrix(numbers)
        case .bfloat16:
            let halves = try AlignedBuffer<UInt16>(count: rows * depth, purpose: "benchmark input")
            for row in 0..<rows {
                // SAFETY: both have rows × depth elements.
                context.kernels.roundBFloat16(
                    (numbers.baseAddress + row * depth * 4).assumingMemoryBound(to: Float.self),
                    halves.baseAddress + row * depth, depth)
            }
            return try IndexerMatrix(FloatRows(halves, rowCount: rows, columnCount: depth))
        case .float8E4M3:
            return try IndexerMatrix(quantizeFloat8(numbers, granularity: .perToken(depth), on: context))
        case .float4E2M1: return try IndexerMatrix(quantizeFloat4(numbers, on: context))
        }
    }

    /// A paged cache with shuffled blocks that every request shares.
    struct PagedInput {
        let cache: PagedIndexerCache
        let lengths: IndexerContextLengths
        let table: IndexerBlockTable

        init(
            queryCount: Int, keyCount: Int, depth: Int, format: IndexerMatrix.Format, blockSize: Int,
            _ context: ComputeContext
        ) throws(FathomError) {
            guard blockSize >= 1, keyCount <= Int(Int32.max) else {
                throw FathomError(.usage, "blocks of \(blockSize) tokens, \(keyCount) keys: 1 or more, fewer than 2^31")
            }
            let blocks = ceilDivide(keyCount, blockSize)
            cache = try PagedIndexerCache(format: format, blockCount: blocks, blockSize: blockSize, depth: depth)
            let keys = try randomNumbers(keyCount, depth, seed: 3)
            // A prime that shares no factor with the number of blocks permutes them.
            let step = blocks % 7919 == 0 ? 1 : 7919
            let order = (0..<blocks).map { $0 * step % blocks }
            let slots = (0..<keyCount).map { order[$0 / blockSize] * blockSize + $0 % blockSize }
            try cache.store(keys, slots: slots, on: context)
            lengths = try IndexerContextLengths(perRequest: [Int32](repeating: Int32(keyCount), count: queryCount))
            let row = order.map { Int32($0) }
            var entries: [Int32] = []
            for _ in 0..<queryCount { entries += row }
            table = try IndexerBlockTable(entries, columnCount: blocks)
        }
    }
}
