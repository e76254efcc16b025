// SPDX-License-Identifier: MIT

import DeepGEMM
import KernelDispatch
import LowPrecision
import Platform
import Tensors
import TestSupport
import Testing

/// One set of streams with their connections.
struct HyperCase: Sendable, CustomTestStringConvertible {
    var tokens: Int
    var streams: Int
    var width: Int
    var element: FloatRows.Element
    /// α of all three.
    var gain: Float = 0.5
    var iterations = 20
    var testDescription: String {
        "\(tokens) tokens, \(streams) streams of \(width) \(element), gain \(gain), \(iterations) iterations"
    }

    /// DeepSeek's four streams, and odd extents; more tokens than are projected at a time.
    static let all = [
        HyperCase(tokens: 5, streams: 4, width: 320, element: .bfloat16),
        HyperCase(tokens: 100, streams: 4, width: 64, element: .float32),
        HyperCase(tokens: 3, streams: 1, width: 130, element: .bfloat16),
        HyperCase(tokens: 4, streams: 2, width: 1025, element: .float32, gain: 3),
        HyperCase(tokens: 2, streams: 9, width: 33, element: .bfloat16, iterations: 3),
        HyperCase(tokens: 1, streams: 4, width: 1100, element: .float32, gain: 40),
    ]
}

/// Random streams and parameters of a case.
struct HyperFixture {
    let test: HyperCase
    let streams: GateRows
    let output: GateRows
    let projection: GateRows
    let connections: HyperConnections
    let norm: HyperNorm
    let bias: [Float]
    let gains: HyperConnections.Gains

    init(_ test: HyperCase, biasFactor: Float = 1) throws {
        self.test = test
        let all = test.streams * test.width
        let rows = (2 + test.streams) * test.streams
        var random = RandomNumbers(seed: 7)
        streams = try GateRows(count: test.tokens, width: all, seed: 1, factor: 2, element: test.element)
        output = try GateRows(count: test.tokens, width: test.width, seed: 2, element: test.element)
        projection = try GateRows(
            count: rows, width: all, seed: 3, factor: 1 / Float(all).squareRoot(), element: .float32)
        bias = random.normals(rows).map { $0 * biasFactor }
        gains = HyperConnections.Gains(pre: test.gain, post: test.gain * 0.5, res: test.gain * 2)
        connections = try HyperConnections(
            streamCount: test.streams, projection: projection.rows, bias: bias, gains: gains,
            iterations: test.iterations)
        norm = HyperNorm(weight: random.normals(test.width))
    }

    /// The definition for a token.
    func reference(_ token: Int) -> ReferenceHyperConnections {
        let all = streams.width
        return ReferenceHyperConnections(
            streams: streams.numbers[token * all..<(token + 1) * all].map { Double($0) }, streamCount: test.streams,
            projection: projection.numbers.map { Double($0) }, bias: bias.map { Double($0) }, gains: gains,
            iterations: test.iterations, epsilon: 1e-6)
    }

    /// A token's layer output.
    func layerOutput(_ token: Int) -> [Double] {
        output.numbers[token * test.width..<(token + 1) * test.width].map { Double($0) }
    }

    func input(
        _ format: HyperInputFormat, norm: HyperNorm?, carried: HyperCoefficients? = nil, on context: ComputeContext
    ) throws -> HyperConnectionInput {
        try hyperConnectionInput(
            streams.rows, connections: connections, norm: norm, format: format, carried: carried, on: context)
    }
}

extension HyperConnectionInput {
    /// The numbers of a float32 or bfloat16 input.
    var numbers: [Float] {
        switch values {
        case .float32(let buffer): (0..<tokenCount * width).map { buffer.baseAddress[$0] }
        case .bfloat16(let buffer):
            (0..<tokenCount * width).map { Float(BFloat16(bitPattern: buffer.baseAddress[$0])) }
        case .float8(let matrix): matrix.dequantized()
        }
    }
}

extension HyperCoefficients {
    /// All numbers.
    var numbers: [Float] { (0..<values.count).map { values.baseAddress[$0] } }
}
