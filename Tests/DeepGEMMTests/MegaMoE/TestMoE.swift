// SPDX-License-Identifier: MIT

import DeepGEMM
import KernelDispatch
import Kernels
import LowPrecision
import Platform
import Tensors
import TestSupport

/// A random layer of experts, its tokens and their choices.
final class TestMoE {
    /// What the numbers are stored as, by the names of the original's forms.
    enum Form: String, CaseIterable, Sendable {
        /// FP8 tokens and weights, a UE8M0 scale for 32 neighbours.
        case float8
        /// FP8 tokens, FP4 weights.
        case float4
        case bfloat16
        /// FP8 as V3 has it: tokens scaled 1×128, weights 128×128, floats.
        case blocks

        var token: MatrixOperand.Format { self == .bfloat16 ? .bfloat16 : .float8E4M3 }
        var weight: MatrixOperand.Format {
            switch self {
            case .float8, .blocks: .float8E4M3
            case .float4: .float4E2M1
            case .bfloat16: .bfloat16
            }
        }
    }

    let x: TestOperand
    let gateUp: TestOperand
    let down: TestOperand
    let sharedGateUp: TestOperand?
    let sharedDown: TestOperand?
    let topK: Int
    let experts: GuardedBuffer<Int32>
    let weights: GuardedBuffer<Float>

    /// - Parameters:
    ///   - seed: of tokens and choices; the weights of a layer are always the same.
    init(
        _ form: Form, tokens: Int, experts expertCount: Int, topK: Int, hidden: Int, intermediate: Int,
        shared: Int = 0, seed: UInt64 = 1
    ) {
        var random = RandomNumbers(seed: seed)
        self.topK = topK
        let style: ScaleStyle = form == .blocks ? .rowMajor : .bytes
        let tokenScales: ScaleGranularity? =
            form == .bfloat16 ? nil : .perToken(form == .blocks ? 128 : 32)
        let weightScales: ScaleGranularity? =
            form == .bfloat16 ? nil : form == .blocks ? .perBlock() : .perToken(32)
        func matrices(_ rows: Int, _ columns: Int, _ groups: Int, _ seed: UInt64) -> TestOperand {
            TestOperand(
                form.weight, rows: rows, columns: columns, groups: groups, granularity: weightScales, style: style,
                seed: seed)
        }
        x = TestOperand(
            form.token, rows: tokens, columns: hidden, gap: 2, granularity: tokenScales, style: style, seed: seed + 50)
        gateUp = matrices(2 * intermediate, hidden, expertCount, 3)
        down = matrices(hidden, intermediate, expertCount, 4)
        sharedGateUp = shared > 0 ? matrices(2 * intermediate, hidden, shared, 5) : nil
        sharedDown = shared > 0 ? matrices(hidden, intermediate, shared, 6) : nil
        // The first expert is the favourite; one token in seven has no expert, and one slot in five is empty.
        let ids = (0..<tokens * topK).map { choice -> Int32 in
            if choice / topK % 7 == 3 || random.number(below: 5) == 0 { return -1 }
            return random.number(below: 3) == 0 ? 0 : Int32(random.number(below: expertCount))
        }
        experts = GuardedBuffer(ids, filler: 0)
        weights = GuardedBuffer(ids.map { $0 < 0 ? .nan : 0.1 + abs(random.normal()) })
    }

    var choices: MegaMoEChoices {
        MegaMoEChoices(
            tokenCount: x.operand.rowCount, topK: topK, experts: UnsafePointer(experts.start),
            weights: UnsafePointer(weights.start))
    }

    var layer: MegaMoEWeights { MegaMoEWeights(gateUp: gateUp.operand, down: down.operand) }

    var shared: MegaMoEWeights? {
        guard let sharedGateUp, let sharedDown else { return nil }
        return MegaMoEWeights(gateUp: sharedGateUp.operand, down: sharedDown.operand)
    }

    /// What `megaMoE` makes, in poisoned memory.
    func fused(
        _ options: MegaMoEOptions = MegaMoEOptions(), workspace: MegaMoEWorkspace? = nil, on context: ComputeContext
    ) throws(FathomError) -> (y: TestResult, counts: [Int]) {
        let y = TestResult(.bfloat16, rows: x.operand.rowCount, columns: layer.hidden)
        let counts = try megaMoE(
            x.operand, choices, layer, shared: shared, into: y.result, options: options, workspace: workspace,
            on: context)
        return (y, counts)
    }

    /// The rows of each expert in turn, of the routed ones and then the shared ones.
    private func rows(of expertCount: Int) -> [(token: Int, slot: Int, expert: Int, weight: Float)] {
        var rows: [(token: Int, slot: Int, expert: Int, weight: Float)] = []
        for token in 0..<choices.tokenCount {
            for slot in 0..<topK where experts.start[token * topK + slot] >= 0 {
                let choice = token * topK + slot
                rows.append((token, slot, Int(experts.start[choice]), weights.start[choice]))
            }
            for slot in 0..<(shared?.expertCount ?? 0) { rows.append((token, topK + slot, expertCount + slot, 1)) }
        }
        return rows.sorted { ($0.expert, $0.token, $0.slot) < ($1.expert, $1.token, $1.slot) }
    }

