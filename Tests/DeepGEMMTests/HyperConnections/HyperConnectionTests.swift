// SPDX-License-Identifier: MIT

import DeepGEMM
import KernelDispatch
import LowPrecision
import Platform
import Tensors
import TestSupport
import Testing

@Suite("Hyper-connections")
struct HyperConnectionTests {
    private func difference(_ found: some Sequence<Float>, _ expected: [Double]) -> Double {
        zip(found, expected).reduce(0) { max($0, abs(Double($1.0) - $1.1)) }
    }

    @Test(
        "Coefficients and the layer's input agree with the reference in Double, at every instruction-set level",
        arguments: HyperCase.all)
    func input(test: HyperCase) throws {
        let fixture = try HyperFixture(test)
        let references = (0..<test.tokens).map { fixture.reference($0) }
        let weight = fixture.norm.weight.map { Double($0) }
        for level in InstructionSetLevel.available {
            let context = try ComputeContext(threadCount: 2, level: level)
            let bare = try fixture.input(.float32, norm: nil, on: context)
            let normed = try fixture.input(.float32, norm: fixture.norm, on: context)
            #expect(bare.tokenCount == test.tokens && bare.width == test.width)
            #expect(bare.coefficients.numbers == normed.coefficients.numbers)
            // The exponents of a large gain magnify the rounding of the products.
            let limit = 1e-5 * max(1, Double(test.gain))
            for (token, reference) in references.enumerated() {
                #expect(difference(bare.coefficients.pre(token), reference.pre) < limit)
                #expect(difference(bare.coefficients.post(token), reference.post) < limit)
                #expect(difference(bare.coefficients.res(token), reference.res) < limit)
                let columns = token * test.width..<(token + 1) * test.width
                #expect(difference(bare.numbers[columns], reference.input()) < 10 * limit)
                #expect(difference(normed.numbers[columns], reference.input(normWeight: weight)) < 10 * limit)
            }
        }
    }

    @Test("bfloat16 and FP8 inputs are the float32 input, rounded and quantised", arguments: HyperCase.all)
    func formats(test: HyperCase) throws {
        let fixture = try HyperFixture(test)
        let context = try ComputeContext(threadCount: 3)
        let full = try fixture.input(.float32, norm: fixture.norm, on: context).numbers
        let half = try fixture.input(.bfloat16, norm: fixture.norm, on: context).numbers
        #expect(half == full.map { Float(BFloat16($0)) })
        let rows = try GateRows(full, width: test.width)
        for powers in [false, true] {
            let expected = try quantizeFloat8(rows.rows, powerOfTwoScales: powers, on: context)
            let found = try fixture.input(.float8(powerOfTwoScales: powers), norm: fixture.norm, on: context)
            guard case .float8(let matrix) = found.values else {
                Issue.record("no FP8 input")
                return
            }
            #expect(matrix.scales.array == expected.scales.array && matrix.dequantized() == expected.dequantized())
        }
    }

    @Test(
        "The next streams agree with the reference in Double, in place too, with gaps untouched",
        arguments: HyperCase.all)
    func output(test: HyperCase) throws {
        let fixture = try HyperFixture(test)
        let all = fixture.streams.width
        let references = (0..<test.tokens).map { fixture.reference($0).output(fixture.layerOutput($0)) }
        for level in InstructionSetLevel.available {
            let context = try ComputeContext(threadCount: 2, level: level)
            let coefficients = try fixture.input(.float32, norm: nil, on: context).coefficients
            let stride = all + 3
            let out = GuardedBuffer<Float>(count: test.tokens * stride - 3, repeating: -77)
            try hyperConnectionOutput(
                fixture.streams.rows, layerOutput: fixture.output.rows, coefficients: coefficients,
                into: MatrixResult(out.start, stride: stride), on: context)
            #expect(out.isIntact)
            let limit = 1e-4 * max(1, Double(test.gain))
            for (token, expected) in references.enumerated() {
                let row = (0..<all).map { out.start[token * stride + $0] }
                #expect(difference(row, expected) < limit)
                if token + 1 < test.tokens {
                    #expect((all..<stride).allSatisfy { out.start[token * stride + $0] == -77 })
                }
            }
            let half = GuardedBuffer<UInt16>(count: test.tokens * all, repeating: 0x7FD1)
            try hyperConnectionOutput(
                fixture.streams.rows, layerOutput: fixture.output.rows, coefficients: coefficients,
                into: MatrixResult(UnsafeMutableRawPointer(half.start), .bfloat16, stride: all), on: context)
            let dense = (0..<test.tokens * all).map { out.start[$0 / all * stride + $0 % all] }
            #expect(half.isIntact && half.values == dense.map { BFloat16($0).bitPattern })
            let place = GuardedBuffer<Float>(fixture.streams.numbers)
            try hyperConnectionOutput(
                FloatRows(place.start, element: .float32, rowCount: test.tokens, columnCount: all),
                layerOutput: fixture.output.rows, coefficients: coefficients,
                into: MatrixResult(place.start, stride: all), on: context)
            #expect(place.values == dense)
        }
    }

