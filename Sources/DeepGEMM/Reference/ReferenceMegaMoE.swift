// SPDX-License-Identifier: MIT

internal import LowPrecision

/// The definition of `megaMoE`, token after token: operands decoded exactly, sums and functions in Double, rounded
/// where `megaMoE` says. For tests.
///
/// - Returns: [tokens][hidden] bfloat16 numbers.
public func referenceMegaMoE(
    _ x: MatrixOperand, _ choices: MegaMoEChoices, _ weights: MegaMoEWeights, shared: MegaMoEWeights? = nil,
    options: MegaMoEOptions = MegaMoEOptions()
) -> [[Float]] {
    let rows = x.referenceMatrix()
    let experts = weights.referenceExperts() + (shared?.referenceExperts() ?? [])
    let sharedExperts = weights.expertCount..<experts.count
    let form = options.form(of: weights)
    return (0..<choices.tokenCount).map { token in
        var slots = (0..<choices.topK).compactMap { slot -> (expert: Int, weight: Float)? in
            // SAFETY: the caller vouches for the choices.
            let choice = token * choices.topK + slot
            return choices.experts[choice] < 0 ? nil : (Int(choices.experts[choice]), choices.weights[choice])
        }
        slots += sharedExperts.map { ($0, 1) }
        var sum = [Float](repeating: 0, count: weights.hidden)
        for slot in slots {
            let expert = experts[slot.expert]
            let between = referenceUnit(
                expert.gateUp.map { roundedProduct($0, rows[token]) }, weight: slot.weight, options, form)
            for n in sum.indices { sum[n] += roundedProduct(expert.down[n], between) }
        }
        return sum.map { Float(BFloat16($0)) }
    }
}

/// [gate, up] to what the second product multiplies.
private func referenceUnit(
    _ u: [Float], weight: Float, _ options: MegaMoEOptions, _ form: MegaMoEOptions.Intermediate
) -> [Double] {
    let half = u.count / 2
    let clamp = options.clamp.map { Float(BFloat16($0)) } ?? .infinity
    let a = (0..<half).map { column in
        let gate = Double(min(u[column], clamp))
        let up = Double(max(-clamp, min(u[half + column], clamp)))
        return Float(gate / (1 + exponential(-gate)) * up) * weight
    }
    guard form == .float8E4M3 else { return a.map { Double(Float(BFloat16($0))) } }
    let quantized = referenceQuantize(
        a, rowCount: 1, columnCount: half, format: .float8E4M3, granularity: .perToken(32), powerOfTwoScales: true)
    return (0..<half).map {
        Double(Float(Float8E4M3(bitPattern: quantized.codes[$0]))) * Double(quantized.scales[$0 / 32])
    }
}

private func roundedProduct(_ a: [Double], _ b: [Double]) -> Float {
    var sum = 0.0
    for k in a.indices { sum += a[k] * b[k] }
    return Float(BFloat16(Float(sum)))
}

extension MegaMoEWeights {
    /// Each expert's matrices, exactly.
    fileprivate func referenceExperts() -> [(gateUp: [[Double]], down: [[Double]])] {
        (0..<expertCount).map { (gateUp.referenceMatrix(group: $0), down.referenceMatrix(group: $0)) }
    }
}