    /// The same made of the library's public parts, one after the other: [tokens][hidden] bits.
    func unfused(
        _ options: MegaMoEOptions = MegaMoEOptions(), form: MegaMoEOptions.Intermediate, on context: ComputeContext
    ) throws(FathomError) -> [[UInt16]] {
        let (hidden, intermediate) = (layer.hidden, layer.intermediate)
        let rows = rows(of: layer.expertCount)
        let u = TestResult(.bfloat16, rows: rows.count, columns: 2 * intermediate, gap: 0)
        let sources = GuardedBuffer(rows.map { Int64($0.token) }, filler: 0)
        let routed = rows.count { $0.expert < layer.expertCount }
        let ids = GuardedBuffer(
            rows.map { Int32($0.expert - ($0.expert < layer.expertCount ? 0 : layer.expertCount)) }, filler: 0)
        for (part, matrices) in [(0..<routed, layer)] + (shared.map { [(routed..<rows.count, $0)] } ?? []) {
            var d = u.result
            d.baseAddress += part.lowerBound * d.stride * 2
            try gemm(
                x.operand.gathering(sources.start + part.lowerBound, count: part.count), matrices.gateUp,
                groups: .ids(ids.start + part.lowerBound), into: d, on: context)
        }
        // The unit, with the kernel that models use.
        let a = GuardedBuffer<Float>(poisoned: rows.count * intermediate)
        for (index, row) in rows.enumerated() {
            var numbers = (0..<2 * intermediate).map { u.value(group: 0, row: index, column: $0) }
            if let clamp = options.clamp {
                for column in 0..<intermediate {
                    numbers[column] = min(numbers[column], clamp)
                    numbers[intermediate + column] = max(-clamp, min(numbers[intermediate + column], clamp))
                }
            }
            numbers.withUnsafeMutableBufferPointer {
                context.kernels.siluMultiply($0.baseAddress!, $0.baseAddress! + intermediate, intermediate)
            }
            for column in 0..<intermediate { a.start[index * intermediate + column] = numbers[column] * row.weight }
        }
        let made = TestResult(.bfloat16, rows: rows.count, columns: hidden, gap: 0)
        let between = try Between(a, rows: rows.count, columns: intermediate, form, on: context)
        for (part, matrices) in [(0..<routed, layer)] + (shared.map { [(routed..<rows.count, $0)] } ?? []) {
            var d = made.result
            d.baseAddress += part.lowerBound * d.stride * 2
            let indices = GuardedBuffer(part.map { Int64($0) }, filler: 0)
            try gemm(
                between.operand.gathering(indices.start, count: part.count), matrices.down,
                groups: .ids(ids.start + part.lowerBound), into: d, on: context)
        }
        var sums = [[Float]](repeating: [Float](repeating: 0, count: hidden), count: choices.tokenCount)
        for index in rows.indices.sorted(by: { rows[$0].slot < rows[$1].slot }) {
            for column in 0..<hidden {
                sums[rows[index].token][column] += made.value(group: 0, row: index, column: column)
            }
        }
        return sums.map { $0.map { BFloat16($0).bitPattern } }
    }

    /// Quantised or rounded rows.
    private final class Between {
        let operand: MatrixOperand
        private let matrix: QuantizedMatrix?
        private let scales: PackedScales?
        private let numbers: GuardedBuffer<UInt16>?

        init(
            _ a: GuardedBuffer<Float>, rows: Int, columns: Int, _ form: MegaMoEOptions.Intermediate,
            on context: ComputeContext
        ) throws(FathomError) {
            if form == .float8E4M3 {
                let matrix = try quantizeFloat8(
                    FloatRows(UnsafeRawPointer(a.start), element: .float32, rowCount: rows, columnCount: columns),
                    granularity: .perToken(32), powerOfTwoScales: true, on: context)
                let scales = try matrix.scales.packedUE8M0()
                var operand = MatrixOperand(matrix)
                operand.scales = BlockScales(scales)
                self.operand = operand
                self.matrix = matrix
                self.scales = scales
                numbers = nil
            } else {
                let numbers = GuardedBuffer(
                    (0..<rows * columns).map { BFloat16(a.start[$0]).bitPattern }, filler: 0)
                operand = MatrixOperand(
                    UnsafeRawPointer(numbers.start), .bfloat16, rowCount: rows, columnCount: columns)
                self.numbers = numbers
                matrix = nil
                scales = nil
            }
        }
    }
}

extension TestResult {
    /// [rows][columns] bits of a bfloat16 result.
    var bits: [[UInt16]] {
        (0..<rows).map { row in
            let bytes = rowBytes(row)
            return (0..<columns).map { UInt16(bytes[2 * $0]) | UInt16(bytes[2 * $0 + 1]) << 8 }
        }
    }
}
