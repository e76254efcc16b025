// SPDX-License-Identifier: MIT

import DeepGEMM
import LowPrecision
import TestSupport

/// How the scales of a test operand lie.
enum ScaleStyle: String, CaseIterable, Sendable {
    /// Float32, K blocks next to each other, with a gap behind each row.
    case rowMajor
    /// Float32, rows next to each other, K blocks a multiple of four apart.
    case mnMajor
    /// UE8M0 bytes, K blocks next to each other.
    case bytes
    /// UE8M0 bytes, four K blocks in a word, words of neighbouring rows next to each other.
    case packed

    var isPowerOfTwo: Bool { self == .bytes || self == .packed }
}

/// A random operand in any format, order and layout of scales, in memory that ends at a guard page. What lies in gaps
/// is NaN, or the largest code of formats without one.
final class TestOperand {
    /// [group][row][k] before rounding.
    let original: [[[Float]]]
    let operand: MatrixOperand
    private let memory: GuardedBuffer<UInt8>
    private let scaleMemory: GuardedBuffer<UInt8>?

    /// - Parameters:
    ///   - kGroups: sizes of the groups of K, whose blocks of scales begin anew; nil for one.
    init(
        _ format: MatrixOperand.Format, rows: Int, columns: Int, order: MatrixOperand.Order = .kMajor,
        gap: Int = 0, groups: Int = 1, granularity: ScaleGranularity? = nil, style: ScaleStyle = .rowMajor,
        kGroups: [Int]? = nil, storage: GroupLayout.DepthStorage = .oneMatrix, seed: UInt64
    ) {
        var random = RandomNumbers(seed: seed)
        let original = (0..<groups).map { _ in (0..<rows).map { _ in random.normals(columns) } }
        self.original = original
        var operand = MatrixOperand(
            UnsafeRawPointer(bitPattern: 16)!, format, rowCount: rows, columnCount: columns, order: order,
            groupCount: groups)
        operand.stride += format == .float4E2M1 ? gap * 2 : gap
        let outer = order == .kMajor ? rows : columns
        operand.groupStride = operand.stride * outer + (groups > 1 ? gap * 2 : 0)
        let grid = granularity.map {
            ScaleWriter(format, rows, columns, groups, $0, style, kGroups: kGroups ?? [columns], original)
        }
        let inner = order == .kMajor ? columns : rows
        let count =
            rows > 0 && columns > 0 ? (groups - 1) * operand.groupStride + (outer - 1) * operand.stride + inner : 0
        let bytes = (count * format.bitCount + 7) / 8
        let memory = GuardedBuffer<UInt8>(count: bytes, repeating: 0xFF)
        for group in 0..<groups {
            for row in 0..<rows {
                for k in 0..<columns {
                    var (i, o) = order == .kMajor ? (k, row) : (row, k)
                    var index = group * operand.groupStride + o * operand.stride + i
                    if storage == .blocks, let kGroups {
                        (i, o) = Self.place(k, in: kGroups)
                        index = kGroups[..<o].reduce(0, +) * rows + row * kGroups[o] + i
                    }
                    let scale = grid?.scale(group, row, k) ?? 1
                    Self.store(original[group][row][k] / scale, format, index, memory.start)
                }
            }
        }
        self.memory = memory
        operand.baseAddress = UnsafeRawPointer(memory.start)
        scaleMemory = grid.map { GuardedBuffer<UInt8>($0.bytes, filler: 0) }
        if let grid, let scaleMemory {
            operand.scales = grid.scales(at: UnsafeRawPointer(scaleMemory.start))
        }
        self.operand = operand
    }

    /// The place of a K index in its group, and the group.
    static func place(_ k: Int, in kGroups: [Int]) -> (k: Int, group: Int) {
        var k = k
        for (group, count) in kGroups.enumerated() {
            if k < count { return (k, group) }
            k -= count
        }
        return (k, kGroups.count)
    }

    private static func store(
        _ value: Float, _ format: MatrixOperand.Format, _ index: Int, _ out: UnsafeMutablePointer<UInt8>
    ) {
        let raw = UnsafeMutableRawPointer(out)
        switch format {
        case .float32: raw.storeBytes(of: value, toByteOffset: index * 4, as: Float.self)
        case .bfloat16: raw.storeBytes(of: BFloat16(value).bitPattern, toByteOffset: index * 2, as: UInt16.self)
        case .float16: raw.storeBytes(of: value.float16Bits, toByteOffset: index * 2, as: UInt16.self)
        case .float8E4M3: out[index] = Float8E4M3(value).bitPattern
        case .float4E2M1:
            let code = Float4E2M1(value).bitPattern
            out[index / 2] = index % 2 == 0 ? out[index / 2] & 0xF0 | code : out[index / 2] & 0x0F | code << 4
        }
    }
}

