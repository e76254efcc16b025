// SPDX-License-Identifier: MIT

import DeepGEMM
import KernelDispatch
import Platform
import TestSupport
import Testing

@Suite("Hyper-connections: misuse")
struct HyperMisuseTests {
    @Test("Parameters that do not fit are refused, naming what is legal")
    func parameters() throws {
        let good = try GateRows([Float](repeating: 0, count: 8 * 12), width: 12)
        let bias = [Float](repeating: 0, count: 8)
        func attempt(
            _ streams: Int = 2, _ rows: GateRows? = nil, bias numbers: [Float]? = nil, iterations: Int = 20,
            epsilon: Float = 1e-6
        ) throws(FathomError) {
            _ = try HyperConnections(
                streamCount: streams, projection: (rows ?? good).rows, bias: numbers ?? bias,
                gains: HyperConnections.Gains(pre: 1, post: 1, res: 1), iterations: iterations, epsilon: epsilon)
        }
        try attempt()
        let odd = try GateRows([Float](repeating: 0, count: 8 * 13), width: 13)
        expectFailure(.usage, naming: ["0 residual streams", "1…32"]) { () throws(FathomError) in try attempt(0) }
        expectFailure(.usage, naming: ["33 residual streams"]) { () throws(FathomError) in try attempt(33) }
        expectFailure(.usage, naming: ["8 rows", "15 is legal"]) { () throws(FathomError) in try attempt(3) }
        expectFailure(.usage, naming: ["13 columns", "2 times"]) { () throws(FathomError) in try attempt(2, odd) }
        expectFailure(.usage, naming: ["bias has 7", "8"]) { () throws(FathomError) in
            try attempt(bias: [Float](repeating: 0, count: 7))
        }
        expectFailure(.usage, naming: ["0 Sinkhorn", "1000"]) { () throws(FathomError) in try attempt(iterations: 0) }
        expectFailure(.usage, naming: ["epsilon is nan"]) { () throws(FathomError) in try attempt(epsilon: .nan) }
        expectFailure(.usage, naming: ["-1 tokens"]) { () throws(FathomError) in
            _ = try HyperCoefficients(tokenCount: -1, streamCount: 2)
        }
    }

    @Test("Streams, norms and outputs that do not fit are refused before anything is written")
    func extents() throws {
        let fixture = try HyperFixture(HyperCase(tokens: 3, streams: 2, width: 10, element: .float32))
        let context = try ComputeContext(threadCount: 1)
        let narrow = try GateRows([Float](repeating: 0, count: 57), width: 19)
        expectFailure(.usage, naming: ["19 wide", "20"]) { () throws(FathomError) in
            _ = try hyperConnectionInput(narrow.rows, connections: fixture.connections, on: context)
        }
        expectFailure(.usage, naming: ["norm", "9", "10"]) { () throws(FathomError) in
            _ = try hyperConnectionInput(
                fixture.streams.rows, connections: fixture.connections,
                norm: HyperNorm(weight: [Float](repeating: 1, count: 9)), on: context)
        }
        expectFailure(.usage, naming: ["2 tokens", "2 streams", "3 and 2"]) { () throws(FathomError) in
            _ = try hyperConnectionInput(
                fixture.streams.rows, connections: fixture.connections,
                carried: HyperCoefficients(tokenCount: 2, streamCount: 2), on: context)
        }
        let out = GuardedBuffer<Float>(count: 60, repeating: -5)
        let coefficients = try HyperCoefficients(tokenCount: 3, streamCount: 2)
        func attempt(
            _ output: GateRows? = nil, _ given: HyperCoefficients? = nil, format: MatrixResult.Format = .float32,
            stride: Int = 20
        ) throws(FathomError) {
            try hyperConnectionOutput(
                fixture.streams.rows, layerOutput: (output ?? fixture.output).rows, coefficients: given ?? coefficients,
                into: MatrixResult(UnsafeMutableRawPointer(out.start), format, stride: stride), on: context)
        }
        expectFailure(.usage, naming: ["20 wide", "38"]) { () throws(FathomError) in try attempt(narrow) }
        let short = try GateRows([Float](repeating: 0, count: 20), width: 10)
        expectFailure(.usage, naming: ["2 tokens", "3 is legal"]) { () throws(FathomError) in try attempt(short) }
        expectFailure(.usage, naming: ["coefficients of 4"]) { () throws(FathomError) in
            try attempt(nil, HyperCoefficients(tokenCount: 4, streamCount: 2))
        }
        expectFailure(.usage, naming: ["fp8"]) { () throws(FathomError) in try attempt(format: .float8E4M3) }
        expectFailure(.usage, naming: ["19 apart", "20"]) { () throws(FathomError) in try attempt(stride: 19) }
        #expect(out.values.allSatisfy { $0 == -5 })
    }

    @Test("No tokens; and NaN in one token stays there")
    func edges() throws {
        let context = try ComputeContext(threadCount: 2)
        let fixture = try HyperFixture(HyperCase(tokens: 3, streams: 2, width: 10, element: .float32))
        let none = try FloatRows(fixture.streams.rows.baseAddress, element: .float32, rowCount: 0, columnCount: 20)
        let empty = try hyperConnectionInput(none, connections: fixture.connections, on: context)
        #expect(empty.tokenCount == 0 && empty.numbers.isEmpty)
        var numbers = fixture.streams.numbers
        numbers[25] = .nan
        let poisoned = try GateRows(numbers, width: 20)
        let clean = try fixture.input(.float32, norm: fixture.norm, on: context)
        let found = try hyperConnectionInput(
            poisoned.rows, connections: fixture.connections, norm: fixture.norm, format: .float32, on: context)
        #expect(Array(found.numbers[..<10]) == Array(clean.numbers[..<10]))
        #expect(found.numbers[10..<20].allSatisfy { $0.isNaN })
        #expect(Array(found.numbers[20...]) == Array(clean.numbers[20...]))
        // Streams of zeros.
        let zeros = try GateRows([Float](repeating: 0, count: 20), width: 20)
        let flat = try hyperConnectionInput(
            zeros.rows, connections: fixture.connections, norm: fixture.norm, format: .float32, on: context)
        #expect(flat.numbers.allSatisfy { $0 == 0 } && flat.coefficients.numbers.allSatisfy { $0.isFinite })
    }

    @Test("The benchmark measures both halves")
    func benchmark() throws {
        let context = try ComputeContext(threadCount: 2)
        let result = try HyperConnectionBenchmark.measure(
            tokenCount: 3, streamCount: 2, width: 32, minimumSeconds: 0, on: context)
        #expect(result.inputSeconds > 0 && result.outputSeconds > 0 && result.productSeconds > 0)
        #expect(result.outputBytes == 3 * (64 + 64 + 32) * 2)
        expectFailure(.usage, naming: ["0 tokens"]) { () throws(FathomError) in
            _ = try HyperConnectionBenchmark.measure(tokenCount: 0, minimumSeconds: 0, on: context)
        }
        expectFailure(.usage, naming: ["33 residual streams"]) { () throws(FathomError) in
            _ = try HyperConnectionBenchmark.measure(tokenCount: 1, streamCount: 33, minimumSeconds: 0, on: context)
        }
    }
}
