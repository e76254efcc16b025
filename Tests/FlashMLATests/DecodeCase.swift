// SPDX-License-Identifier: MIT

import FlashMLA
import KernelDispatch
import LowPrecision
import Platform
import Tensors
import TestSupport
import Testing

/// The numbers that describe a decode test.
struct DecodeExtents: Sendable, CustomStringConvertible {
    var lengths: [Int32]
    var tokens = 1
    var heads = 4
    var keyHeads = 1
    var pageSize = 64
    var rowWidth = 24
    var valueWidth = 16
    var cacheType = ScalarType.bfloat16
    var type = ScalarType.bfloat16
    var isCausal = true
    /// Elements that every stride has more than it needs.
    var slack = 0

    var description: String {
        """
        lengths \(lengths), \(tokens) tokens, \(heads)/\(keyHeads) heads, page \(pageSize), \
        \(rowWidth)/\(valueWidth) wide, \(cacheType.rawValue) cache, \(type.rawValue), causal \(isCausal), \
        slack \(slack)
        """
    }
}

/// What a decode call gave.
struct DecodeResult: Equatable {
    /// [requests, tokens, heads, valueWidth], bit patterns of floats.
    var out: [UInt32]
    /// [requests, heads, tokens].
    var logSums: [UInt32]

    var values: [Float] { out.map { Float(bitPattern: $0) } }
    var sums: [Float] { logSums.map { Float(bitPattern: $0) } }
}

/// A random decode call whose unused rows are NaN and whose unused table entries are 2147480000.
struct DecodeCase {
    let extents: DecodeExtents
    /// The cache as it reads back [blocks, page, keyHeads, rowWidth], dense; NaN where unused.
    let cacheValues: [Float]
    /// [requests, tokens, heads, rowWidth] as they read back.
    let queryValues: [Float]
    let sequences: PagedSequences
    private let cacheMemory: GuardedBuffer<UInt8>
    private let queryMemory: GuardedBuffer<UInt8>
    private let blockCount: Int

    /// - Parameter placement: seed of the blocks' order, apart from the numbers' seed.
    init(_ extents: DecodeExtents, seed: UInt64, placement: UInt64 = 1) {
        self.extents = extents
        let e = extents
        var random = RandomNumbers(seed: seed)
        let used = e.lengths.map { (Int($0) + e.pageSize - 1) / e.pageSize }
        blockCount = used.reduce(2, +)
        var shuffle = RandomNumbers(seed: placement)
        var order = (0..<Int32(blockCount)).shuffled(using: &shuffle)
        let width = (used.max() ?? 0) + 2
        var table = [Int32](repeating: 2_147_480_000, count: width * e.lengths.count)
        let rowCount = e.keyHeads * e.rowWidth
        var values = [Float](repeating: .nan, count: blockCount * e.pageSize * rowCount)
        for (request, length) in e.lengths.enumerated() {
            for entry in 0..<used[request] { table[request * width + entry] = order.removeLast() }
            for position in 0..<Int(length) {
                let block = Int(table[request * width + position / e.pageSize])
                let start = (block * e.pageSize + position % e.pageSize) * rowCount
                for index in 0..<rowCount { values[start + index] = Self.rounded(random.normal(), e.cacheType) }
            }
        }
        cacheValues = values
        queryValues = (0..<e.lengths.count * e.tokens * e.heads * e.rowWidth).map { _ in
            Self.rounded(random.normal() * 2, e.type)
        }
        sequences = PagedSequences(blockTable: table, blocksPerRequest: width, lengths: e.lengths)
        cacheMemory = Self.memory(
            [blockCount, e.pageSize, e.keyHeads], e.rowWidth, e.slack, e.cacheType, values)
        queryMemory = Self.memory(
            [e.lengths.count, e.tokens, e.heads], e.rowWidth, e.slack, e.type, queryValues)
    }

    static func rounded(_ x: Float, _ type: ScalarType) -> Float {
        switch type {
        case .bfloat16: Float(BFloat16(x))
        case .float16: Float(Float16(x))
        default: x
        }
    }

    /// Strides of the axes of rows `width` wide, each `slack` elements longer than it need be, last axis first.
    static func strides(_ extents: [Int], _ width: Int, _ slack: Int) -> [Int] {
        var strides: [Int] = []
        var span = width
        for extent in extents.reversed() {
            strides.append(span + slack)
            span = (span + slack) * extent
        }
        return strides
    }

