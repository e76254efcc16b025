// SPDX-License-Identifier: MIT
// SAFETY: In this file operands for the CPU point into buffers that live until the call has returned.

internal import CUDA
public import KernelDispatch
internal import LowPrecision
public import Platform
internal import Tensors

extension DeviceGemmCase {
    /// A bit pattern that is a not-a-number in float32 and in bfloat16.
    private static var poison: UInt32 { 0x7FC0_7FC0 }
    /// Columns of D behind the product's that nobody may write.
    private static var gap: Int { 8 }
    /// Rows at the start and at the end of a product that are compared.
    private static var sampledRows: Int { 96 }

    /// Matrices of A, and rows of each of them.
    private var slices: Int { shape.grouping == .masked ? counts.count : 1 }
    private var rows: Int { shape.grouping == .masked ? room : shape.m }

    /// The group of each row of A, −1 for padding.
    private var ids: [Int32] {
        var ids: [Int32] = []
        for (group, count) in counts.enumerated() {
            ids += [Int32](repeating: Int32(group), count: count)
            let padding = (count + shape.alignment - 1) / shape.alignment * shape.alignment - count
            ids += [Int32](repeating: -1, count: padding)
        }
        return ids
    }

    /// Runs the product twice on random numbers and compares.
    public func run(
        on device: GemmDevice, checkedBy compute: ComputeContext, seed: UInt64
    ) throws(FathomError) -> DeviceGemmCheck {
        let left = try CheckOperand(
            rows: rows, columns: shape.k, groups: slices, element: shape.element, blockRows: 1, seed: seed, compute)
        let right = try CheckOperand(
            rows: shape.n, columns: shape.k, groups: shape.groups, element: shape.element, blockRows: 128,
            seed: seed &+ 1, compute)
        let first = try product(left, right, on: device)
        let second = try product(left, right, on: device)
        var failures = first == second ? [] : ["two runs differ"]
        let values = decoded(first)
        failures += checkUntouched(first, values)
        let exact = try reference(left.quantized, right.quantized, compute, values)
        let plain = try reference(left.plain, right.plain, compute, values)
        if !(exact <= exactLimit) { failures.append("\(exact) from the CPU's product; \(exactLimit) is allowed") }
        if !(plain <= limit) { failures.append("\(plain) from the unquantised product; \(limit) is allowed") }
        let c = device.plan(shape, multiprocessorLimit: multiprocessorLimit).configuration
        return DeviceGemmCheck(
            test: self, kernel: c.summary, exactDifference: exact, difference: plain, failures: failures)
    }

    // MARK: The device's product

    private var stride: Int { (shape.n + 7) / 8 * 8 + Self.gap }
    private var valueBytes: Int { shape.output.byteCount }

    /// The bytes of D, poisoned before; what an accumulating product adds to is 1.
    private func product(
        _ left: CheckOperand, _ right: CheckOperand, on device: GemmDevice
    ) throws(FathomError) -> [UInt32] {
        let context = device.library.context
        let a = try left.upload(to: context)
        let b = try right.upload(to: context)
        let words = slices * rows * stride * valueBytes / 4
        let memory = try DeviceMemory(byteCount: max(4, words * 4), context: context)
        let accumulates = shape.output == .accumulatingFloat32
        try memory.fill(words: accumulates ? Float(1).bitPattern : Self.poison, on: device.stream)
        let rowNumbers = shape.grouping == .masked ? counts.map(Int32.init) : ids
        let rowMemory = try DeviceMemory(rowNumbers.isEmpty ? [0] : rowNumbers, context: context)
        let groups: DeviceGroupLayout? =
            switch shape.grouping {
            case .none: nil
            case .ids: .ids(rowMemory.address, alignment: shape.alignment)
            case .masked: .masked(rowMemory.address, expected: shape.m)
            }
        let d = DeviceResult(
            memory.address, shape.output == .bfloat16 ? .bfloat16 : .float32, stride: stride,
            groupStride: rows * stride)
        try gemm(
            left.operand(codes: a.codes.address, scales: a.scales.address),
            right.operand(codes: b.codes.address, scales: b.scales.address), groups: groups,
            adding: accumulates ? d : nil, into: d, multiprocessorLimit: multiprocessorLimit, on: device)
        try device.stream.synchronize()
        return try memory.values(count: words)
    }

