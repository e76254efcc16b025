// SPDX-License-Identifier: MIT

public import KernelDispatch
public import Platform
public import Ranks
internal import Tensors

// SAFETY: In this file buffers are as long as the operands that are made of them, and live as long as the layer; calls
// that write its result come one after the other.

/// Times `megaMoE` on a random layer, beside the same made of its parts: tokens copied in the order of experts, a
/// grouped product, SiLU·up with the quantiser, a grouped product, and the sum of each token's rows.
public struct MegaMoEBenchmark: Sendable, Codable {
    /// What tokens and weights are stored as.
    public enum Form: String, Sendable, CaseIterable, Codable {
        /// FP8 tokens with UE8M0 scales 1×32, FP8 weights scaled 128×128.
        case float8 = "fp8"
        /// The same tokens, FP4 weights scaled 1×32.
        case float4 = "fp4"
        case bfloat16 = "bf16"
    }

    /// What is measured.
    public struct Shape: Sendable, Codable {
        public var form = Form.float8
        /// Of each rank.
        public var tokens = 512
        /// Of all ranks.
        public var experts = 32
        public var topK = 6
        public var hidden = 4096
        public var intermediate = 2048
        /// Of the choices.
        public var seed: UInt64 = 1

        public init() {}

        /// - Throws: `usage` naming the number and what is legal.
        func check(rankCount: Int) throws(FathomError) {
            for (name, value) in [
                ("tokens", tokens), ("experts", experts), ("choices", topK), ("hidden", hidden),
                ("intermediate", intermediate),
            ] where value < 1 || value > 1 << 20 {
                throw FathomError(.usage, "\(name) is \(value); 1…\(1 << 20) is legal")
            }
            guard hidden % 2 == 0, intermediate % 2 == 0, topK <= experts, experts % rankCount == 0 else {
                throw FathomError(
                    .usage,
                    "\(experts) experts, \(topK) choices, hidden \(hidden), intermediate \(intermediate), \(rankCount) "
                        + "ranks; even numbers of columns, no more choices than experts, and a multiple of the ranks "
                        + "are legal")
            }
        }
    }

    public var shape: Shape
    public var ranks: Int
    /// Median time of one call, in which every rank takes its tokens.
    public var seconds: Double
    /// Two operations for each multiply-add of both products, of all ranks.
    public var gigaflops: Double
    /// The same made of its parts; nil with several ranks.
    public var partsSeconds: Double?
    /// Bytes beside operands and results that the one call used, and its parts; nil with several ranks.
    public var workspaceBytes: Int?
    public var partsBytes: Int?
    /// Whether bfloat16 pairs were multiplied in the first product and in the second.
    public var multipliesPairs: [Bool]
    /// Whether the bits were compared, with the parts' or with those of one rank.
    public var isChecked: Bool

    /// One rank.
    ///
    /// - Parameter minimumSeconds: how long to repeat each of both; once at least.
    /// - Throws: `usage` for impossible shapes, `internal` if the bits differ, `unavailable` without memory.
    public static func measure(
        _ shape: Shape, minimumSeconds: Double, on context: ComputeContext
    ) throws(FathomError) -> MegaMoEBenchmark {
        try shape.check(rankCount: 1)
        let layer = try MegaMoEBenchmarkLayer(shape, rank: 0, ranks: 1)
        let parts = try MegaMoEParts(layer, on: context)
        let workspace = MegaMoEWorkspace()
        let fused = { () throws(FathomError) -> Void in
            try megaMoE(
                layer.x, layer.choices, layer.weights, into: layer.result, workspace: workspace, on: context)
        }
        try fused()
        let found = layer.bits
        try parts.run(on: context)
        guard found == layer.bits else {
            throw FathomError(.internal, "Mega MoE has other bits than its parts at \(shape)")
        }
        // In turn, so that what else the machine does hits both.
        var times: (fused: [Double], parts: [Double]) = ([], [])
        repeat {
            times.fused.append(try Self.seconds(fused))
            times.parts.append(try Self.seconds { () throws(FathomError) in try parts.run(on: context) })
        } while times.fused.reduce(0, +) < minimumSeconds
        var result = MegaMoEBenchmark(
            shape, ranks: 1, seconds: median(times.fused), partsSeconds: median(times.parts), layer, context)
        result.workspaceBytes = workspace.byteCount
        result.partsBytes = parts.byteCount
        return result
    }