/// The scales of a test operand and how they lie.
private struct ScaleWriter {
    var granularity: ScaleGranularity
    var style: ScaleStyle
    var rowBlocks: Int
    /// First K block of each group of K, in the layout's count, and the total.
    var firstBlocks: [Int] = []
    var blockCount = 0
    var kGroups: [Int]
    var rowStride: Int
    var blockStride: Int
    var groupStride: Int
    /// [group][row block][K block]
    var values: [[[Float]]] = []
    var bytes: [UInt8] = []

    init(
        _ format: MatrixOperand.Format, _ rows: Int, _ columns: Int, _ groups: Int, _ granularity: ScaleGranularity,
        _ style: ScaleStyle, kGroups: [Int], _ original: [[[Float]]]
    ) {
        self.granularity = granularity
        self.style = style
        self.kGroups = kGroups
        rowBlocks = (rows + granularity.rows - 1) / granularity.rows
        for count in kGroups {
            firstBlocks.append(blockCount)
            let blocks = (count + granularity.columns - 1) / granularity.columns
            blockCount += style == .packed ? (blocks + 3) / 4 * 4 : blocks
        }
        switch style {
        case .rowMajor: (rowStride, blockStride) = (blockCount + 1, 1)
        case .mnMajor: (rowStride, blockStride) = (1, (rowBlocks + 3) / 4 * 4)
        case .bytes: (rowStride, blockStride) = (blockCount, 1)
        case .packed: (rowStride, blockStride) = (1, (rowBlocks + 3) / 4 * 4)
        }
        groupStride = max(rowBlocks * rowStride, (style == .packed ? blockCount / 4 : blockCount) * blockStride)
        let largest: Float = format == .float8E4M3 ? 448 : 6
        values = [[[Float]]](
            repeating: [[Float]](repeating: [Float](repeating: 1e-4 / largest, count: blockCount), count: rowBlocks),
            count: groups)
        for group in 0..<groups {
            for row in 0..<rows {
                for k in 0..<columns {
                    let block = block(k)
                    values[group][row / granularity.rows][block] = max(
                        values[group][row / granularity.rows][block], abs(original[group][row][k]) / largest)
                }
            }
        }
        if style.isPowerOfTwo {
            values = values.map { $0.map { $0.map { Float(UE8M0(clampingUp: $0)) } } }
        }
        write()
    }

    func block(_ k: Int) -> Int {
        let place = TestOperand.place(k, in: kGroups)
        return firstBlocks[place.group] + place.k / granularity.columns
    }

    func scale(_ group: Int, _ row: Int, _ k: Int) -> Float { values[group][row / granularity.rows][block(k)] }

    private mutating func write() {
        let unit = style == .bytes ? 1 : 4
        bytes = [UInt8](repeating: 0xFF, count: max(values.count * groupStride * unit, 1))
        for group in values.indices {
            for row in 0..<rowBlocks {
                for block in 0..<blockCount {
                    let value = values[group][row][block]
                    let start = group * groupStride + row * rowStride
                    switch style {
                    case .rowMajor, .mnMajor:
                        let bits = value.bitPattern
                        for byte in 0..<4 {
                            bytes[(start + block * blockStride) * 4 + byte] = UInt8(
                                truncatingIfNeeded: bits >> (8 * UInt32(byte)))
                        }
                    case .bytes: bytes[start + block * blockStride] = UE8M0(clampingUp: value).bitPattern
                    case .packed:
                        bytes[(start + block / 4 * blockStride) * 4 + block % 4] = UE8M0(clampingUp: value).bitPattern
                    }
                }
            }
        }
    }

    func scales(at address: UnsafeRawPointer) -> BlockScales {
        let encoding: BlockScales.Encoding =
            switch style {
            case .rowMajor, .mnMajor: .float32
            case .bytes: .ue8m0
            case .packed: .packedUE8M0
            }
        return BlockScales(
            address, encoding: encoding, granularity: granularity, rowStride: rowStride, blockStride: blockStride,
            groupStride: groupStride)
    }
}
