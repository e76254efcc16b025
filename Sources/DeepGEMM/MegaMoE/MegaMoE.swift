// SPDX-License-Identifier: MIT

public import KernelDispatch
public import Platform

// SAFETY: In this file pointers are to tokens, choices and results that were checked to have the extents they claim,
// and to a workspace that was laid out for the block of tokens.

/// The layer of experts of one rank in one call: every token through the experts that it chose, and their results added
/// up. DeepGEMM's `fp8_fp4_mega_moe` and `bf16_mega_moe` on one rank; `MegaMoEBuffer` is the same over several.
///
/// For token t and each slot k with expert e ≥ 0 and weight w:
///
///     gate, up = bf16(gateUp[e] · x[t]); gate = min(gate, clamp), up within ± clamp, where there is one
///     a  = gate / (1 + e^−gate) · up · w, in float32
///     a~ = a in FP8 E4M3 with one UE8M0 scale, max(|a|ₘₐₓ, 10⁻⁴) / 448 rounded up, for 32 neighbours; or bf16(a)
///     y[t] = bf16(Σ bf16(down[e] · a~)), in float32, in the order of the slots, then of the shared experts
///
/// A token without any expert gets 0. `referenceMegaMoE` is this in Double.
///
/// No row is copied and nothing but a~ and the slots is stored: rows of `x` are gathered while the first product packs
/// them, its tiles become a~ while they are in a cache, the second product writes rows to slot (t, k). The bits are
/// those of the same steps made one by one with `gemm` and `quantizeFloat8`, whatever the number of threads. If a block
/// of 32 holds NaN, all of its numbers are.
///
/// - Parameters:
///   - x: [tokens, hidden] in any format and order.
///   - shared: experts that every token goes to with weight 1, or nil for none.
///   - y: [tokens, hidden] bfloat16 rows; they share no memory with what is read.
///   - workspace: nil for one that is made for this call.
/// - Returns: how many rows each expert of `weights` has been given.
/// - Throws: `usage` naming what does not fit, what was given and what is legal, before anything is computed;
///   `unavailable` without memory.
@discardableResult
public func megaMoE(
    _ x: MatrixOperand, _ choices: MegaMoEChoices, _ weights: MegaMoEWeights, shared: MegaMoEWeights? = nil,
    into y: MatrixResult, options: MegaMoEOptions = MegaMoEOptions(), workspace: MegaMoEWorkspace? = nil,
    on context: ComputeContext
) throws(FathomError) -> [Int] {
    let call = MegaMoECall(x: x, choices: choices, weights: weights, shared: shared, y: y, options: options)
    try call.check(expertCount: weights.expertCount)
    return try call.run(workspace ?? MegaMoEWorkspace(), on: context)
}

/// The arguments of one call of `megaMoE`.
struct MegaMoECall {
    var x: MatrixOperand
    var choices: MegaMoEChoices
    var weights: MegaMoEWeights
    var shared: MegaMoEWeights?
    var y: MatrixResult
    var options: MegaMoEOptions

    /// Slots of a token: its choices and the shared experts.
    var slotCount: Int { choices.topK + (shared?.expertCount ?? 0) }

    /// Computes blocks of tokens, one after the other.
    func run(_ workspace: MegaMoEWorkspace, on context: ComputeContext) throws(FathomError) -> [Int] {
        var counts = [Int](repeating: 0, count: weights.expertCount)
        let perToken = max(1, slotCount * weights.hidden * 2)
        let blockTokens = max(1, MegaMoEWorkspace.slotBytes / perToken)
        for first in stride(from: 0, to: choices.tokenCount, by: blockTokens) {
            let tokens = first..<min(first + blockTokens, choices.tokenCount)
            let starts = starts(of: tokens)
            for expert in counts.indices { counts[expert] += starts[expert + 1] - starts[expert] }
            try run(tokens, starts, workspace, on: context)
        }
        return counts
    }

    /// Where the rows of each expert begin, the shared ones last; behind them all rows.
    private func starts(of tokens: Range<Int>) -> [Int] {
        let routed = weights.expertCount
        let all = routed + (shared?.expertCount ?? 0)
        var starts = [Int](repeating: 0, count: all + 1)
        for choice in tokens.lowerBound * choices.topK..<tokens.upperBound * choices.topK
        where choices.experts[choice] >= 0 {
            starts[Int(choices.experts[choice]) + 1] += 1
        }
        for expert in routed..<all { starts[expert + 1] = tokens.count }
        for expert in 0..<all { starts[expert + 1] += starts[expert] }
        return starts
    }

    private func run(
        _ tokens: Range<Int>, _ starts: [Int], _ workspace: MegaMoEWorkspace, on context: ComputeContext
    ) throws(FathomError) {
        let rowCount = starts.last ?? 0
        let form = options.form(of: weights)
        let waveRows = min(rowCount, MegaMoEPass.waveRows)
        let layout = MegaMoELayout(
            rowCount: rowCount,
            betweenBytes: waveRows * MegaMoEBetween.rowBytes(form, columnCount: weights.intermediate),
            slotBytes: tokens.count * slotCount * weights.hidden * 2)
        try workspace.withMemory(byteCount: layout.byteCount) { (memory) throws(FathomError) in
            let sources = memory.assumingMemoryBound(to: Int64.self)
            let places = (memory + layout.placesOffset).assumingMemoryBound(to: UnsafeMutableRawPointer.self)
            let rowWeights = (memory + layout.weightsOffset).assumingMemoryBound(to: Float.self)
            let slots = MegaMoESlots(
                base: memory + layout.slotsOffset, slotCount: slotCount, hidden: weights.hidden)
            var next = starts
            func add(_ token: Int, _ slot: Int, _ expert: Int, _ weight: Float) {
                let row = next[expert]
                next[expert] += 1
                sources[row] = Int64(token)
                places[row] = slots.place(token: token - tokens.lowerBound, slot: slot)
                rowWeights[row] = weight
            }
            for token in tokens {
                for slot in 0..<choices.topK where choices.experts[token * choices.topK + slot] >= 0 {
                    let choice = token * choices.topK + slot
                    add(token, slot, Int(choices.experts[choice]), choices.weights[choice])
                }
                for slot in choices.topK..<slotCount { add(token, slot, weights.expertCount + slot - choices.topK, 1) }
            }
            let pass = MegaMoEPass(
                x: x, sources: UnsafePointer(sources), rowWeights: UnsafePointer(rowWeights),
                places: UnsafePointer(places), starts: starts, weights: [weights] + (shared.map { [$0] } ?? []),
                unit: options.unit,
                between: MegaMoEBetween(
                    base: memory + layout.betweenOffset, form: form, rowCount: waveRows,
                    columnCount: weights.intermediate))
            for wave in MegaMoEPass.waves(of: starts) { pass.run(wave, on: context) }
            slots.sum(
                tokens: tokens.count, topK: choices.topK,
                experts: choices.experts + tokens.lowerBound * choices.topK,
                into: ResultSlice(y, firstRow: tokens.lowerBound), on: context)
        }
    }
}
