// SPDX-License-Identifier: MIT

import DeepGEMM
import KernelDispatch
import LowPrecision
import Platform
import Tensors
import TestSupport
import Testing

@Suite("Product before the norm")
struct PrenormProductTests {
    private func array(_ buffer: AlignedBuffer<Float>) -> [Float] {
        (0..<buffer.count).map { buffer.baseAddress[$0] }
    }

    /// Sums the splits of [splits, count].
    private func joined(_ values: [Float], splits: Int) -> [Float] {
        let count = values.count / splits
        return (0..<count).map { index in (0..<splits).reduce(0) { $0 + values[$1 * count + index] } }
    }

    @Test(
        "Products and sums of squares agree with Double, in any number of splits",
        arguments: [(1, 24, 1), (3, 24, 2100), (50, 5, 700), (13, 97, 65), (100, 24, 512), (2, 0, 100)])
    func reference(m: Int, n: Int, k: Int) throws {
        var random = RandomNumbers(seed: UInt64(k))
        let a = random.normals(m * k).map { BFloat16($0) }
        let b = random.normals(n * k)
        let left = GuardedBuffer<UInt16>(a.map(\.bitPattern), filler: 0)
        let right = GuardedBuffer<Float>(b)
        let x = try FloatRows(left.start, element: .bfloat16, rowCount: m, columnCount: k)
        let y = try FloatRows(right.start, element: .float32, rowCount: n, columnCount: k)
        var products: [Float] = []
        var squares: [Float] = []
        for row in 0..<m {
            let values = (0..<k).map { Double(Float(a[row * k + $0])) }
            squares.append(Float(values.reduce(0) { $0 + $1 * $1 }))
            for output in 0..<n {
                products.append(Float((0..<k).reduce(0.0) { $0 + values[$1] * Double(b[output * k + $1]) }))
            }
        }
        for level in InstructionSetLevel.available {
            for splits in [1, 2, 5, 64] {
                var seen: Set<[Float]> = []
                for threads in 1...3 {
                    let context = try ComputeContext(threadCount: threads, level: level)
                    let found = try prenormProduct(x, y, splitCount: splits, on: context)
                    #expect(found.products.count == splits * m * n && found.squareSums.count == splits * m)
                    #expect(calcDiff(joined(array(found.products), splits: splits), products) < 1e-10)
                    #expect(calcDiff(joined(array(found.squareSums), splits: splits), squares) < 1e-10)
                    seen.insert(array(found.products) + array(found.squareSums))
                }
                #expect(seen.count == 1)
            }
        }
    }

    @Test("A row's bits do not depend on the other rows")
    func rows() throws {
        let (m, n, k) = (61, 30, 900)
        var random = RandomNumbers(seed: 1)
        let a = GuardedBuffer<Float>(random.normals(m * k))
        let b = GuardedBuffer<Float>(random.normals(n * k))
        let context = try ComputeContext(threadCount: 2)
        let y = try FloatRows(b.start, element: .float32, rowCount: n, columnCount: k)
        let all = try prenormProduct(
            FloatRows(a.start, element: .float32, rowCount: m, columnCount: k), y, on: context)
        for row in [0, 17, 60] {
            let one = try prenormProduct(
                FloatRows(a.start + row * k, element: .float32, rowCount: 1, columnCount: k), y, on: context)
            #expect(array(one.products) == Array(array(all.products)[row * n..<(row + 1) * n]))
            #expect(one.squareSums.baseAddress[0] == all.squareSums.baseAddress[row])
        }
    }

    @Test("Misuse is refused, naming what is legal")
    func misuse() throws {
        let context = try ComputeContext(threadCount: 1)
        let buffer = try AlignedBuffer<Float>(count: 20, purpose: "test")
        let a = try FloatRows(buffer, rowCount: 2, columnCount: 10)
        let b = try FloatRows(buffer, rowCount: 2, columnCount: 9)
        expectFailure(.usage, naming: ["10", "9"]) { () throws(FathomError) in
            _ = try prenormProduct(a, b, on: context)
        }
        expectFailure(.usage, naming: ["0 splits"]) { () throws(FathomError) in
            _ = try prenormProduct(a, a, splitCount: 0, on: context)
        }
    }
}
