// SPDX-License-Identifier: MIT

import DeepGEMM
import KernelDispatch
import Kernels
import TestSupport
import Testing

@Suite("Products with a panel")
struct DotPanelTests {
    /// Rows `outputCount + 3` apart in memory that begins with `start`; nil where a kernel wrote between them.
    private func sums(
        _ kernel: @Sendable (UnsafePointer<DotBlockArguments>) -> Void, _ a: GuardedBuffer<Float>, rowCount: Int,
        _ b: GuardedBuffer<Float>, bStride: Int, outputCount: Int, count: Int
    ) -> [UInt32]? {
        let stride = outputCount + 3
        let out = GuardedBuffer(poisoned: rowCount * stride - 3)
        for row in 0..<rowCount {
            for column in 0..<outputCount { out.start[row * stride + column] = Float(row - column) }
        }
        var arguments = DotBlockArguments(
            a: UnsafePointer(a.start), aStride: count, rowCount: rowCount, b: UnsafePointer(b.start), bStride: bStride,
            outputCount: outputCount, count: count, factor: 0.5, out: out.start, outStride: stride)
        kernel(&arguments)
        let values = out.values
        let isClean = values.indices.allSatisfy {
            $0 % stride < outputCount || values[$0].bitPattern == GuardedBuffer.poison.bitPattern
        }
        return isClean && out.isIntact ? values.map(\.bitPattern) : nil
    }

    @Test(
        "Any rows and outputs: the bits of the product with plain rows, and nothing beyond",
        arguments: InstructionSetLevel.available)
    func panels(level: InstructionSetLevel) throws {
        let kernels = level.kernels
        let unit = kernels.panelRows
        var random = RandomNumbers(seed: 5)
        for count in [32, 96, 1024] {
            for rowCount in [1, 2, 3, 4, 5, 6, 7, 8, 11, 13, 24] {
                for outputCount in [1, 3, 4, 7, 8, 9, 17] {
                    let a = GuardedBuffer(random.normals(rowCount * count))
                    let b = GuardedBuffer(random.normals(outputCount * count))
                    // What the last unit lacks is not a number.
                    let room = (outputCount + unit - 1) / unit * unit
                    let panel = GuardedBuffer([Float](repeating: .nan, count: room * (count + 16)))
                    var packing = PackArguments(
                        source: UnsafeRawPointer(b.start), stride: count * 4, rowsAreContiguous: false, firstNibble: 0,
                        rowCount: outputCount, count: count, scales: nil, scaleStride: 0, blockColumns: 1 << 40,
                        firstColumn: 0, isRaw: false, interleaves: false, out: panel.start, outStride: count + 16,
                        unitRows: unit)
                    kernels.packFloat32(&packing)
                    #expect(panel.isIntact)
                    let plain = try #require(
                        sums(
                            kernels.dotBlock, a, rowCount: rowCount, b, bStride: count, outputCount: outputCount,
                            count: count))
                    let found = sums(
                        kernels.dotPanel, a, rowCount: rowCount, panel, bStride: count + 16, outputCount: outputCount,
                        count: count)
                    #expect(found == plain, "\(rowCount) × \(outputCount) over \(count)")
                }
            }
        }
    }
}