    /// One of several ranks; all call it.
    ///
    /// - Parameters:
    ///   - rounds: measured calls.
    ///   - checks: whether each rank compares its tokens' bits with those that it makes alone, of the whole layer.
    /// - Throws: also what the buffer does.
    public static func measure(
        _ shape: Shape, rounds: Int, checks: Bool, group: RankGroup, on context: ComputeContext
    ) throws(FathomError) -> MegaMoEBenchmark {
        try shape.check(rankCount: group.rankCount)
        let layer = try MegaMoEBenchmarkLayer(shape, rank: group.rank, ranks: group.rankCount, isWhole: checks)
        let buffer = try MegaMoEBuffer(
            group: group, experts: shape.experts, maximumTokensPerRank: shape.tokens, topK: shape.topK,
            hidden: shape.hidden, intermediate: shape.intermediate,
            rows: shape.form == .bfloat16 ? .bfloat16 : .float8E4M3(scaleColumns: 32))
        let weights = layer.weights(of: buffer.localExperts)
        let fused = { () throws(FathomError) -> Void in
            try buffer.megaMoE(layer.x, layer.choices, weights, into: layer.result, on: context)
        }
        try fused()
        if checks {
            let found = layer.bits
            try megaMoE(layer.x, layer.choices, layer.weights, into: layer.result, on: context)
            guard found == layer.bits else {
                throw FathomError(.internal, "rank \(group.rank) of \(group.rankCount) has other bits than one alone")
            }
        }
        var times: [Double] = []
        for _ in 0..<rounds {
            try group.barrier()
            times.append(
                try Self.seconds { () throws(FathomError) in
                    try fused()
                    try group.barrier()
                })
        }
        var result = MegaMoEBenchmark(
            shape, ranks: group.rankCount, seconds: median(times), partsSeconds: nil, layer, context)
        result.isChecked = checks
        return result
    }

    private init(
        _ shape: Shape, ranks: Int, seconds: Double, partsSeconds: Double?, _ layer: MegaMoEBenchmarkLayer,
        _ context: ComputeContext
    ) {
        self.shape = shape
        self.ranks = ranks
        self.seconds = seconds
        self.partsSeconds = partsSeconds
        let products = 3 * Double(shape.hidden) * Double(shape.intermediate)
        gigaflops = 2 * products * Double(shape.tokens * shape.topK * ranks) / seconds / 1e9
        multipliesPairs = layer.multipliesPairs(on: context)
        isChecked = true
    }

    private static func seconds(_ body: () throws(FathomError) -> Void) throws(FathomError) -> Double {
        let clock = ContinuousClock()
        let start = clock.now
        try body()
        return start.duration(to: clock.now) / .seconds(1)
    }

    private static func median(_ times: [Double]) -> Double { times.sorted()[times.count / 2] }
}

/// A random layer, and some tokens of a rank.
final class MegaMoEBenchmarkLayer: Sendable {
    let shape: MegaMoEBenchmark.Shape
    private let tokens: BenchmarkOperand
    private let gateUp: BenchmarkOperand
    private let down: BenchmarkOperand
    private let experts: AlignedBuffer<Int32>
    private let factors: AlignedBuffer<Float>
    private let out: AlignedBuffer<UInt16>