    /// Memory whose gaps are NaN, ending with the last row.
    private static func memory(
        _ extents: [Int], _ width: Int, _ slack: Int, _ type: ScalarType, _ values: [Float]
    ) -> GuardedBuffer<UInt8> {
        let count = extents.reduce(1, *)
        let strides = strides(extents, width, slack)
        let places = (0..<count).map { offset($0, extents, strides) }
        let buffer = GuardedBuffer<UInt8>(
            count: ((places.last ?? -width) + width) * type.byteCount, repeating: 0xFF)
        let memory = UnsafeMutableRawPointer(buffer.start)
        for row in 0..<count {
            for k in 0..<width {
                store(values[row * width + k], type, to: memory + (places[row] + k) * type.byteCount)
            }
        }
        return buffer
    }

    private static func offset(_ row: Int, _ extents: [Int], _ strides: [Int]) -> Int {
        var rest = row
        var offset = 0
        for (extent, stride) in zip(extents.reversed(), strides) {
            offset += rest % extent * stride
            rest /= extent
        }
        return offset
    }

    private static func store(_ x: Float, _ type: ScalarType, to memory: UnsafeMutableRawPointer) {
        switch type {
        case .bfloat16: memory.storeBytes(of: BFloat16(x).bitPattern, as: UInt16.self)
        case .float16: memory.storeBytes(of: Float16(x).bitPattern, as: UInt16.self)
        default: memory.storeBytes(of: x, as: Float.self)
        }
    }

    var cache: PagedLatentCache {
        let e = extents
        let strides = Self.strides([blockCount, e.pageSize, e.keyHeads], e.rowWidth, e.slack)
        return PagedLatentCache(
            reading: cacheMemory.start, e.cacheType, blockCount: blockCount, pageSize: e.pageSize,
            keyHeadCount: e.keyHeads, rowWidth: e.rowWidth, blockStride: strides[2], rowStride: strides[1],
            headStride: strides[0])
    }

    var queries: DecodeTensor {
        let e = extents
        let strides = Self.strides([e.lengths.count, e.tokens, e.heads], e.rowWidth, e.slack)
        return DecodeTensor(
            reading: queryMemory.start, e.type, requestCount: e.lengths.count, tokenCount: e.tokens,
            headCount: e.heads, width: e.rowWidth, requestStride: strides[2], tokenStride: strides[1],
            headStride: strides[0])
    }

    func schedule(threads: Int) throws -> MLASchedule {
        try MLASchedule(
            lengths: extents.lengths, queryCount: extents.tokens, headCount: extents.heads,
            keyHeadCount: extents.keyHeads, isCausal: extents.isCausal, threadCount: threads)
    }

    /// Runs the call on guarded, poisoned results; fails the test if it wrote outside of them.
    func run(on context: ComputeContext, schedule: MLASchedule? = nil) throws -> DecodeResult {
        let e = extents
        let shape = [e.lengths.count, e.tokens, e.heads]
        let strides = Self.strides(shape, e.valueWidth, e.slack)
        let rows = shape.reduce(1, *)
        let places = (0..<rows).map { Self.offset($0, shape, strides) }
        let out = GuardedBuffer<UInt8>(
            count: ((places.last ?? -e.valueWidth) + e.valueWidth) * e.type.byteCount, repeating: 0xA7)
        let sums = GuardedBuffer<Float>(poisoned: rows)
        let view = DecodeTensor(
            writing: out.start, e.type, requestCount: shape[0], tokenCount: e.tokens, headCount: e.heads,
            width: e.valueWidth, requestStride: strides[2], tokenStride: strides[1], headStride: strides[0])
        try withExtendedLifetime((out, sums, self)) {
            try denseDecode(
                queries: queries, cache: cache, sequences: sequences, isCausal: e.isCausal, schedule: schedule,
                out: view, logSums: UnsafeMutableBufferPointer(start: sums.start, count: rows), on: context)
        }
        #expect(out.isIntact && sums.isIntact, "written before the start: \(e)")
        var bits: [UInt32] = []
        var written = Set<Int>()
        for place in places {
            for k in 0..<e.valueWidth {
                let byte = (place + k) * e.type.byteCount
                written.formUnion(byte..<byte + e.type.byteCount)
                let memory = UnsafeRawPointer(out.start) + byte
                bits.append(
                    e.type == .float32
                        ? memory.load(as: UInt32.self) : UInt32(memory.load(as: UInt16.self)) << 16)
            }
        }
        for byte in 0..<out.count where out.start[byte] != 0xA7 && !written.contains(byte) {
            Issue.record("written between rows at byte \(byte): \(e)")
            break
        }
        return DecodeResult(out: bits, logSums: sums.bitPatterns)
    }

