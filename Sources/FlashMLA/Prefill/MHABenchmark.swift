// SPDX-License-Identifier: MIT

public import KernelDispatch
public import Platform
internal import Tensors

/// Times dense variable-length attention at one shape, forward or backward, on random numbers.
public struct MHABenchmark: Sendable, Codable {
    /// What is timed: requests of equal length, packed.
    public struct Shape: Sendable, Codable {
        public var requests: Int
        /// Query and key tokens of each request.
        public var queryLength: Int
        public var keyLength: Int
        public var heads: Int
        public var keyHeads: Int
        public var width: Int
        public var valueWidth: Int
        public var isCausal: Bool
        /// Views are bfloat16 instead of float32.
        public var isBFloat16: Bool

        public init(
            requests: Int = 1, queryLength: Int, keyLength: Int, heads: Int, keyHeads: Int, width: Int,
            valueWidth: Int, isCausal: Bool, isBFloat16: Bool
        ) {
            self.requests = requests
            self.queryLength = queryLength
            self.keyLength = keyLength
            self.heads = heads
            self.keyHeads = keyHeads
            self.width = width
            self.valueWidth = valueWidth
            self.isCausal = isCausal
            self.isBFloat16 = isBFloat16
        }
    }

    public var shape: Shape
    public var isBackward: Bool
    /// Median time of one call.
    public var seconds: Double
    /// Operations of visible pairs: forward 2 · (width + value width) for each pair and head, backward
    /// 2 · (3 · width + 2 · value width).
    public var gigaflops: Double

    /// - Parameter minimumSeconds: how long to repeat; at least three runs.
    /// - Throws: `usage` for a shape that `multiHeadAttention` does not take, `unavailable` if memory does not suffice.
    public static func measure(
        _ shape: Shape, isBackward: Bool, minimumSeconds: Double, on context: ComputeContext
    ) throws(FathomError) -> MHABenchmark {
        let data = try Data(shape)
        var times: [Double] = []
        var total = 0.0
        let clock = ContinuousClock()
        try data.forward(context)
        while total < minimumSeconds || times.count < 3 {
            let start = clock.now
            if isBackward { try data.backward(context) } else { try data.forward(context) }
            let seconds = (clock.now - start) / .seconds(1)
            total += seconds
            times.append(seconds)
        }
        let median = times.sorted()[times.count / 2]
        let pair =
            isBackward ? 3 * shape.width + 2 * shape.valueWidth : shape.width + shape.valueWidth
        return MHABenchmark(
            shape: shape, isBackward: isBackward, seconds: median,
            gigaflops: 2 * Double(data.visiblePairs) * Double(pair) / median / 1e9)
    }

    /// The views of one measurement and their memory.
    private struct Data {
        let shape: Shape
        let problem: MHAProblem
        let memory: AlignedBuffer<UInt8>
        let logSums: AlignedBuffer<Float>
        let queries: MHATensor
        let keys: MHATensor
        let values: MHATensor
        let out: MHATensor
        let outGradient: MHATensor
        let gradients: [MHATensor]

        /// Pairs of a row and a key that it sees, over all heads.
        var visiblePairs: Int {
            (0..<shape.requests).reduce(0) { sum, request in
                let rows = MHARows(problem, request: request, group: shape.heads / shape.keyHeads)
                return sum + rows.visiblePairs(keys: 0..<rows.keyCount) * shape.keyHeads
            }
        }

        init(_ shape: Shape) throws(FathomError) {
            let extents = [
                shape.requests, shape.queryLength, shape.keyLength, shape.heads, shape.keyHeads, shape.width,
                shape.valueWidth,
            ]
            guard extents.allSatisfy({ (1...1 << 20).contains($0) }) else {
                throw FathomError(.usage, "the benchmark's extents are \(extents); legal are 1 to 2^20 each")
            }
            self.shape = shape
            problem = MHAProblem(
                queryLengths: Array(repeating: shape.queryLength, count: shape.requests),
                keyLengths: Array(repeating: shape.keyLength, count: shape.requests), isCausal: shape.isCausal,
                scale: 1 / Float(shape.width).squareRoot())
            let rows = shape.requests * shape.queryLength * shape.heads
            let keyRows = shape.requests * shape.keyLength * shape.keyHeads
            let numbers = rows * 2 * (shape.width + shape.valueWidth) + keyRows * 2 * (shape.width + shape.valueWidth)
            let type: ScalarType = shape.isBFloat16 ? .bfloat16 : .float32
            memory = try AlignedBuffer(count: numbers * type.byteCount, purpose: "the attention benchmark")
            logSums = try AlignedBuffer(count: rows, purpose: "the attention benchmark")
            // SAFETY: the pieces below lie inside the memory, one after the other.
            var next = UnsafeMutableRawPointer(memory.baseAddress)
            func take(_ tokens: Int, _ heads: Int, _ width: Int) -> MHATensor {
                defer { next += tokens * heads * width * type.byteCount }
                return MHATensor(writing: next, type, tokenCount: tokens, headCount: heads, width: width)
            }
            let tokens = shape.requests * shape.queryLength
            let keyTokens = shape.requests * shape.keyLength
            queries = take(tokens, shape.heads, shape.width)
            keys = take(keyTokens, shape.keyHeads, shape.width)
            values = take(keyTokens, shape.keyHeads, shape.valueWidth)
            outGradient = take(tokens, shape.heads, shape.valueWidth)
            // SAFETY: the difference of two addresses in the memory.
            Self.fill(memory, byteCount: next - UnsafeMutableRawPointer(memory.baseAddress), type)
            out = take(tokens, shape.heads, shape.valueWidth)
            gradients = [
                take(tokens, shape.heads, shape.width), take(keyTokens, shape.keyHeads, shape.width),
                take(keyTokens, shape.keyHeads, shape.valueWidth),
            ]
        }

        private static func fill(_ memory: AlignedBuffer<UInt8>, byteCount: Int, _ type: ScalarType) {
            // SAFETY: stores stay below `byteCount`, which lies inside the memory.
            let bytes = UnsafeMutableRawPointer(memory.baseAddress)
            var state: UInt64 = 0x9E37_79B9_7F4A_7C15
            for offset in stride(from: 0, to: byteCount, by: type.byteCount) {
                state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
                let bits = (Float(Int32(truncatingIfNeeded: state >> 32)) * 0x1p-31).bitPattern
                if type == .float32 {
                    bytes.storeBytes(of: bits, toByteOffset: offset, as: UInt32.self)
                } else {
                    bytes.storeBytes(of: UInt16(bits >> 16), toByteOffset: offset, as: UInt16.self)
                }
            }
        }

        func forward(_ context: ComputeContext) throws(FathomError) {
            // SAFETY: the buffer has this many floats and lives through the call.
            let sums = UnsafeMutableBufferPointer(start: logSums.baseAddress, count: logSums.count)
            try multiHeadAttention(
                queries: queries, keys: keys, values: values, problem: problem, out: out, logSums: sums, on: context)
        }

        func backward(_ context: ComputeContext) throws(FathomError) {
            // SAFETY: the buffer has this many floats and lives through the call.
            let sums = UnsafeBufferPointer(start: logSums.baseAddress, count: logSums.count)
            let tensors = MHAGradientTensors(
                outGradient: outGradient, queries: queries, keys: keys, values: values, out: out, logSums: sums,
                queryGradient: gradients[0], keyGradient: gradients[1], valueGradient: gradients[2])
            try multiHeadAttentionGradients(tensors, problem: problem, on: context)
        }
    }
}
