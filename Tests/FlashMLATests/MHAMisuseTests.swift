// SPDX-License-Identifier: MIT

import FlashMLA
import KernelDispatch
import Platform
import Tensors
import TestSupport
import Testing

/// One breach of a rule, and what the error has to name.
struct MHABreach: Sendable, CustomStringConvertible {
    var description: String
    var words: [String]
    var commit: @Sendable (inout MHAMisuse) -> Void

    static let all: [MHABreach] = [
        .init(description: "no offsets", words: ["queryOffsets", "empty", "0"]) { $0.problem.queryOffsets = [] },
        .init(description: "first offset", words: ["keyOffsets", "begins with 1", "0"]) {
            $0.problem.keyOffsets[0] = 1
        },
        .init(description: "falling offsets", words: ["queryOffsets[2]", "10", "11", "never fall"]) {
            $0.problem.queryOffsets = [0, 11, 10]
        },
        .init(description: "last offset", words: ["keyOffsets", "ends with 5", "7"]) {
            $0.problem.keyOffsets = [0, 2, 5]
        },
        .init(description: "request counts", words: ["3 entries", "2", "one more"]) {
            $0.problem.keyOffsets = [0, 7]
        },
        .init(description: "scale", words: ["scale", "inf", "finite"]) { $0.problem.scale = .infinity },
        .init(description: "heads", words: ["4 heads", "3", "divide"]) { $0.keys.headCount = 3 },
        .init(description: "no heads", words: ["keys", "0 heads", "1 head"]) { $0.keys.headCount = 0 },
        .init(description: "key width", words: ["keys", "width is 7", "8"]) { $0.keys.width = 7 },
        .init(description: "too wide", words: ["values", "2000", "1024"]) { $0.values.width = 2000 },
        .init(description: "value heads", words: ["values", "heads is 1", "2"]) { $0.values.headCount = 1 },
        .init(description: "value tokens", words: ["values", "tokens is 6", "7"]) { $0.values.tokenCount = 6 },
        .init(description: "type", words: ["queries", "F16", "F32", "BF16"]) { $0.queries.scalarType = .float16 },
        .init(description: "negative stride", words: ["keys", "-1"]) { $0.keys.tokenStride = -1 },
        .init(description: "huge stride", words: ["keys", "\(Int.max)"]) { $0.keys.headStride = .max },
        .init(description: "alignment", words: ["queries", "multiple of 4"]) { $0.queries.baseAddress += 2 },
        .init(description: "result width", words: ["out", "5 wide", "6"]) { $0.out.width = 5 },
        .init(description: "result for reading", words: ["out", "for reading", "writing"]) {
            $0.out.isWritable = false
        },
        .init(description: "results overlap", words: ["out", "overlap", "24"]) { $0.out.tokenStride = 20 },
        .init(description: "log-sums", words: ["log-sums", "39", "40"]) { $0.logSumCount = 39 },
    ]
}

/// The arguments of a correct call, to be broken.
struct MHAMisuse {
    var problem = MHAProblem(queryLengths: [4, 6], keyLengths: [2, 5], isCausal: true, scale: 1)
    var queries: MHATensor
    var keys: MHATensor
    var values: MHATensor
    var out: MHATensor
    var logSumCount = 40
    let memory: GuardedBuffer<Float>

    init() {
        memory = GuardedBuffer(count: 4096, repeating: 1)
        let start = UnsafeMutableRawPointer(memory.start)
        queries = MHATensor(reading: start, .float32, tokenCount: 10, headCount: 4, width: 8)
        keys = MHATensor(reading: start, .float32, tokenCount: 7, headCount: 2, width: 8)
        values = MHATensor(reading: start, .float32, tokenCount: 7, headCount: 2, width: 6)
        out = MHATensor(writing: start + 4096, .float32, tokenCount: 10, headCount: 4, width: 6)
    }

    func forward(on context: ComputeContext) throws(FathomError) {
        try multiHeadAttention(
            queries: queries, keys: keys, values: values, problem: problem, out: out,
            logSums: UnsafeMutableBufferPointer(start: memory.start + 3000, count: logSumCount), on: context)
    }
}

