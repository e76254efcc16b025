// SPDX-License-Identifier: MIT

public import KernelDispatch
public import Platform
internal import Tensors
internal import Workers

/// A mixture's gate in one call: logits x·Wᵀ, scores, bias, choice, weights and slots. DeepGEMM's `bf16_mega_gate`.
///
/// Logits are summed in float32 as by `gemm`; the rest is `ExpertRouting`. A token's experts and weights depend on the
/// token alone, bit for bit, and with random choice on its index. Any width, number of experts and of tokens. Memory
/// beyond the result: logits of `gateSlab` tokens.
///
/// - Parameters:
///   - x: [tokens, width], bfloat16 or float32.
///   - weight: W [experts, width], bfloat16 or float32.
///   - bias: for the choice; nil for none.
///   - mask: tokens with false get no experts, −1 and weight 0, shared ones included; nil for none of these.
///   - choice: by scores, given or random.
///   - replicas: slots of the experts, and of the shared ones behind them; nil where expert and slot are the same.
/// - Throws: `usage` naming the extent, token or expert that does not fit; `unavailable` without memory.
public func megaGate(
    _ x: FloatRows, weight: FloatRows, routing: ExpertRouting, bias: GateBias? = nil, mask: [Bool]? = nil,
    choice: GateChoice = .scores, replicas: ExpertReplicas? = nil, on context: ComputeContext
) throws(FathomError) -> GateResult {
    let selector = try ExpertSelector(routing, expertCount: weight.rowCount)
    let gate = GateCall(
        selector: selector, tokenCount: x.rowCount, bias: bias, mask: mask, choice: choice, replicas: replicas)
    guard x.columnCount == weight.columnCount else {
        throw FathomError(
            .usage, "tokens are \(x.columnCount) wide, the gate's weight \(weight.columnCount); equal widths are legal")
    }
    let count = try elementCount([x.rowCount, routing.choicesPerToken], of: "the gate's result")
    try gate.check()
    var result = GateResult(
        tokenCount: x.rowCount, choicesPerToken: routing.choicesPerToken,
        experts: [Int32](repeating: -1, count: count), slots: [Int32](repeating: -1, count: count),
        weights: [Float](repeating: 0, count: count))
    let experts = weight.rowCount
    let slab = min(gateSlab, x.rowCount)
    // Not a mapping of its own, which would cost more than one token's choice.
    var logits = [Float](repeating: 0, count: try elementCount([slab, experts], of: "the gate's logits"))
    for first in stride(from: 0, to: x.rowCount, by: gateSlab) {
        let tokens = first..<min(first + slab, x.rowCount)
        try gateLogits(x, tokens, weight, into: &logits, on: context)
        // SAFETY: the arrays hold every token's places, and logits of the slab's tokens.
        gate.choose(
            tokens, logits: logits, experts: &result.experts, slots: &result.slots, weights: &result.weights,
            on: context)
    }
    return result
}

/// Tokens whose logits are held at a time.
let gateSlab = 1024

/// The product of a run of tokens with the gate's weight, [rows, experts].
func gateLogits(
    _ x: FloatRows, _ rows: Range<Int>, _ weight: FloatRows, into logits: inout [Float],
    on context: ComputeContext
) throws(FathomError) {
    func operand(_ matrix: FloatRows, _ rows: Range<Int>) -> MatrixOperand {
        MatrixOperand(
            // SAFETY: the rows lie inside the matrix, which the caller keeps.
            matrix.baseAddress + rows.lowerBound * matrix.rowStride * matrix.element.byteCount,
            matrix.element == .float32 ? .float32 : .bfloat16, rowCount: rows.count, columnCount: matrix.columnCount,
            stride: matrix.rowStride)
    }
    try logits.withUnsafeMutableBufferPointer { logits throws(FathomError) in
        // SAFETY: the array holds a row for every token of a slab.
        guard let out = logits.baseAddress else { return }
        try gemm(
            operand(x, rows), operand(weight, 0..<weight.rowCount),
            into: MatrixResult(out, stride: weight.rowCount), on: context)
    }
}

/// One call's choice, once logits are there.
private struct GateCall {
    let selector: ExpertSelector
    let tokenCount: Int
    let bias: GateBias?
    let mask: [Bool]?
    let choice: GateChoice
    let replicas: ExpertReplicas?

    /// Tokens of a task, so that a task is worth its start.
    static let tokensPerTask = 16

    private var routing: ExpertRouting { selector.routing }