    /// The definition's out and log-sums, in the order of `DecodeResult`.
    func reference() -> (out: [Double], logSums: [Double]) {
        reference(queries: queryValues, cache: cacheValues, rowWidth: extents.rowWidth)
    }

    /// Σ weight · |value| for each result where the instruction set rounds weights to bfloat16 (`denseDecode`), else
    /// nil: 2⁻⁹ of it is what the rounding may change.
    func spread(on context: ComputeContext) -> [Double]? {
        let e = extents
        guard context.pairAttention != nil, e.type == .bfloat16, e.cacheType == .bfloat16, e.rowWidth % 32 == 0,
            e.valueWidth % 32 == 0
        else { return nil }
        // The magnitudes of the values before the key, which no query sees.
        let width = e.rowWidth + e.valueWidth
        var (queries, cache): ([Float], [Float]) = ([], [])
        for start in stride(from: 0, to: queryValues.count, by: e.rowWidth) {
            queries += [Float](repeating: 0, count: e.valueWidth)
            queries += queryValues[start..<start + e.rowWidth]
        }
        for start in stride(from: 0, to: cacheValues.count, by: e.rowWidth) {
            cache += cacheValues[start..<start + e.valueWidth].map { abs($0) }
            cache += cacheValues[start..<start + e.rowWidth]
        }
        return reference(queries: queries, cache: cache, rowWidth: width).out
    }

    private func reference(
        queries: [Float], cache: [Float], rowWidth: Int
    ) -> (out: [Double], logSums: [Double]) {
        let e = extents
        let definition = ReferenceDecode(
            tokens: e.tokens, heads: e.heads, keyHeads: e.keyHeads, pageSize: e.pageSize, rowWidth: rowWidth,
            valueWidth: e.valueWidth, isCausal: e.isCausal, scale: 1 / Double(e.rowWidth).squareRoot())
        var out: [Double] = []
        var sums: [Double] = []
        let size = e.tokens * e.heads * rowWidth
        for (request, length) in e.lengths.enumerated() {
            let width = sequences.blocksPerRequest
            let result = definition(
                queries: Array(queries[request * size..<(request + 1) * size]), cache: cache,
                blocks: Array(sequences.blockTable[request * width..<(request + 1) * width]), length: Int(length))
            out += result.out
            sums += result.logSums
        }
        return (out, sums)
    }
}

/// Whether results are within the original's limits: calcDiff, and for each element an absolute or a relative bound;
/// infinities and NaN at exactly the same places.
///
/// - Parameter spread: what `DecodeCase.spread` gave. Values of these tests are larger than what the absolute bound is
///   made for, so where weights are rounded the rounding's own bound counts as well.
func expectDecode(
    _ found: DecodeResult, _ expected: (out: [Double], logSums: [Double]), spread: [Double]? = nil, _ comment: String,
    sourceLocation: SourceLocation = #_sourceLocation
) {
    let difference = calcDiff(found.values, expected.out.map { Float($0) })
    #expect(difference < 5e-6, "calcDiff \(difference): \(comment)", sourceLocation: sourceLocation)
    let pairs = [
        ("out", found.values, expected.out, 8e-4, 2.01 / 128),
        ("lse", found.sums, expected.logSums, 1e-6, 8.01 / 65536),
    ]
    for (name, mine, definition, absolute, relative) in pairs {
        #expect(mine.count == definition.count, sourceLocation: sourceLocation)
        for (index, (x, y)) in zip(mine, definition).enumerated() {
            let x = Double(x)
            var rounding = 0.0
            if name == "out", let spread { rounding = (spread[index] + abs(y)) * 0x1.04p-9 }
            let isSame = x == y || abs(x - y) < max(absolute, relative * abs(y), rounding)
            guard !isSame || x.isFinite != y.isFinite else { continue }
            Issue.record(
                "\(name)[\(index)] is \(x), should be \(y): \(comment)", sourceLocation: sourceLocation)
            return
        }
    }
}
