// SPDX-License-Identifier: MIT

import DeepGEMM
import LowPrecision
import Tensors
import TestSupport
import Testing

/// D of a product under test: poisoned, with gaps, in memory that ends at a guard page.
final class TestResult {
    let format: MatrixResult.Format
    let rows: Int
    let columns: Int
    let groups: Int
    let stride: Int
    let groupStride: Int
    private let memory: GuardedBuffer<UInt8>
    let scaleMemory: GuardedBuffer<UInt8>
    let scaleEncoding: ResultScales.Encoding
    private let blocks: Int
    static let poison: UInt8 = 0xA7

    init(
        _ format: MatrixResult.Format, rows: Int, columns: Int, groups: Int = 1, gap: Int = 3,
        scaleEncoding: ResultScales.Encoding = .float32
    ) {
        self.format = format
        self.rows = rows
        self.columns = columns
        self.groups = groups
        self.scaleEncoding = scaleEncoding
        stride = columns + gap
        groupStride = stride * rows + gap
        let count = rows > 0 && columns > 0 ? (groups - 1) * groupStride + (rows - 1) * stride + columns : 0
        memory = GuardedBuffer<UInt8>(count: max(count, 0) * format.byteCount, repeating: Self.poison)
        blocks = (columns + 127) / 128
        scaleMemory = GuardedBuffer<UInt8>(
            count: groups * rows * blocks * (scaleEncoding == .ue8m0 ? 1 : 4), repeating: Self.poison)
    }

    var result: MatrixResult {
        let scales = ResultScales(
            UnsafeMutableRawPointer(scaleMemory.start), scaleEncoding, rowStride: blocks, blockStride: 1,
            groupStride: rows * blocks)
        return MatrixResult(
            UnsafeMutableRawPointer(memory.start), format, stride: stride, groupStride: groupStride,
            scales: format == .float8E4M3 ? scales : nil)
    }

    /// Writes numbers everywhere, for accumulation; returns C.
    func fill(seed: UInt64) -> MatrixAddend {
        var random = RandomNumbers(seed: seed)
        for group in 0..<groups {
            for row in 0..<rows {
                for column in 0..<columns {
                    let offset = (group * groupStride + row * stride + column) * format.byteCount
                    let raw = UnsafeMutableRawPointer(memory.start)
                    if format == .float32 {
                        raw.storeBytes(of: random.normal(), toByteOffset: offset, as: Float.self)
                    } else {
                        raw.storeBytes(of: BFloat16(random.normal()).bitPattern, toByteOffset: offset, as: UInt16.self)
                    }
                }
            }
        }
        return MatrixAddend(accumulatingInto: result)
    }

    /// All bytes, for comparisons of bits.
    var bytes: [UInt8] { memory.values }

    /// The bytes of one row's numbers.
    func rowBytes(group: Int = 0, _ row: Int) -> [UInt8] {
        let start = (group * groupStride + row * stride) * format.byteCount
        return (start..<start + columns * format.byteCount).map { memory.start[$0] }
    }

    func value(group: Int, row: Int, column: Int) -> Float {
        let index = group * groupStride + row * stride + column
        let raw = UnsafeRawPointer(memory.start)
        switch format {
        case .float32: return raw.loadUnaligned(fromByteOffset: index * 4, as: Float.self)
        case .bfloat16:
            return Float(BFloat16(bitPattern: raw.loadUnaligned(fromByteOffset: index * 2, as: UInt16.self)))
        case .float8E4M3:
            let place = (group * rows + row) * blocks + column / 128
            let scale: Float =
                scaleEncoding == .ue8m0
                ? Float(UE8M0(bitPattern: scaleMemory.start[place]))
                : UnsafeRawPointer(scaleMemory.start).loadUnaligned(fromByteOffset: place * 4, as: Float.self)
            return Float(Float8E4M3(bitPattern: memory.start[index])) * scale
        }
    }

    /// Expects what the reference says within `limit` of `calcDiff`, and poison in all the rest.
    func expect(
        _ expected: ReferenceProduct, within limit: Double, isPoisoned: Bool = true, _ what: String,
        sourceLocation: SourceLocation = #_sourceLocation
    ) {
        var found: [Float] = []
        var wanted: [Float] = []
        var touched = Set<Int>()
        for (group, matrix) in expected.enumerated() {
            for (row, numbers) in matrix.enumerated() {
                for (column, number) in numbers.enumerated() {
                    guard let number else { continue }
                    found.append(value(group: group, row: row, column: column))
                    wanted.append(Float(number))
                    let start = (group * groupStride + row * stride + column) * format.byteCount
                    touched.formUnion(start..<start + format.byteCount)
                }
            }
        }
        let difference = calcDiff(found, wanted)
        #expect(difference < limit, "\(what): \(difference)", sourceLocation: sourceLocation)
        #expect(memory.isIntact && scaleMemory.isIntact, "\(what)", sourceLocation: sourceLocation)
        guard isPoisoned else { return }
        let spoiled = (0..<memory.count).first { !touched.contains($0) && memory.start[$0] != Self.poison }
        #expect(spoiled == nil, "\(what): byte \(spoiled ?? 0) was written", sourceLocation: sourceLocation)
    }
}
