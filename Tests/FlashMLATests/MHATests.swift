// SPDX-License-Identifier: MIT

import FlashMLA
import KernelDispatch
import Platform
import Tensors
import TestSupport
import Testing

@Suite("Dense variable-length attention")
struct MHATests {
    @Test(
        "Results, log-sums and gradients agree with the definition", arguments: MHAShape.all,
        [ScalarType.float32, .bfloat16])
    func reference(shape: MHAShape, type: ScalarType) throws {
        let test = MHACase(shape, type, seed: 60)
        var expected: MHACase.Results?
        for level in InstructionSetLevel.available {
            let context = try ComputeContext(threadCount: 2, level: level)
            let found = try #require(try test.run(on: context), "written beside the results")
            // Rounded results agree between levels but for single bits, which the limits allow for.
            let theirs = expected ?? test.reference(forward: type == .bfloat16 ? found.out : nil)
            expected = theirs
            expectClose(found.out, theirs.out, type, "out, \(level)")
            expectClose(found.queryGradient, theirs.queryGradient, type, "dq, \(level)")
            expectClose(found.keyGradient, theirs.keyGradient, type, "dk, \(level)")
            expectClose(found.valueGradient, theirs.valueGradient, type, "dv, \(level)")
            for (mine, theirs) in zip(found.logSums, theirs.logSums) {
                let isClose = abs(mine - theirs) <= max(1e-6, abs(theirs) * 2.01 / 65536)
                #expect(mine == theirs || isClose, "lse \(mine), not \(theirs)")
            }
        }
    }

    @Test(
        "On numbers as the original's tests have them, bfloat16 keeps its limits end to end", arguments: [false, true])
    func original(isCausal: Bool) throws {
        let shape = MHAShape(
            [97], [130], heads: 2, keyHeads: 1, width: 48, valueWidth: 32, isCausal: isCausal)
        let test = MHACase(shape, .bfloat16, seed: 65, factor: 0.1)
        let expected = test.reference()
        for level in InstructionSetLevel.available {
            let found = try #require(try test.run(on: try ComputeContext(threadCount: 2, level: level)))
            expectClose(found.out, expected.out, .bfloat16, "out, \(level)")
            expectClose(found.queryGradient, expected.queryGradient, .bfloat16, "dq, \(level)")
            expectClose(found.keyGradient, expected.keyGradient, .bfloat16, "dk, \(level)")
            expectClose(found.valueGradient, expected.valueGradient, .bfloat16, "dv, \(level)")
        }
    }

    /// The original's limits for what is rounded to bfloat16; for float32 what its arithmetic reaches.
    private func expectClose(_ found: [Float], _ expected: [Float], _ type: ScalarType, _ what: String) {
        let difference = calcDiff(found, expected)
        #expect(difference < (type == .float32 ? 1e-10 : 7e-6), "\(what): \(difference)")
        for (index, (mine, theirs)) in zip(found, expected).enumerated() {
            let bound = max(1e-3, abs(theirs) * 8.01 / 128) * (type == .float32 ? 0.01 : 1)
            if !(abs(mine - theirs) <= bound) {
                Issue.record("\(what)[\(index)] is \(mine), not \(theirs)")
                return
            }
        }
    }

    @Test("A query that sees no key has zeros, an infinite log-sum and no gradient")
    func lonely() throws {
        let shape = MHAShape(
            [10, 4], [3, 0], heads: 2, keyHeads: 1, width: 9, valueWidth: 5, isCausal: true)
        let test = MHACase(shape, .float32, seed: 61)
        for level in InstructionSetLevel.available {
            let context = try ComputeContext(threadCount: 2, level: level)
            let found = try #require(try test.run(on: context))
            for token in 0..<14 where token < 7 || token >= 10 {
                for head in 0..<2 {
                    #expect(found.logSums[head * 14 + token] == .infinity)
                    let row = (token * 2 + head)
                    #expect(found.out[row * 5..<(row + 1) * 5].allSatisfy { $0 == 0 })
                    #expect(found.queryGradient[row * 9..<(row + 1) * 9].allSatisfy { $0 == 0 })
                }
            }
            #expect(found.logSums[7..<10].allSatisfy { $0.isFinite })
        }
    }