    @Test(
        "res is doubly stochastic, whatever its exponents", arguments: [1, 2, 4, 7, 32],
        [0, 1, 30, 1000, 1e6] as [Float])
    func stochastic(streams: Int, magnitude: Float) throws {
        var test = HyperCase(tokens: 3, streams: streams, width: 24, element: .float32)
        test.iterations = 200
        let fixture = try HyperFixture(test, biasFactor: magnitude)
        let context = try ComputeContext(threadCount: 2)
        let coefficients = try fixture.input(.float32, norm: nil, on: context).coefficients
        for token in 0..<3 {
            let res = coefficients.res(token)
            #expect(res.allSatisfy { $0 >= 0 && $0 <= 1.00001 })
            for row in 0..<streams {
                let sum = (0..<streams).reduce(0) { $0 + res[row * streams + $1] }
                #expect(abs(sum - 1) < 1e-5, "row \(row)")
            }
            // The last division is by rows; columns are close where exponents let the iteration converge.
            guard magnitude <= 1 else { continue }
            for column in 0..<streams {
                let sum = (0..<streams).reduce(0) { $0 + res[$1 * streams + column] }
                #expect(abs(sum - 1) < 1e-4, "column \(column)")
            }
            #expect(coefficients.pre(token).allSatisfy { 0...1 ~= $0 })
            #expect(coefficients.post(token).allSatisfy { 0...2 ~= $0 })
        }
    }

    @Test("One stream with gains 0 and suitable biases is a residual network")
    func residual() throws {
        let width = 100
        let streams = try GateRows(count: 6, width: width, seed: 1, element: .bfloat16)
        let output = try GateRows(count: 6, width: width, seed: 2, element: .bfloat16)
        let projection = try GateRows(count: 3, width: width, seed: 3, element: .float32)
        // sigmoid(40) is 1 in float32, and 2 sigmoid(0) is 1.
        let connections = try HyperConnections(
            streamCount: 1, projection: projection.rows, bias: [40, 0, -3],
            gains: HyperConnections.Gains(pre: 0, post: 0, res: 0))
        let context = try ComputeContext(threadCount: 2)
        let input = try hyperConnectionInput(
            streams.rows, connections: connections, format: .float32, on: context)
        #expect(input.numbers == streams.numbers)
        #expect(input.coefficients.numbers == [Float]((0..<6).flatMap { _ in [1, 1, 1] as [Float] }))
        let next = GuardedBuffer<Float>(count: 6 * width, repeating: 0)
        try hyperConnectionOutput(
            streams.rows, layerOutput: output.rows, coefficients: input.coefficients,
            into: MatrixResult(next.start, stride: width), on: context)
        #expect(next.values == zip(streams.numbers, output.numbers).map { $0 + $1 })
    }

    @Test("A token's numbers do not depend on the threads or on other tokens, at every level")
    func independence() throws {
        let test = HyperCase(tokens: 211, streams: 4, width: 160, element: .bfloat16)
        let fixture = try HyperFixture(test)
        let all = fixture.streams.width
        for level in InstructionSetLevel.available {
            let context = try ComputeContext(threadCount: 1, level: level)
            let expected = try fixture.input(.bfloat16, norm: fixture.norm, on: context)
            for threads in 2...4 {
                let team = try ComputeContext(threadCount: threads, level: level)
                let found = try fixture.input(.bfloat16, norm: fixture.norm, on: team)
                #expect(found.coefficients.numbers == expected.coefficients.numbers)
                #expect(found.numbers == expected.numbers)
            }
            for token in [0, 95, 96, 210] {
                let one = try GateRows(
                    Array(fixture.streams.numbers[token * all..<(token + 1) * all]), width: all, element: .bfloat16)
                let found = try hyperConnectionInput(
                    one.rows, connections: fixture.connections, norm: fixture.norm, on: context)
                #expect(found.numbers == Array(expected.numbers[token * 160..<(token + 1) * 160]))
                #expect(found.coefficients.res(0) == expected.coefficients.res(token))
            }
        }
    }

    @Test("Carried coefficients mix the streams, and this call's own are given back")
    func carried() throws {
        let fixture = try HyperFixture(HyperCase.all[1])
        let context = try ComputeContext(threadCount: 2)
        let own = try fixture.input(.float32, norm: nil, on: context)
        let carried = try HyperCoefficients(tokenCount: 100, streamCount: 4)
        // The second stream alone.
        for token in 0..<100 { carried.values.baseAddress[token * 24 + 1] = 1 }
        let shifted = try fixture.input(.float32, norm: nil, carried: carried, on: context)
        #expect(shifted.coefficients.numbers == own.coefficients.numbers)
        var expected: [Float] = []
        for token in 0..<100 { expected += fixture.streams.numbers[token * 256 + 64..<token * 256 + 128] }
        #expect(shifted.numbers == expected)
    }
}
