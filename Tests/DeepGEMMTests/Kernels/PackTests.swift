// SPDX-License-Identifier: MIT

import DeepGEMM
import KernelDispatch
import Kernels
import LowPrecision
import TestSupport
import Testing

@Suite("Packing kernels")
struct PackTests {
    typealias Format = MatrixOperand.Format

    private func kernel(_ format: Format, _ kernels: KernelTable) -> @Sendable (UnsafePointer<PackArguments>) -> Void {
        switch format {
        case .float32: kernels.packFloat32
        case .bfloat16: kernels.packBFloat16
        case .float16: kernels.packFloat16
        case .float8E4M3: kernels.packFloat8E4M3
        case .float4E2M1: kernels.packFloat4E2M1
        }
    }

    /// The place of element i of a group of 32 in FP8's order.
    private func place(_ k: Int) -> Int { k / 32 * 32 + k % 4 * 8 + k % 32 / 4 }

    @Test(
        "Every format, order and tail: the number times its scale, in order, zeros up to a group, nothing beyond",
        arguments: Format.allCases, InstructionSetLevel.available)
    func blocks(format: Format, level: InstructionSetLevel) {
        for (rows, count) in [(1, 1), (3, 31), (8, 8), (9, 32), (17, 77), (12, 160)] {
            for order in MatrixOperand.Order.allCases {
                let source = TestOperand(format, rows: rows, columns: count, order: order, seed: UInt64(rows))
                let values = source.operand.referenceMatrix()
                for (interleaves, blockColumns, unit) in [
                    (false, 0, 1), (false, 40, 1), (true, 0, 1), (true, 32, 1), (true, 24, 1), (false, 40, 4),
                    (false, 0, 8), (true, 32, 8), (true, 24, 4),
                ] {
                    let blocks = blockColumns > 0 ? (count + blockColumns + 7) / blockColumns + 1 : 1
                    var random = RandomNumbers(seed: 9)
                    let scales = GuardedBuffer(random.normals(rows * blocks))
                    // The first element lies inside its block.
                    let first = blockColumns == 40 ? 8 : 0
                    let padded = (count + 31) / 32 * 32
                    let stride = padded + 5
                    let room = (rows + unit - 1) / unit * unit
                    let out = GuardedBuffer(poisoned: (room - unit) * stride + unit * padded)
                    var arguments = PackArguments(
                        source: source.operand.baseAddress, stride: source.operand.stride * format.bitCount / 8,
                        rowsAreContiguous: order == .mnMajor, firstNibble: 0, rowCount: rows, count: count,
                        scales: blockColumns > 0 ? UnsafePointer(scales.start) : nil, scaleStride: blocks,
                        blockColumns: blockColumns > 0 ? blockColumns : 1 << 40, firstColumn: first, isRaw: false,
                        interleaves: interleaves, out: out.start, outStride: stride, unitRows: unit)
                    kernel(format, level.kernels)(&arguments)
                    for row in 0..<room {
                        for k in 0..<(unit == 1 ? stride : padded) where row * stride + k < out.count {
                            let index = interleaves && k < padded ? place(k) : k
                            let found =
                                unit == 1
                                ? out.start[row * stride + index]
                                : out.start[
                                    row / unit * unit * stride + index / 8 * 8 * unit + row % unit * 8 + index % 8]
                            let expected: Float
                            if k >= padded || row >= rows {
                                expected = GuardedBuffer<Float>.poison
                            } else if k >= count {
                                expected = 0
                            } else {
                                let scale =
                                    blockColumns > 0 ? scales.start[row * blocks + (first + k) / blockColumns] : 1
                                expected = Float(values[row][k]) * scale
                            }
                            if found.bitPattern != expected.bitPattern {
                                Issue.record(
                                    "\(order) \(interleaves) \(blockColumns): (\(row), \(k)): \(found), \(expected)"
                                )
                                return
                            }
                        }
                    }
                    #expect(out.isIntact)
                }
            }
        }
    }

    @Test("FP4 rows may begin in the upper half of a byte", arguments: InstructionSetLevel.available)
    func oddRows(level: InstructionSetLevel) {
        let source = TestOperand(.float4E2M1, rows: 23, columns: 11, order: .mnMajor, seed: 4)
        let values = source.operand.referenceMatrix()
        for first in 0..<9 {
            let out = GuardedBuffer(poisoned: (23 - first) * 32)
            var arguments = PackArguments(
                source: source.operand.baseAddress + first / 2, stride: source.operand.stride / 2,
                rowsAreContiguous: true, firstNibble: first % 2, rowCount: 23 - first, count: 11, scales: nil,
                scaleStride: 0, blockColumns: 1 << 40, firstColumn: 0, isRaw: false, interleaves: false, out: out.start,
                outStride: 32)
            level.kernels.packFloat4E2M1(&arguments)
            for row in 0..<23 - first {
                #expect((0..<11).map { Double(out.start[row * 32 + $0]) } == values[first + row], "from \(first)")
            }
        }
    }
}