    @Test("The number of threads changes no bit, forward or backward", arguments: InstructionSetLevel.available)
    func threads(level: InstructionSetLevel) throws {
        for shape in MHAShape.all where shape.width < 100 {
            let test = MHACase(shape, .float32, seed: 62)
            let one = try #require(try test.run(on: try ComputeContext(threadCount: 1, level: level))).bits
            for count in [2, 3, 5] {
                let context = try ComputeContext(threadCount: count, level: level)
                for _ in 0..<2 {
                    let many = try #require(try test.run(on: context)).bits
                    #expect(many == one, "\(shape), \(count) threads")
                }
            }
        }
    }

    @Test("A request's results do not depend on the requests beside it", arguments: InstructionSetLevel.available)
    func company(level: InstructionSetLevel) throws {
        let context = try ComputeContext(threadCount: 2, level: level)
        let shape = MHAShape(
            [33, 120, 7], [50, 120, 64], heads: 2, keyHeads: 1, width: 24, valueWidth: 16, isCausal: true)
        let whole = MHACase(shape, .float32, seed: 63)
        let together = try #require(try whole.run(on: context))
        for request in 0..<3 {
            let q = Int(whole.problem.queryOffsets[request])..<Int(whole.problem.queryOffsets[request + 1])
            let alone = try #require(try MHACase(whole, request: request).run(on: context))
            #expect(alone.out.bits == together.out[q.lowerBound * 32..<q.upperBound * 32].bits)
        }
    }

    @Test("Very large scores neither overflow nor vanish")
    func extremes() throws {
        let shape = MHAShape([40], [300], heads: 1, keyHeads: 1, width: 16, valueWidth: 12, isCausal: true)
        var test = MHACase(shape, .float32, seed: 64)
        test = MHACase(test, scalingQueriesBy: 1000)
        let expected = test.reference()
        for level in InstructionSetLevel.available {
            let found = try #require(try test.run(on: try ComputeContext(threadCount: 2, level: level)))
            #expect(calcDiff(found.out, expected.out) < 1e-5)
            #expect(found.queryGradient.allSatisfy { $0.isFinite })
            #expect(found.keyGradient.allSatisfy { $0.isFinite })
        }
    }

    @Test("Every benchmark runs", arguments: [false, true], [false, true])
    func benchmark(isBackward: Bool, isBFloat16: Bool) throws {
        let shape = MHABenchmark.Shape(
            requests: 2, queryLength: 9, keyLength: 11, heads: 4, keyHeads: 2, width: 12, valueWidth: 8,
            isCausal: true, isBFloat16: isBFloat16)
        let found = try MHABenchmark.measure(
            shape, isBackward: isBackward, minimumSeconds: 0, on: try ComputeContext(threadCount: 2))
        // Query i of nine sees i + 3 of eleven keys: 63 pairs for each of two requests and four heads.
        let pair = Double(isBackward ? 3 * 12 + 2 * 8 : 12 + 8)
        let operations = found.gigaflops * found.seconds * 1e9
        #expect(abs(operations / (2 * 63 * 8 * pair) - 1) < 1e-9, "\(operations)")
    }
}

extension MHACase {
    /// One request alone.
    init(_ other: MHACase, request: Int) {
        let s = other.shape
        let q = Int(other.problem.queryOffsets[request])..<Int(other.problem.queryOffsets[request + 1])
        let k = Int(other.problem.keyOffsets[request])..<Int(other.problem.keyOffsets[request + 1])
        func part(_ x: [Float], _ range: Range<Int>, _ size: Int) -> [Float] {
            Array(x[range.lowerBound * size..<range.upperBound * size])
        }
        shape = MHAShape(
            [q.count], [k.count], heads: s.heads, keyHeads: s.keyHeads, width: s.width,
            valueWidth: s.valueWidth, isCausal: s.isCausal)
        type = other.type
        problem = MHAProblem(
            queryLengths: [q.count], keyLengths: [k.count], isCausal: s.isCausal, scale: other.problem.scale)
        queries = part(other.queries, q, s.heads * s.width)
        keys = part(other.keys, k, s.keyHeads * s.width)
        values = part(other.values, k, s.keyHeads * s.valueWidth)
        outGradient = part(other.outGradient, q, s.heads * s.valueWidth)
    }

    init(_ other: MHACase, scalingQueriesBy factor: Float) {
        shape = other.shape
        type = other.type
        problem = other.problem
        queries = other.queries.map { $0 * factor }
        keys = other.keys
        values = other.values
        outGradient = other.outGradient
    }
}

extension Sequence<Float> {
    /// The bits of every number.
    fileprivate var bits: [UInt32] { map(\.bitPattern) }
}
