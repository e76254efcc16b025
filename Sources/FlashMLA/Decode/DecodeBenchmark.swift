// SPDX-License-Identifier: MIT

public import KernelDispatch
public import Platform
internal import Tensors
internal import Workers

/// Times dense decoding at one shape, on random numbers in a cache that lies in memory and not in a processor's cache.
public struct DecodeBenchmark: Sendable, Codable {
    /// What is timed.
    public struct Shape: Sendable, Codable {
        /// Keys of each request.
        public var lengths: [Int32]
        /// Query tokens of each request.
        public var tokens: Int
        public var heads: Int
        public var keyHeads: Int
        public var rowWidth: Int
        public var valueWidth: Int
        /// How the cache is stored: `bf16`, `fp16`, `fp32`, or packed as `PackedLatentFormat` names it.
        public var format: String

        public init(
            lengths: [Int32], tokens: Int = 1, heads: Int, keyHeads: Int = 1, rowWidth: Int = 576,
            valueWidth: Int = 512, format: String
        ) {
            self.lengths = lengths
            self.tokens = tokens
            self.heads = heads
            self.keyHeads = keyHeads
            self.rowWidth = rowWidth
            self.valueWidth = valueWidth
            self.format = format
        }
    }

    public var shape: Shape
    /// Median time of one call.
    public var seconds: Double
    /// Operations of one call, in 10⁹: 2 · (row width + value width) for each query head and visible key.
    public var gigaflop: Double
    /// Bytes of the keys, each read once, in 10⁹.
    public var gigabyte: Double

    public var gigaflops: Double { gigaflop / seconds }
    public var gigabytesPerSecond: Double { gigabyte / seconds }

    /// Whether the call multiplied bfloat16 pairs; see `denseDecode`.
    public var usesPairs: Bool

    /// The least time that a machine needs for the operations, at the peak of the products that were used, and for
    /// reading the keys; the larger one is the bound.
    public func bounds(_ machine: MachineLimits) -> (compute: Double, read: Double) {
        let peak = usesPairs ? machine.pairGigaflops ?? machine.multiplyAddGigaflops : machine.multiplyAddGigaflops
        return (gigaflop / peak, gigabyte / machine.readGigabytesPerSecond)
    }

    /// Times several shapes in turn, so that what else goes on in the machine meets all of them.
    ///
    /// - Parameter minimumSeconds: how long to repeat each; at least three runs.
    /// - Throws: `usage` for a shape that `denseDecode` does not take, `unavailable` if memory does not suffice.
    public static func measure(
        _ shapes: [Shape], minimumSeconds: Double, on context: ComputeContext
    ) throws(FathomError) -> [DecodeBenchmark] {
        var data: [DecodeBenchmarkData] = []
        for shape in shapes { data.append(try DecodeBenchmarkData(shape, on: context)) }
        var times = [[Double]](repeating: [], count: data.count)
        let clock = ContinuousClock()
        for item in data { try item.run(on: context) }
        var total = 0.0
        while total < minimumSeconds * Double(data.count) || (times.first?.count ?? 3) < 3 {
            for (index, item) in data.enumerated() {
                let start = clock.now
                try item.run(on: context)
                let seconds = (clock.now - start) / .seconds(1)
                times[index].append(seconds)
                total += seconds
            }
        }
        return zip(data, times).map { item, times in
            DecodeBenchmark(
                shape: item.shape, seconds: times.sorted()[times.count / 2], gigaflop: item.gigaflop,
                gigabyte: item.gigabyte, usesPairs: item.usesPairs(on: context))
        }
    }
}

/// The arguments of one measured call and their memory.
private struct DecodeBenchmarkData {
    let shape: DecodeBenchmark.Shape
    let schedule: MLASchedule
    let sequences: PagedSequences
    let cache: PagedLatentCache
    let queries: DecodeTensor
    let out: DecodeTensor
    let logSums: AlignedBuffer<Float>
    private let cacheMemory: AlignedBuffer<UInt16>
    private let rowMemory: AlignedBuffer<UInt16>
    private static let pageSize = 64

    init(_ shape: DecodeBenchmark.Shape, on context: ComputeContext) throws(FathomError) {
        self.shape = shape
        let packed = PackedLatentFormat(rawValue: shape.format)
        let type = try Self.type(of: shape, packed)
        schedule = try MLASchedule(
            lengths: shape.lengths, queryCount: shape.tokens, headCount: shape.heads, keyHeadCount: shape.keyHeads,
            isCausal: true, threadCount: context.team.threadCount)
        let used = shape.lengths.map { (Int($0) + Self.pageSize - 1) / Self.pageSize }
        let blockCount = used.reduce(0, +)
        let blocks = used.max() ?? 0
        // Blocks in an order that no request has to itself, as in a cache that has been in use for a while.
        var table = [Int32](repeating: 0, count: blocks * used.count)
        var next: Int32 = 0
        for entry in 0..<blocks {
            for request in used.indices where entry < used[request] {
                table[request * blocks + entry] = next
                next += 1
            }
        }
        sequences = PagedSequences(blockTable: table, blocksPerRequest: blocks, lengths: shape.lengths)
        let numbers = blockCount * Self.pageSize * shape.keyHeads * shape.rowWidth
        let byteCount =
            packed.map { blockCount * $0.pageByteCount(pageSize: Self.pageSize) } ?? numbers * type.byteCount
        cacheMemory = try AlignedBuffer(count: byteCount / 2, purpose: "the decode benchmark")
        if let packed {
            // SAFETY: the memory holds the pages and lives as long as this value.
            let pages = try PackedLatentPages(
                packed, pageSize: Self.pageSize, pageCount: blockCount,
                memory: UnsafeMutableRawBufferPointer(start: cacheMemory.baseAddress, count: byteCount))
            try Self.fill(pages)
            cache = PagedLatentCache(pages)
        } else {
            Self.fill(cacheMemory.baseAddress, count: numbers, type)
            cache = PagedLatentCache(
                reading: cacheMemory.baseAddress, type, blockCount: blockCount, pageSize: Self.pageSize,
                keyHeadCount: shape.keyHeads, rowWidth: shape.rowWidth)
        }
        let rows = shape.lengths.count * shape.tokens * shape.heads
        rowMemory = try AlignedBuffer(
            count: rows * (shape.rowWidth + shape.valueWidth), purpose: "the decode benchmark")
        logSums = try AlignedBuffer(count: rows, purpose: "the decode benchmark")
        queries = DecodeTensor(
            reading: rowMemory.baseAddress, .bfloat16, requestCount: shape.lengths.count, tokenCount: shape.tokens,
            headCount: shape.heads, width: shape.rowWidth)
        // SAFETY: results follow the queries in the same memory.
        out = DecodeTensor(
            writing: rowMemory.baseAddress + rows * shape.rowWidth, .bfloat16, requestCount: shape.lengths.count,
            tokenCount: shape.tokens, headCount: shape.heads, width: shape.valueWidth)
        Self.fill(rowMemory.baseAddress, count: rows * shape.rowWidth, .bfloat16)
    }

