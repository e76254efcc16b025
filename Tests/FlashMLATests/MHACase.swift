// SPDX-License-Identifier: MIT

import FlashMLA
import KernelDispatch
import LowPrecision
import Platform
import Tensors
import TestSupport

/// Lengths, heads and widths of one test of variable-length attention.
struct MHAShape: Sendable, CustomStringConvertible {
    var queryLengths: [Int]
    var keyLengths: [Int]
    var heads: Int
    var keyHeads: Int
    var width: Int
    var valueWidth: Int
    var isCausal: Bool

    var description: String {
        "q \(queryLengths), k \(keyLengths), heads \(heads)/\(keyHeads), \(width)/\(valueWidth)"
            + (isCausal ? ", causal" : "")
    }

    init(
        _ queryLengths: [Int], _ keyLengths: [Int], heads: Int, keyHeads: Int, width: Int, valueWidth: Int,
        isCausal: Bool
    ) {
        self.queryLengths = queryLengths
        self.keyLengths = keyLengths
        self.heads = heads
        self.keyHeads = keyHeads
        self.width = width
        self.valueWidth = valueWidth
        self.isCausal = isCausal
    }

    /// Lengths at and around tiles, empty ones, more queries than keys; groups of heads; odd widths.
    static let all: [MHAShape] = [false, true].flatMap { causal in
        [
            MHAShape([1], [1], heads: 1, keyHeads: 1, width: 1, valueWidth: 1, isCausal: causal),
            MHAShape(
                [5, 0, 97, 3, 1], [5, 4, 97, 0, 200], heads: 2, keyHeads: 2, width: 13, valueWidth: 7,
                isCausal: causal),
            MHAShape([203], [95], heads: 2, keyHeads: 1, width: 24, valueWidth: 33, isCausal: causal),
            MHAShape([40], [289], heads: 6, keyHeads: 2, width: 17, valueWidth: 24, isCausal: causal),
            MHAShape([25, 3], [98, 96], heads: 2, keyHeads: 2, width: 192, valueWidth: 128, isCausal: causal),
            MHAShape([31, 18], [40, 18], heads: 2, keyHeads: 1, width: 128, valueWidth: 128, isCausal: causal),
            MHAShape([0, 0], [3, 0], heads: 2, keyHeads: 1, width: 8, valueWidth: 8, isCausal: causal),
            // Enough keys to be cut into parts.
            MHAShape([50], [800], heads: 2, keyHeads: 1, width: 16, valueWidth: 11, isCausal: causal),
        ]
    }
}

/// Random inputs of one test, and what the definition makes of them.
struct MHACase {
    let shape: MHAShape
    let type: ScalarType
    let problem: MHAProblem
    let queries: [Float]
    let keys: [Float]
    let values: [Float]
    let outGradient: [Float]

    var tokens: Int { shape.queryLengths.reduce(0, +) }
    var keyTokens: Int { shape.keyLengths.reduce(0, +) }

    /// - Parameter factor: multiplies queries and keys.
    init(_ shape: MHAShape, _ type: ScalarType, seed: UInt64, factor: Float = 1) {
        self.shape = shape
        self.type = type
        problem = MHAProblem(
            queryLengths: shape.queryLengths, keyLengths: shape.keyLengths, isCausal: shape.isCausal,
            scale: 1 / Float(shape.width).squareRoot())
        var random = RandomNumbers(seed: seed)
        func numbers(_ count: Int, _ factor: Float = 1) -> [Float] {
            random.normals(count).map { type == .float32 ? $0 * factor : Float(BFloat16($0 * factor)) }
        }
        let tokens = shape.queryLengths.reduce(0, +)
        let keyTokens = shape.keyLengths.reduce(0, +)
        queries = numbers(tokens * shape.heads * shape.width, 2 * factor)
        keys = numbers(keyTokens * shape.keyHeads * shape.width, factor)
        values = numbers(keyTokens * shape.keyHeads * shape.valueWidth)
        outGradient = numbers(tokens * shape.heads * shape.valueWidth)
    }

    /// What one run leaves behind.
    struct Results: Equatable {
        var out: [Float] = []
        var logSums: [Float] = []
        var queryGradient: [Float] = []
        var keyGradient: [Float] = []
        var valueGradient: [Float] = []

        /// All numbers' bits, in one row.
        var bits: [UInt32] {
            [out, logSums, queryGradient, keyGradient, valueGradient].flatMap { $0.map(\.bitPattern) }
        }
    }

    /// Forward, then backward from its results; nil where something was written beside the results.
    func run(on context: ComputeContext) throws -> Results? {
        let q = MHAMemory(queries, type, tokens, shape.heads, shape.width)
        let k = MHAMemory(keys, type, keyTokens, shape.keyHeads, shape.width)
        let v = MHAMemory(values, type, keyTokens, shape.keyHeads, shape.valueWidth)
        let dout = MHAMemory(outGradient, type, tokens, shape.heads, shape.valueWidth)
        let out = MHAMemory(poisoned: type, tokens, shape.heads, shape.valueWidth)
        let dq = MHAMemory(poisoned: type, tokens, shape.heads, shape.width)
        let dk = MHAMemory(poisoned: type, keyTokens, shape.keyHeads, shape.width)
        let dv = MHAMemory(poisoned: type, keyTokens, shape.keyHeads, shape.valueWidth)
        let logSums = GuardedBuffer(poisoned: shape.heads * tokens)
        try withExtendedLifetime((q, k, v, dout, out, dq, dk, dv, logSums)) {
            try multiHeadAttention(
                queries: q.reading, keys: k.reading, values: v.reading, problem: problem, out: out.writing,
                logSums: UnsafeMutableBufferPointer(start: logSums.start, count: logSums.count), on: context)
            let tensors = MHAGradientTensors(
                outGradient: dout.reading, queries: q.reading, keys: k.reading, values: v.reading,
                out: out.reading,
                logSums: UnsafeBufferPointer(start: logSums.start, count: logSums.count),
                queryGradient: dq.writing, keyGradient: dk.writing, valueGradient: dv.writing)
            try multiHeadAttentionGradients(tensors, problem: problem, on: context)
        }
        guard [out, dq, dk, dv].allSatisfy(\.isIntact), logSums.isIntact else { return nil }
        return Results(
            out: out.values, logSums: logSums.values, queryGradient: dq.values, keyGradient: dk.values,
            valueGradient: dv.values)
    }