    /// - Throws: `usage` naming what does not fit tokens and experts.
    func check() throws(FathomError) {
        let experts = selector.expertCount
        if let bias {
            for (name, count) in [("bias", bias.bias.count), ("other bias", bias.other?.count ?? experts)]
            where count != experts {
                throw FathomError(.usage, "the gate's \(name) has \(count) numbers; \(experts) is legal")
            }
            try requireFlags(bias.other == nil ? nil : bias.otherTokens, "the other bias")
        }
        try requireFlags(mask, "the mask")
        if let replicas, replicas.slots.count != experts + routing.sharedExperts {
            throw FathomError(
                .usage,
                "a map of \(replicas.slots.count) logical experts for \(experts) experts and "
                    + "\(routing.sharedExperts) shared ones; \(experts + routing.sharedExperts) is legal")
        }
        guard case .given(let given, let tokens) = choice else { return }
        try requireFlags(tokens, "the given experts")
        guard given.count == tokenCount * routing.expertsPerToken else {
            throw FathomError(
                .usage,
                "\(given.count) given experts for \(tokenCount) tokens; "
                    + "\(tokenCount * routing.expertsPerToken) is legal")
        }
        for (index, expert) in given.enumerated() where expert < -1 || Int(expert) >= experts {
            let (token, place) = index.quotientAndRemainder(dividingBy: routing.expertsPerToken)
            if tokens?[token] ?? true {
                throw FathomError(
                    .usage,
                    "token \(token), choice \(place): given expert \(expert); −1 for none or 0..<\(experts) is legal")
            }
        }
    }

    private func requireFlags(_ flags: [Bool]?, _ name: String) throws(FathomError) {
        guard let flags, flags.count != tokenCount else { return }
        throw FathomError(.usage, "\(name) tells of \(flags.count) tokens; there are \(tokenCount)")
    }

    /// Fills the tokens' places among those of all tokens.
    func choose(
        _ tokens: Range<Int>, logits: UnsafePointer<Float>, experts: UnsafeMutablePointer<Int32>,
        slots: UnsafeMutablePointer<Int32>, weights: UnsafeMutablePointer<Float>, on context: ComputeContext
    ) {
        let width = routing.choicesPerToken
        let size = Self.tokensPerTask
        context.team.run(taskCount: ceilDivide(tokens.count, size)) { task, worker in
            let scratch = context.scratch(of: worker)
            for index in task * size..<min((task + 1) * size, tokens.count) {
                let token = tokens.lowerBound + index
                // SAFETY: every task has tokens of its own.
                choose(
                    token, logits: logits + index * selector.expertCount, scratch, experts + token * width,
                    slots + token * width, weights + token * width)
            }
        }
    }

    private func choose(
        _ token: Int, logits: UnsafePointer<Float>, _ scratch: UnsafeMutablePointer<Float>,
        _ experts: UnsafeMutablePointer<Int32>, _ slots: UnsafeMutablePointer<Int32>,
        _ weights: UnsafeMutablePointer<Float>
    ) {
        guard mask?[token] ?? true else { return }
        let count = routing.expertsPerToken
        switch choice {
        case .given(let given, let tokens) where tokens?[token] ?? true:
            // SAFETY: all places lie in the token's part of the result.
            for place in 0..<count { experts[place] = given[token * count + place] }
            selector.weigh(given: experts, logits: logits, scratch: scratch, into: weights)
        case .random(let seed):
            selector.chooseRandomly(
                stream: mix(seed ^ mix(UInt64(token))), logits: logits, scratch: scratch, experts: experts,
                weights: weights)
        case .scores, .given:
            let chosen = bias.map { bias in
                if let other = bias.other, bias.otherTokens[token] { other } else { bias.bias }
            }
            chosen.withPointer { bias in
                selector.choose(
                    logits: logits, bias: bias, scratch: scratch, experts: experts, weights: weights)
            }
        }
        for shared in 0..<routing.sharedExperts {
            // SAFETY: as above.
            experts[count + shared] = Int32(truncatingIfNeeded: selector.expertCount + shared)
            weights[count + shared] = 1
        }
        for place in 0..<count + routing.sharedExperts {
            let expert = experts[place]
            // SAFETY: as above; the map has every expert.
            slots[place] = expert < 0 ? -1 : replicas?.slots[Int(expert)] ?? expert
        }
    }
}

extension [Float]? {
    /// Calls the body with the numbers' address, or with nil.
    fileprivate func withPointer(_ body: (UnsafePointer<Float>?) -> Void) {
        guard let self else { return body(nil) }
        self.withUnsafeBufferPointer { body($0.baseAddress) }
    }
}
