// SPDX-License-Identifier: MIT
// SAFETY: In this file operands point into buffers that the value holds, and buffers are written inside their bounds.

internal import CUDA
internal import KernelDispatch
internal import LowPrecision
internal import Platform
internal import Tensors

/// Random matrices, as BF16 and quantised, on the host and for the device.
struct CheckOperand {
    private let rows: Int
    private let columns: Int
    private let groups: Int
    private let element: CUDAGemmConfiguration.Element
    private let blockRows: Int
    private let values: AlignedBuffer<UInt16>
    /// Codes of all groups, and scales [groups, row blocks, column blocks].
    private let codes: AlignedBuffer<UInt8>
    private let scales: AlignedBuffer<Float>

    private var rowBlocks: Int { (rows + blockRows - 1) / blockRows }
    private var columnBlocks: Int { (columns + 127) / 128 }
    /// Elements from one row to the next on the device: rows begin at multiples of 16 bytes.
    private var deviceStride: Int { max(16, (columns + 15) / 16 * 16) }

    init(
        rows: Int, columns: Int, groups: Int, element: CUDAGemmConfiguration.Element, blockRows: Int, seed: UInt64,
        _ compute: ComputeContext
    ) throws(FathomError) {
        (self.rows, self.columns, self.groups) = (rows, columns, groups)
        (self.element, self.blockRows) = (element, blockRows)
        let count = groups * rows * columns
        values = try AlignedBuffer(count: max(1, count), purpose: "random numbers")
        var state = seed &* 0x9E37_79B9_7F4A_7C15 | 1
        for index in 0..<count {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            // A sum of four uniform numbers is near enough to normal.
            let bits = state >> 16
            let sum = (bits & 0xFFF) + (bits >> 12 & 0xFFF) + (bits >> 24 & 0xFFF) + (bits >> 36 & 0xFFF)
            values.baseAddress[index] = BFloat16((Float(sum) - 8190) / 2048).bitPattern
        }
        let isQuantized = element == .float8E4M3
        codes = try AlignedBuffer(count: max(1, isQuantized ? count : 0), purpose: "codes")
        scales = try AlignedBuffer(
            count: max(1, isQuantized ? groups * ((rows + blockRows - 1) / blockRows) * ((columns + 127) / 128) : 0),
            purpose: "scales")
        guard isQuantized, count > 0 else { return }
        for group in 0..<groups {
            let part = try FloatRows(
                UnsafeRawPointer(values.baseAddress + group * rows * columns), element: .bfloat16, rowCount: rows,
                columnCount: columns)
            let quantized = try quantizeFloat8(
                part, granularity: ScaleGranularity(rows: blockRows, columns: 128), on: compute)
            (codes.baseAddress + group * rows * columns).update(
                from: quantized.codes.baseAddress, count: rows * columns)
            let perGroup = quantized.scales.values.count
            (scales.baseAddress + group * perGroup).update(
                from: quantized.scales.values.baseAddress, count: perGroup)
        }
    }

    /// The numbers before quantisation.
    var plain: MatrixOperand {
        MatrixOperand(
            UnsafeRawPointer(values.baseAddress), .bfloat16, rowCount: rows, columnCount: columns, groupCount: groups)
    }

    /// What the device multiplies.
    var quantized: MatrixOperand {
        guard element == .float8E4M3 else { return plain }
        return MatrixOperand(
            UnsafeRawPointer(codes.baseAddress), .float8E4M3, rowCount: rows, columnCount: columns,
            groupCount: groups,
            scales: BlockScales(
                UnsafePointer(scales.baseAddress), granularity: ScaleGranularity(rows: blockRows, columns: 128),
                rowStride: columnBlocks, blockStride: 1, groupStride: rowBlocks * columnBlocks))
    }

    /// Copies in the device's layout. They live as long as the result.
    func upload(to context: DeviceContext) throws(FathomError) -> DeviceCopies {
        let size = element.byteCount
        let source = UnsafeRawPointer(
            size == 1 ? UnsafeRawPointer(codes.baseAddress) : UnsafeRawPointer(values.baseAddress))
        let rowBytes = deviceStride * size
        let total = max(16, groups * rows * rowBytes)
        let staging = try AlignedBuffer<UInt8>(count: total, purpose: "a copy for the device")
        // What lies behind a row must not matter: all ones is a not-a-number in FP8 and in BF16.
        for index in 0..<total { staging.baseAddress[index] = 0xFF }
        let target = UnsafeMutableRawPointer(staging.baseAddress)
        for row in 0..<groups * rows {
            (target + row * rowBytes).copyMemory(from: source + row * columns * size, byteCount: columns * size)
        }
        let memory = try DeviceMemory(byteCount: total, context: context)
        try memory.copy(from: UnsafeRawBufferPointer(start: staging.baseAddress, count: total))
        let transposed =
            element == .float8E4M3
            ? DeviceScales.values(
                rowMajor: UnsafeBufferPointer(start: scales.baseAddress, count: scales.count), groups: groups,
                rowBlocks: rowBlocks, columnBlocks: columnBlocks) : []
        let scaleMemory = try DeviceMemory(transposed.isEmpty ? [0] : transposed, context: context)
        return DeviceCopies(codes: memory, scales: scaleMemory)
    }

    /// The operand on the device.
    func operand(codes: UInt64, scales: UInt64) -> DeviceOperand {
        let stride = DeviceScales.blockStride(rowBlocks: rowBlocks)
        return DeviceOperand(
            codes, element == .float8E4M3 ? .float8E4M3 : .bfloat16, rowCount: rows, columnCount: columns,
            stride: deviceStride, groupCount: groups,
            scales: element == .float8E4M3
                ? DeviceScales(scales, rows: blockRows, blockStride: stride, groupStride: stride * columnBlocks) : nil)
    }
}

/// An operand's memory on the device.
struct DeviceCopies: ~Copyable {
    let codes: DeviceMemory
    let scales: DeviceMemory
}