    /// The definition's results, head by head.
    ///
    /// - Parameter forward: the results that the gradients are taken from; nil for the definition's own. The gradient
    ///   of a sharp softmax is the small difference of large numbers: rounded results are another problem.
    func reference(forward: [Float]? = nil) -> Results {
        var found = Results(
            out: Array(repeating: 0, count: outGradient.count),
            logSums: Array(repeating: 0, count: tokens * shape.heads))
        var dq = [Double](repeating: 0, count: queries.count)
        var dk = [Double](repeating: 0, count: keys.count)
        var dv = [Double](repeating: 0, count: values.count)
        for request in shape.queryLengths.indices {
            let q = Int(problem.queryOffsets[request])..<Int(problem.queryOffsets[request + 1])
            let k = Int(problem.keyOffsets[request])..<Int(problem.keyOffsets[request + 1])
            for head in 0..<shape.heads {
                let keyHead = head / (shape.heads / shape.keyHeads)
                let one = ReferenceMHA(
                    queries: rows(queries, q, head, shape.heads, shape.width),
                    keys: rows(keys, k, keyHead, shape.keyHeads, shape.width),
                    values: rows(values, k, keyHead, shape.keyHeads, shape.valueWidth),
                    isCausal: shape.isCausal, scale: Double(problem.scale))
                let out = one.out(valueWidth: shape.valueWidth)
                for (i, row) in out.enumerated() {
                    let start = ((q.lowerBound + i) * shape.heads + head) * shape.valueWidth
                    for c in row.indices { found.out[start + c] = Float(row[c]) }
                    found.logSums[head * tokens + q.lowerBound + i] = Float(one.weights(i).logSum)
                }
                let gradients = one.gradients(
                    outGradient: rows(outGradient, q, head, shape.heads, shape.valueWidth),
                    out: forward.map { rows($0, q, head, shape.heads, shape.valueWidth) } ?? out)
                add(gradients.queries, to: &dq, q, head, shape.heads)
                add(gradients.keys, to: &dk, k, keyHead, shape.keyHeads)
                add(gradients.values, to: &dv, k, keyHead, shape.keyHeads)
            }
        }
        found.queryGradient = dq.map { Float($0) }
        found.keyGradient = dk.map { Float($0) }
        found.valueGradient = dv.map { Float($0) }
        return found
    }

    private func rows(_ x: [Float], _ range: Range<Int>, _ head: Int, _ heads: Int, _ width: Int) -> [[Double]] {
        range.map { token in (0..<width).map { Double(x[(token * heads + head) * width + $0]) } }
    }

    private func add(_ x: [[Double]], to sum: inout [Double], _ range: Range<Int>, _ head: Int, _ heads: Int) {
        for (row, token) in zip(x, range) {
            for c in row.indices { sum[(token * heads + head) * row.count + c] += row[c] }
        }
    }
}

/// One tensor in guarded memory of its own.
final class MHAMemory {
    private let buffer: GuardedBuffer<UInt8>
    private let type: ScalarType
    private let extents: (tokens: Int, heads: Int, width: Int)

    /// Rows whose every byte is 0xFF, a NaN in both types.
    init(poisoned type: ScalarType, _ tokens: Int, _ heads: Int, _ width: Int) {
        buffer = GuardedBuffer(count: tokens * heads * width * type.byteCount, repeating: 0xFF)
        self.type = type
        extents = (tokens, heads, width)
    }

    convenience init(_ values: [Float], _ type: ScalarType, _ tokens: Int, _ heads: Int, _ width: Int) {
        self.init(poisoned: type, tokens, heads, width)
        let bytes = UnsafeMutableRawPointer(buffer.start)
        for (index, value) in values.enumerated() {
            if type == .float32 {
                bytes.storeBytes(of: value, toByteOffset: index * 4, as: Float.self)
            } else {
                bytes.storeBytes(of: BFloat16(value).bitPattern, toByteOffset: index * 2, as: UInt16.self)
            }
        }
    }

    var reading: MHATensor {
        MHATensor(
            reading: buffer.start, type, tokenCount: extents.tokens, headCount: extents.heads,
            width: extents.width)
    }

    var writing: MHATensor {
        MHATensor(
            writing: buffer.start, type, tokenCount: extents.tokens, headCount: extents.heads,
            width: extents.width)
    }

    var isIntact: Bool { buffer.isIntact }

    var values: [Float] {
        let bytes = UnsafeRawPointer(buffer.start)
        return (0..<buffer.count / type.byteCount).map { index in
            type == .float32
                ? bytes.loadUnaligned(fromByteOffset: index * 4, as: Float.self)
                : Float(
                    BFloat16(bitPattern: bytes.loadUnaligned(fromByteOffset: index * 2, as: UInt16.self)))
        }
    }
}
