// SPDX-License-Identifier: MIT

public import KernelDispatch
public import Platform
internal import Tensors

/// Times sparse decoding at one shape, on random rows all over a pool.
public struct SparseBenchmark: Sendable {
    /// What is timed: full lists of valid entries. Results have 512 columns; queries and results are bfloat16.
    public struct Shape: Sendable {
        public var requests: Int
        /// Query tokens of each request.
        public var tokens: Int
        public var heads: Int
        public var topK: Int
        /// bfloat16 and float32 rows have 576 columns.
        public var format: SparsePool.Format
        public var pageSize: Int
        /// Rows of the pool, rounded up to whole pages.
        public var poolRows: Int

        public init(
            requests: Int, tokens: Int, heads: Int, topK: Int, format: SparsePool.Format, pageSize: Int,
            poolRows: Int
        ) {
            self.requests = requests
            self.tokens = tokens
            self.heads = heads
            self.topK = topK
            self.format = format
            self.pageSize = pageSize
            self.poolRows = poolRows
        }
    }

    public var shape: Shape
    /// Median time of one call.
    public var seconds: Double
    /// 2 · (row width + 512) operations for each entry and head.
    public var gigaflops: Double
    /// Bytes of the rows that lists name, each as often as it is listed, in 10⁹ a second.
    public var gigabytesPerSecond: Double

    /// - Parameter minimumSeconds: how long to repeat; at least three runs.
    /// - Throws: `usage` for extents that are not positive or too large, `unavailable` if memory does not suffice.
    public static func measure(
        _ shape: Shape, minimumSeconds: Double, on context: ComputeContext
    ) throws(FathomError) -> SparseBenchmark {
        let data = try Data(shape, context)
        var times: [Double] = []
        var total = 0.0
        let clock = ContinuousClock()
        try data.run(context)
        while total < minimumSeconds || times.count < 3 {
            let start = clock.now
            try data.run(context)
            let seconds = (clock.now - start) / .seconds(1)
            total += seconds
            times.append(seconds)
        }
        let median = times.sorted()[times.count / 2]
        let entries = Double(shape.requests * shape.tokens * shape.topK)
        return SparseBenchmark(
            shape: shape, seconds: median,
            gigaflops: 2 * entries * Double(shape.heads * (data.rowWidth + 512)) / median / 1e9,
            gigabytesPerSecond: entries * Double(data.rowByteCount) / median / 1e9)
    }

    /// The memory of one measurement.
    private struct Data {
        let shape: Shape
        let rowWidth: Int
        let rowByteCount: Int
        private let pageCount: Int
        private let rows: AlignedBuffer<UInt8>
        private let queries: AlignedBuffer<UInt16>
        private let out: AlignedBuffer<UInt16>
        private let indices: AlignedBuffer<Int32>

        init(_ shape: Shape, _ context: ComputeContext) throws(FathomError) {
            let extents = [
                shape.requests, shape.tokens, shape.heads, shape.topK, shape.pageSize, shape.poolRows,
            ]
            guard extents.allSatisfy({ (1...1 << 24).contains($0) }) else {
                throw FathomError(.usage, "the benchmark's extents are \(extents); legal are 1 to 2^24 each")
            }
            self.shape = shape
            pageCount = (shape.poolRows + shape.pageSize - 1) / shape.pageSize
            let pageBytes: Int
            switch shape.format {
            case .float32: (rowWidth, rowByteCount, pageBytes) = (576, 2304, 2304 * shape.pageSize)
            case .bfloat16: (rowWidth, rowByteCount, pageBytes) = (576, 1152, 1152 * shape.pageSize)
            case .packed(let format):
                (rowWidth, rowByteCount) = (format.rowWidth, format.tokenByteCount)
                pageBytes = format.pageByteCount(pageSize: shape.pageSize)
            }
            let purpose = "the sparse attention benchmark"
            let tokens = shape.requests * shape.tokens
            rows = try AlignedBuffer(count: pageCount * pageBytes, purpose: purpose)
            queries = try AlignedBuffer(count: tokens * shape.heads * rowWidth, purpose: purpose)
            out = try AlignedBuffer(count: tokens * shape.heads * 512, purpose: purpose)
            indices = try AlignedBuffer(count: tokens * shape.topK, purpose: purpose)
            var state: UInt64 = 0x9E37_79B9_7F4A_7C15
            func random() -> UInt64 {
                state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
                return state >> 32
            }
            func number() -> Float { Float(Int32(truncatingIfNeeded: random())) * 0x1p-31 }
            for index in 0..<queries.count {
                queries.baseAddress[index] = UInt16(number().bitPattern >> 16)
            }
            let rowCount = pageCount * shape.pageSize
            for index in 0..<indices.count {
                indices.baseAddress[index] = Int32(random() % UInt64(rowCount))
            }
            try fill(number)
        }

        private func pages(_ format: PackedLatentFormat) throws(FathomError) -> PackedLatentPages {
            // SAFETY: the whole buffer, which lives as long as this value.
            let memory = UnsafeMutableRawBufferPointer(start: rows.baseAddress, count: rows.count)
            return try PackedLatentPages(format, pageSize: shape.pageSize, pageCount: pageCount, memory: memory)
        }

        private func fill(_ number: () -> Float) throws(FathomError) {
            // SAFETY: every store stays inside the buffer.
            let bytes = UnsafeMutableRawPointer(rows.baseAddress)
            switch shape.format {
            case .float32:
                for index in 0..<rows.count / 4 {
                    bytes.storeBytes(of: number(), toByteOffset: 4 * index, as: Float.self)
                }
            case .bfloat16:
                for index in 0..<rows.count / 2 {
                    let bits = UInt16(number().bitPattern >> 16)
                    bytes.storeBytes(of: bits, toByteOffset: 2 * index, as: UInt16.self)
                }
            case .packed(let format):
                let pages = try pages(format)
                let row = try AlignedBuffer<Float>(count: rowWidth, purpose: "the sparse attention benchmark")
                for slot in 0..<pages.rowCount {
                    for column in 0..<rowWidth { row.baseAddress[column] = number() }
                    // SAFETY: the buffer has these numbers and lives through the call.
                    try pages.pack(
                        UnsafeBufferPointer(start: row.baseAddress, count: rowWidth), slots: [slot])
                }
            }
        }

        func run(_ context: ComputeContext) throws(FathomError) {
            let pool: SparsePool
            if case .packed(let format) = shape.format {
                pool = SparsePool(try pages(format))
            } else {
                pool = SparsePool(
                    rows.baseAddress, isBFloat16: shape.format == .bfloat16, rowWidth: rowWidth,
                    pageSize: shape.pageSize, pageCount: pageCount)
            }
            let tokens = shape.requests * shape.tokens
            // SAFETY: the extents are those of the buffers, which live through the call.
            try sparseDecode(
                queries: MHATensor(
                    reading: queries.baseAddress, .bfloat16, tokenCount: tokens, headCount: shape.heads,
                    width: rowWidth),
                requestCount: shape.requests,
                // SAFETY: as above.
                selection: SparseSelection(
                    pool: pool, indices: UnsafeBufferPointer(start: indices.baseAddress, count: indices.count),
                    topK: shape.topK),
                scale: 1 / Float(rowWidth).squareRoot(),
                results: SparseResults(
                    out: MHATensor(
                        writing: out.baseAddress, .bfloat16, tokenCount: tokens, headCount: shape.heads, width: 512)),
                on: context)
        }
    }
}
