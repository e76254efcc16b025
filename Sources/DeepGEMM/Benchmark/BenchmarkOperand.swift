// SPDX-License-Identifier: MIT

internal import Platform
internal import Tensors

/// A random operand, several times over.
struct BenchmarkOperand {
    private let format: MatrixOperand.Format
    private let order: MatrixOperand.Order
    private let rows: Int
    private let columns: Int
    private let groups: Int
    private let values: AlignedBuffer<UInt64>
    private let scales: AlignedBuffer<Float>?
    private let granularity: ScaleGranularity?
    private let encoding: BlockScales.Encoding
    /// Bytes of one copy, scales included.
    let byteCount: Int

    /// - Parameter microscaled: whether FP8 has a UE8M0 scale for 32 numbers instead of the usual ones.
    init(
        _ format: MatrixOperand.Format, _ order: MatrixOperand.Order, rows: Int, columns: Int, groups: Int, isB: Bool,
        copies: Int, microscaled: Bool = false
    ) throws(FathomError) {
        self.format = format
        self.order = order
        // FP4 lies in whole bytes.
        let extra = format == .float4E2M1 ? 1 : 0
        self.rows = rows + (order == .mnMajor ? rows & extra : 0)
        self.columns = columns + (order == .kMajor ? columns & extra : 0)
        self.groups = groups
        let bytes = groups * self.rows * self.columns * format.bitCount / 8
        values = try AlignedBuffer(count: (bytes * copies + 7) / 8, purpose: "a benchmark operand")
        // Finite numbers of magnitude ½…1 (FP4: any).
        let (mask, base): (UInt64, UInt64) =
            switch format {
            case .float32: (0x807F_FFFF_807F_FFFF, 0x3F00_0000_3F00_0000)
            case .bfloat16: (0x807F_807F_807F_807F, 0x3F00_3F00_3F00_3F00)
            case .float16: (0x83FF_83FF_83FF_83FF, 0x3800_3800_3800_3800)
            case .float8E4M3: (0x8787_8787_8787_8787, 0x3030_3030_3030_3030)
            case .float4E2M1: (.max, 0)
            }
        var state: UInt64 = isB ? 1 : 2
        for index in 0..<values.count {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            // SAFETY: inside the buffer.
            values.baseAddress[index] = (state ^ state >> 29) & mask | base
        }
        encoding = microscaled ? .ue8m0 : .float32
        granularity =
            switch format {
            case .float32, .bfloat16, .float16: nil
            case .float8E4M3: microscaled ? .perToken(32) : isB ? .perBlock() : .perToken()
            case .float4E2M1: .perToken(32)
            }
        if let granularity {
            let grid = granularity.grid(rowCount: rows, columnCount: columns)
            scales = try AlignedBuffer(count: groups * grid.rows * grid.columns, purpose: "benchmark scales")
        } else {
            scales = nil
        }
        byteCount = bytes + (scales?.count ?? 0) * 4
        // SAFETY: inside the buffer; four UE8M0 bytes are as long as a float.
        let scale = microscaled ? Float(bitPattern: 0x7B7B_7B7B) : 0.0625
        for index in 0..<(scales?.count ?? 0) { scales?.baseAddress[index] = scale }
    }

    func operand(copy: Int) -> MatrixOperand {
        let bytes = groups * rows * columns * format.bitCount / 8
        // SAFETY: a whole copy lies there, and the buffers live as long as the benchmark.
        var operand = MatrixOperand(
            UnsafeRawPointer(values.baseAddress) + copy * bytes, format, rowCount: rows, columnCount: columns,
            order: order, groupCount: groups)
        if let scales, let granularity {
            let grid = granularity.grid(rowCount: rows, columnCount: columns)
            // SAFETY: made for this grid above.
            operand.scales = BlockScales(
                UnsafeRawPointer(scales.baseAddress), encoding: encoding, granularity: granularity,
                rowStride: grid.columns, blockStride: 1, groupStride: grid.rows * grid.columns)
        }
        return operand
    }
}