    /// - Parameter isWhole: whether experts of other ranks have memory of their own; else all ranks' parts are alike.
    init(
        _ shape: MegaMoEBenchmark.Shape, rank: Int, ranks: Int, isWhole: Bool = true
    ) throws(FathomError) {
        self.shape = shape
        let token: MatrixOperand.Format = shape.form == .bfloat16 ? .bfloat16 : .float8E4M3
        let weight: MatrixOperand.Format =
            switch shape.form {
            case .float8: .float8E4M3
            case .float4: .float4E2M1
            case .bfloat16: .bfloat16
            }
        let held = isWhole ? shape.experts : shape.experts / ranks
        tokens = try BenchmarkOperand(
            token, .kMajor, rows: shape.tokens, columns: shape.hidden, groups: 1, isB: false, copies: 1,
            microscaled: shape.form != .bfloat16)
        gateUp = try BenchmarkOperand(
            weight, .kMajor, rows: 2 * shape.intermediate, columns: shape.hidden, groups: held, isB: true, copies: 1)
        down = try BenchmarkOperand(
            weight, .kMajor, rows: shape.hidden, columns: shape.intermediate, groups: held, isB: true, copies: 1)
        experts = try AlignedBuffer(count: shape.tokens * shape.topK, purpose: "choices")
        factors = try AlignedBuffer(count: shape.tokens * shape.topK, purpose: "weights of choices")
        out = try AlignedBuffer(count: shape.tokens * shape.hidden, purpose: "results")
        var state = shape.seed &+ UInt64(rank) &* 0x9E37_79B9_7F4A_7C15
        for token in 0..<shape.tokens {
            var left = Array(0..<Int32(shape.experts))
            for slot in 0..<shape.topK {
                state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
                let choice = token * shape.topK + slot
                experts.baseAddress[choice] = left.remove(at: Int((state >> 33) % UInt64(left.count)))
                factors.baseAddress[choice] = 0.5 / Float(slot + 1)
            }
        }
    }

    var x: MatrixOperand { tokens.operand(copy: 0) }
    var weights: MegaMoEWeights {
        MegaMoEWeights(gateUp: gateUp.operand(copy: 0), down: down.operand(copy: 0))
    }
    var choices: MegaMoEChoices {
        MegaMoEChoices(
            tokenCount: shape.tokens, topK: shape.topK, experts: UnsafePointer(experts.baseAddress),
            weights: UnsafePointer(factors.baseAddress))
    }
    var result: MatrixResult {
        MatrixResult(UnsafeMutableRawPointer(out.baseAddress), .bfloat16, stride: shape.hidden)
    }
    var bits: [UInt16] { Array(UnsafeBufferPointer(start: out.baseAddress, count: out.count)) }

    /// Some experts, of all that are held or as many as are.
    func weights(of range: Range<Int>) -> MegaMoEWeights {
        func part(_ operand: MatrixOperand) -> MatrixOperand {
            var part = operand
            part.groupCount = range.count
            guard operand.groupCount == shape.experts else { return part }
            part.baseAddress += range.lowerBound * operand.groupStride * operand.format.bitCount / 8
            let stride = (operand.scales?.groupStride ?? 0) * (operand.scales?.unitByteCount ?? 0)
            part.scales?.baseAddress += range.lowerBound * stride
            return part
        }
        return MegaMoEWeights(gateUp: part(weights.gateUp), down: part(weights.down))
    }

    /// Whether the first product multiplies pairs, and the second.
    func multipliesPairs(on context: ComputeContext) -> [Bool] {
        guard context.pairKernels != nil else { return [false, false] }
        let between = MegaMoEBetween(
            base: UnsafeMutableRawPointer(out.baseAddress), form: MegaMoEOptions().form(of: weights), rowCount: 1,
            columnCount: shape.intermediate)
        return [(x, weights.gateUp), (between.operand, weights.down)].map { a, b in
            GemmProblem(
                a: OperandSlice(a), b: OperandSlice(b), rowCount: 1, outputs: 0..<b.rowCount, depth: b.columnCount,
                d: ResultSlice(result)
            ).isPaired
        }
    }
}