    private static func type(
        of shape: DecodeBenchmark.Shape, _ packed: PackedLatentFormat?
    ) throws(FathomError) -> ScalarType {
        let extents = [shape.tokens, shape.heads, shape.keyHeads, shape.rowWidth, shape.valueWidth]
        guard extents.allSatisfy({ (1...1 << 20).contains($0) }) else {
            throw FathomError(.usage, "the benchmark's extents are \(extents); legal are 1 to 2^20 each")
        }
        if let packed {
            guard shape.rowWidth == packed.rowWidth, shape.keyHeads == 1 else {
                throw FathomError(
                    .usage,
                    """
                    packed rows of \(packed.rawValue) are \(packed.rowWidth) wide with one key head; the shape has \
                    \(shape.rowWidth) and \(shape.keyHeads)
                    """)
            }
            return .float8E4M3
        }
        switch shape.format {
        case "bf16": return .bfloat16
        case "fp16": return .float16
        case "fp32": return .float32
        default:
            throw FathomError(
                .usage, "the cache's format is '\(shape.format)'; legal are bf16, fp16, fp32 and the packed ones")
        }
    }

    /// Rows of numbers between −1 and 1; every page holds the same.
    private static func fill(_ pages: PackedLatentPages) throws(FathomError) {
        guard pages.pageCount > 0 else { return }
        let count = min(pages.pageSize, pages.rowCount) * pages.format.rowWidth
        let rows = try AlignedBuffer<Float>(count: count, purpose: "the decode benchmark")
        fill(rows.baseAddress, count: count, .float32)
        // SAFETY: the buffer has this many floats.
        try pages.pack(
            UnsafeBufferPointer(start: rows.baseAddress, count: count), slots: Array(0..<pages.pageSize))
        for page in 1..<max(pages.pageCount, 1) {
            // SAFETY: pages lie side by side, each with its own bytes.
            (pages.baseAddress + page * pages.pageStride).copyMemory(
                from: pages.baseAddress, byteCount: pages.format.pageByteCount(pageSize: pages.pageSize))
        }
    }

    /// Numbers between −1 and 1, the same every time.
    private static func fill(_ memory: UnsafeMutableRawPointer, count: Int, _ type: ScalarType) {
        var state: UInt64 = 0x9E37_79B9_7F4A_7C15
        for index in 0..<count {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            let x = Float(Int32(truncatingIfNeeded: state >> 32)) * 0x1p-31
            // SAFETY: the memory holds `count` numbers of the type.
            switch type {
            case .bfloat16:
                memory.storeBytes(of: UInt16(x.bitPattern >> 16), toByteOffset: index * 2, as: UInt16.self)
            case .float16: memory.storeBytes(of: Float16(x), toByteOffset: index * 2, as: Float16.self)
            default: memory.storeBytes(of: x, toByteOffset: index * 4, as: Float.self)
            }
        }
    }

    func usesPairs(on context: ComputeContext) -> Bool {
        context.pairAttention != nil && (shape.format == "bf16" || cache.packed != nil)
            && shape.rowWidth % 32 == 0 && shape.valueWidth % 64 == 0
    }

    var gigaflop: Double {
        var visible = 0
        for length in shape.lengths {
            let extent = AttentionExtent(tokenCount: shape.tokens, length: Int(length), isCausal: true)
            for token in 0..<shape.tokens { visible += extent.visible(token) }
        }
        return Double(visible * shape.heads) * 2 * Double(shape.rowWidth + shape.valueWidth) / 1e9
    }

    var gigabyte: Double {
        let keys = shape.lengths.reduce(0) { $0 + Int($1) }
        let row = PackedLatentFormat(rawValue: shape.format)?.tokenByteCount
        return Double(keys * shape.keyHeads * (row ?? shape.rowWidth * cache.scalarType.byteCount)) / 1e9
    }

    func run(on context: ComputeContext) throws(FathomError) {
        // SAFETY: the buffer has this many floats and lives as long as this value.
        let sums = UnsafeMutableBufferPointer(start: logSums.baseAddress, count: logSums.count)
        try denseDecode(
            queries: queries, cache: cache, sequences: sequences, isCausal: true, schedule: schedule, out: out,
            logSums: sums, on: context)
    }
}