@Suite("Misuse of variable-length attention")
struct MHAMisuseTests {
    @Test("Each broken rule is an error that names it, and nothing is written", arguments: MHABreach.all)
    func breach(_ breach: MHABreach) throws {
        let context = try ComputeContext(threadCount: 1)
        var call = MHAMisuse()
        try call.forward(on: context)
        call = MHAMisuse()
        breach.commit(&call)
        expectFailure(.usage, naming: breach.words) { () throws(FathomError) in
            try call.forward(on: context)
        }
        #expect(call.memory.values.allSatisfy { $0 == 1 })
    }

    @Test("Gradients of the wrong shape, or for reading, are errors")
    func gradients() throws {
        let context = try ComputeContext(threadCount: 1)
        let call = MHAMisuse()
        func run(_ change: (inout MHAGradientTensors) -> Void) throws(FathomError) {
            let start = UnsafeMutableRawPointer(call.memory.start)
            var tensors = MHAGradientTensors(
                outGradient: call.out, queries: call.queries, keys: call.keys, values: call.values,
                out: call.out, logSums: UnsafeBufferPointer(start: call.memory.start + 3000, count: 40),
                queryGradient: MHATensor(
                    writing: start + 6000, .float32, tokenCount: 10, headCount: 4, width: 8),
                keyGradient: MHATensor(
                    writing: start + 8000, .float32, tokenCount: 7, headCount: 2, width: 8),
                valueGradient: MHATensor(
                    writing: start + 9000, .float32, tokenCount: 7, headCount: 2, width: 6))
            change(&tensors)
            try multiHeadAttentionGradients(tensors, problem: call.problem, on: context)
        }
        try run { _ in }
        expectFailure(.usage, naming: ["queryGradient", "9 wide", "8"]) { () throws(FathomError) in
            try run { $0.queryGradient.width = 9 }
        }
        expectFailure(.usage, naming: ["keyGradient", "heads is 4", "2"]) { () throws(FathomError) in
            try run { $0.keyGradient.headCount = 4 }
        }
        expectFailure(.usage, naming: ["valueGradient", "for reading"]) { () throws(FathomError) in
            try run { $0.valueGradient.isWritable = false }
        }
        expectFailure(.usage, naming: ["outGradient", "tokens is 9", "10"]) { () throws(FathomError) in
            try run { $0.outGradient.tokenCount = 9 }
        }
    }

    @Test("Views into one packed tensor give the bits of dense ones", arguments: InstructionSetLevel.available)
    func packed(level: InstructionSetLevel) throws {
        let context = try ComputeContext(threadCount: 2, level: level)
        let (tokens, heads, width) = (110, 2, 16)
        var random = RandomNumbers(seed: 80)
        let packed = GuardedBuffer(random.normals(tokens * 3 * heads * width))
        let size = heads * width
        let parts = (0..<3).map { part in
            GuardedBuffer(
                (0..<tokens * size).map { packed.start[($0 / size * 3 + part) * size + $0 % size] })
        }
        let problem = MHAProblem(
            queryLengths: [tokens], keyLengths: [tokens], isCausal: true, scale: 0.25)
        func run(_ view: (Int) -> MHATensor) throws -> [UInt32] {
            // Head-major results, with a gap after each row that must stay as it was.
            let out = GuardedBuffer(poisoned: heads * tokens * (width + 3))
            try multiHeadAttention(
                queries: view(0), keys: view(1), values: view(2), problem: problem,
                out: MHATensor(
                    writing: out.start, .float32, tokenCount: tokens, headCount: heads, width: width,
                    tokenStride: width + 3, headStride: tokens * (width + 3)),
                logSums: nil, on: context)
            #expect(out.isIntact)
            for row in 0..<heads * tokens {
                for gap in width..<width + 3 {
                    #expect(out.start[row * (width + 3) + gap].bitPattern == GuardedBuffer<Float>.poison.bitPattern)
                }
            }
            return out.bitPatterns
        }
        let dense = try run {
            MHATensor(
                reading: parts[$0].start, .float32, tokenCount: tokens, headCount: heads, width: width)
        }
        let views = try run {
            MHATensor(
                reading: packed.start + $0 * size, .float32, tokenCount: tokens, headCount: heads,
                width: width, tokenStride: 3 * size, headStride: width)
        }
        #expect(dense == views)
        withExtendedLifetime((packed, parts)) {}
    }
}
