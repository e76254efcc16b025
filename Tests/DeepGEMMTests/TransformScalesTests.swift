// SPDX-License-Identifier: MIT

import DeepGEMM
import LowPrecision
import Platform
import Tensors
import TestSupport
import Testing

@Suite("Scale layouts")
struct TransformScalesTests {
    private static let shapes: [(rows: Int, columns: Int, groups: Int)] = [
        (1, 1, 1), (5, 512, 1), (130, 257, 2), (127, 1100, 3), (4, 4096, 1), (33, 64, 4),
    ]
    private static let grains: [ScaleGranularity] = [
        .perToken(), .perToken(32), .perBlock(), ScaleGranularity(rows: 3, columns: 50),
    ]

    /// Distinct powers of two, or other positive numbers.
    private func grid(
        _ granularity: ScaleGranularity, _ shape: (rows: Int, columns: Int, groups: Int), powerOfTwo: Bool
    ) throws -> ScaleGrid {
        let count =
            (shape.rows + granularity.rows - 1) / granularity.rows
            * ((shape.columns + granularity.columns - 1) / granularity.columns) * shape.groups
        var random = RandomNumbers(seed: UInt64(count))
        let scales = (0..<count).map { _ in
            powerOfTwo ? Float(UE8M0(bitPattern: UInt8(random.number(below: 255)))) : abs(random.normal()) + 0.1
        }
        return try ScaleGrid(
            scales, granularity: granularity, rowCount: shape.rows, columnCount: shape.columns,
            groupCount: shape.groups)
    }

    @Test("Rows fastest: each scale lies where the layout says, padding is zero, and the way back exists")
    func mnMajor() throws {
        for shape in Self.shapes {
            for granularity in Self.grains {
                let grid = try grid(granularity, shape, powerOfTwo: false)
                let found = try grid.mnMajor()
                let stride = found.extents.leadingStride
                #expect(stride % 4 == 0 && stride >= shape.rows && stride < shape.rows + 4)
                for index in 0..<found.values.count {
                    let (row, run) = (index % stride, index / stride)
                    let expected =
                        row < shape.rows
                        ? grid[
                            group: run / grid.columnBlocks, row: row / granularity.rows,
                            column: run % grid.columnBlocks] : 0
                    #expect(found.values.baseAddress[index] == expected)
                }
                let back = try found.grid().collapsed(rows: granularity.rows)
                #expect(back.array == grid.array && back.granularity == granularity)
            }
        }
    }

    @Test("Packed: four K blocks in a word, the first lowest, rows fastest, and the way back exists")
    func packed() throws {
        for shape in Self.shapes {
            for granularity in Self.grains {
                let grid = try grid(granularity, shape, powerOfTwo: true)
                let found = try grid.packedUE8M0()
                #expect(found.wordCount == (grid.columnBlocks + 3) / 4)
                let stride = found.extents.leadingStride
                #expect(stride % 4 == 0 && stride - shape.rows < 4)
                for index in 0..<found.words.count {
                    let (row, run) = (index % stride, index / stride)
                    let word = UInt32(bitPattern: found.words.baseAddress[index])
                    for byte in 0..<4 {
                        let block = run % found.wordCount * 4 + byte
                        let code = UInt8(truncatingIfNeeded: word >> UInt32(8 * byte))
                        guard row < shape.rows, block < grid.columnBlocks else {
                            #expect(code == 0)
                            continue
                        }
                        let scale = grid[
                            group: run / found.wordCount, row: row / granularity.rows, column: block]
                        #expect(Float(UE8M0(bitPattern: code)) == scale)
                    }
                }
                let back = try found.grid().collapsed(rows: granularity.rows)
                #expect(back.array == grid.array)
            }
        }
    }

    @Test("K groups begin with a word of their own, empty ones take none")
    func kGroups() throws {
        let sizes = [128, 0, 640, 512, 0, 384]
        let shape = (rows: 7, columns: sizes.reduce(0, +), groups: 1)
        let grid = try grid(.perToken(), shape, powerOfTwo: true)
        let found = try grid.packedUE8M0(kGroupSizes: sizes)
        #expect(found.wordCount == 1 + 0 + 2 + 1 + 0 + 1)
        #expect(try found.grid().array == grid.array)
        // The third group begins with block 1, in word 1; its fifth block is alone in word 2.
        let row = 3
        let words = (0..<found.wordCount).map { found.words.baseAddress[$0 * found.extents.leadingStride + row] }
        let codes = (0..<grid.columnBlocks).map { Int32(UE8M0(exactly: grid[row, $0])?.bitPattern ?? 0) }
        #expect(words[0] == codes[0])
        #expect(words[1] & 0xFF == codes[1] && words[2] == codes[5] && words[3] & 0xFF == codes[6])
        #expect(words[4] == codes[10] | codes[11] << 8 | codes[12] << 16)
    }

    @Test("Quantised with power-of-two scales, a matrix always packs")
    func quantizerScalesPack() throws {
        for maximum: Float in [0, 1e-30, 0.1, 448, 3e38] {
            let scale = Float(UE8M0(clampingUp: max(maximum, 1e-4) / 448))
            let grid = try ScaleGrid([scale], granularity: .perToken(), rowCount: 1, columnCount: 5)
            #expect(Float(try grid.packedUE8M0()[group: 0, row: 0, block: 0]) == scale)
        }
    }

    @Test("The aligned size is a multiple of 16 bytes")
    func alignment() {
        #expect([0, 1, 4, 5].map { alignedScaleCount($0, elementByteCount: 4) } == [0, 4, 4, 8])
        #expect([1, 16, 17].map { alignedScaleCount($0, elementByteCount: 1) } == [16, 16, 32])
    }

    @Test("A scale that is no power of two is named with its place")
    func refusals() throws {
        for bad: Float in [0.3, 0, -1, .nan, .infinity] {
            var scales = [Float](repeating: 0.5, count: 2 * 3 * 4)
            scales[1 * 12 + 2 * 4 + 3] = bad
            let grid = try ScaleGrid(
                scales, granularity: .perToken(), rowCount: 3, columnCount: 512, groupCount: 2)
            expectFailure(.badData, naming: ["group 1", "row block 2", "K block 3", "\(bad)"]) {
                () throws(FathomError) in _ = try grid.packedUE8M0()
            }
        }
        let grid = try ScaleGrid(
            [1, 2, 3, 4], granularity: .perToken(), rowCount: 2, columnCount: 256)
        expectFailure(.badData, naming: ["row 1", "K block 0", "3.0", "1.0"]) { () throws(FathomError) in
            _ = try grid.collapsed(rows: 2)
        }
        expectFailure(.usage, naming: ["K group 1", "100", "128"]) { () throws(FathomError) in
            _ = try grid.packedUE8M0(kGroupSizes: [128, 100])
        }
        expectFailure(.usage, naming: ["128", "256"]) { () throws(FathomError) in
            _ = try grid.packedUE8M0(kGroupSizes: [128])
        }
        expectFailure(.usage, naming: ["3 scales", "need 4"]) { () throws(FathomError) in
            _ = try ScaleGrid([1, 2, 3], granularity: .perToken(), rowCount: 2, columnCount: 256)
        }
    }
}