    /// D as float32, row after row with its gap.
    private func decoded(_ words: [UInt32]) -> [Float] {
        guard valueBytes == 2 else { return words.map(Float.init(bitPattern:)) }
        return words.flatMap { [Float(bitPattern: $0 << 16), Float(bitPattern: $0 & 0xFFFF_0000)] }
    }

    /// Columns behind the product keep what they held; rows of padding become zero.
    private func checkUntouched(_ words: [UInt32], _ values: [Float]) -> [String] {
        let untouched =
            shape.output == .accumulatingFloat32
            ? Float(1).bitPattern : shape.output == .float32 ? Self.poison : 0x7FC0_0000
        var failures: [String] = []
        for row in 0..<slices * rows where failures.count < 4 {
            for column in shape.n..<stride where values[row * stride + column].bitPattern != untouched {
                failures.append("row \(row), column \(column) behind the product was written")
                break
            }
        }
        guard shape.grouping == .ids else { return failures }
        for (row, id) in ids.enumerated() where id < 0 && failures.count < 4 {
            if (0..<shape.n).contains(where: { values[row * stride + $0] != 0 }) {
                failures.append("row \(row) is padding and not zero")
            }
        }
        return failures
    }

    // MARK: The CPU's product

    /// Runs of rows with one matrix of A and one of B: the first and last ones of each group.
    private var runs: [(slice: Int, group: Int, rows: Range<Int>)] {
        func ends(_ slice: Int, _ group: Int, _ rows: Range<Int>) -> [(slice: Int, group: Int, rows: Range<Int>)] {
            guard rows.count > 2 * Self.sampledRows else { return rows.isEmpty ? [] : [(slice, group, rows)] }
            return [
                (slice, group, rows.prefix(Self.sampledRows)), (slice, group, rows.suffix(Self.sampledRows)),
            ]
        }
        switch shape.grouping {
        case .none: return ends(0, 0, 0..<rows)
        case .masked: return counts.enumerated().flatMap { ends($0.offset, $0.offset, 0..<$0.element) }
        case .ids:
            var start = 0
            return counts.enumerated().flatMap { group, count in
                defer { start += (count + shape.alignment - 1) / shape.alignment * shape.alignment }
                return ends(0, group, start..<start + count)
            }
        }
    }

    /// `calcDiff` of the sampled rows to their product on the CPU.
    private func reference(
        _ left: MatrixOperand, _ right: MatrixOperand, _ compute: ComputeContext, _ values: [Float]
    ) throws(FathomError) -> Double {
        var expected: [Float] = []
        var found: [Float] = []
        for run in runs {
            let out = try AlignedBuffer<Float>(count: run.rows.count * shape.n, purpose: "the CPU's product")
            let a = left.part(group: run.slice, rows: run.rows)
            let b = right.part(group: run.group, rows: 0..<shape.n)
            try gemm(a, b, into: MatrixResult(out.baseAddress, stride: shape.n), on: compute)
            let base: Float = shape.output == .accumulatingFloat32 ? 1 : 0
            for (index, row) in run.rows.enumerated() {
                let start = (run.slice * rows + row) * stride
                found += values[start..<start + shape.n]
                for column in 0..<shape.n { expected.append(out.baseAddress[index * shape.n + column] + base) }
            }
        }
        return calcDiff(expected, found)
    }
}

extension MatrixOperand {
    /// Rows of one of the matrices, as a matrix of its own. `rows` starts at a multiple of the scales' rows.
    fileprivate func part(group: Int, rows: Range<Int>) -> MatrixOperand {
        var part = self
        part.baseAddress += (group * groupStride + rows.lowerBound * stride) * format.bitCount / 8
        part.rowCount = rows.count
        part.groupCount = 1
        if let scales {
            part.scales?.baseAddress +=
                (group * scales.groupStride + rows.lowerBound / scales.granularity.rows * scales.rowStride)
                * scales.unitByteCount
        }
        return part
    }
}

extension CUDAGemmConfiguration {
    /// In a few words, such as `256×128, 4 stages, pairs share A`.
    public var summary: String {
        "\(blockRows)×\(blockColumns), \(stages) stages" + (cluster == 1 ? "" : ", pairs share \(sharesA ? "A" : "B")")
            + (splits == 1 ? "" : ", K in \(splits)")
    }
}
