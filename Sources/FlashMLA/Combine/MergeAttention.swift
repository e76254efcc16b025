// SPDX-License-Identifier: MIT

public import KernelDispatch
internal import Kernels
public import Platform
internal import Tensors

#if canImport(Glibc)
internal import Glibc
#elseif canImport(Musl)
internal import Musl
#endif

/// What attention over some of the keys gave, normalised: results and their log-sums.
public struct PartialAttention {
    /// [requests, tokens, heads, value width].
    public var out: DecodeTensor
    /// ln Σ e^score over these keys [requests, heads, tokens]; +∞ where there was no key.
    public var logSums: UnsafeBufferPointer<Float>

    public init(out: DecodeTensor, logSums: UnsafeBufferPointer<Float>) {
        self.out = out
        self.logSums = logSums
    }
}

/// Attention over several ranges of keys from what each range gave: the merge of context-parallel decoding.
///
///     lse = ln Σᵢ e^lseᵢ,  out = Σᵢ e^(lseᵢ − lse) · outᵢ
///
/// A part whose lse is +∞ (or −∞) saw no key and counts for nothing, whatever its out holds; where no part saw a key,
/// out = 0 and lse = +∞. Weights are computed in Double, sums in float32 in the order of `parts`: another order may
/// change the last bits. The results may take the place of one of the parts.
///
/// - Parameters:
///   - parts: at least one; all of the same shape, float32 or bfloat16 each.
///   - out: [requests, tokens, heads, value width].
///   - logSums: [requests, heads, tokens].
/// - Throws: `usage` for arguments that break a rule; names it and writes nothing.
public func mergeAttention(
    _ parts: [PartialAttention], out: DecodeTensor, logSums: UnsafeMutableBufferPointer<Float>,
    on context: ComputeContext
) throws(FathomError) {
    try DecodeRule.check(count: parts.count, "parts to merge")
    try DecodeRule.check(out, "out")
    try DecodeRule.check(writing: out, "out")
    try DecodeRule.check(logSums: logSums.count, queries: out)
    for (index, part) in parts.enumerated() {
        let name = "part \(index)"
        try DecodeRule.check(part.out, name)
        try DecodeRule.check(like: out, "out", part.out, name)
        guard part.out.width == out.width else {
            throw FathomError(
                .usage, "\(name) is \(part.out.width) wide and out \(out.width); the two must be equal")
        }
        try DecodeRule.check(logSums: part.logSums.count, queries: part.out)
    }
    // The views may be empty; then there is no memory to speak of, and no task.
    guard let target = logSums.baseAddress else { return }
    let merge = PartialMerge(parts: parts, out: out, logSums: target, kernels: context.kernels)
    let rows = out.tokenCount * out.headCount
    MHASchedule.run(out.requestCount * out.tokenCount, on: context.team) { index, worker in
        let (request, token) = (index / out.tokenCount, index % out.tokenCount)
        for head in 0..<out.headCount {
            merge.row(
                request: request, token: token, head: head,
                logSum: request * rows + head * out.tokenCount + token, scratch: context.scratch(of: worker))
        }
    }
}

/// The merge of one row after the other.
private struct PartialMerge {
    let parts: [PartialAttention]
    let out: DecodeTensor
    let logSums: UnsafeMutablePointer<Float>
    let kernels: KernelTable

    /// - Parameters:
    ///   - index: the row's place among the log-sums.
    ///   - scratch: two rows.
    func row(request: Int, token: Int, head: Int, logSum index: Int, scratch: UnsafeMutablePointer<Float>) {
        let sum = scratch
        sum.update(repeating: 0, count: out.width)
        var peak = -Double.infinity
        for part in parts where !part.logSums[index].isInfinite { peak = max(peak, Double(part.logSums[index])) }
        var weights = 0.0
        for part in parts where !part.logSums[index].isInfinite { weights += exp(Double(part.logSums[index]) - peak) }
        let total = weights == 0 ? Double.infinity : peak + log(weights)
        for part in parts where !part.logSums[index].isInfinite {
            add(
                part.out.request(request).row(token: token, head: head), part.out.scalarType,
                weight: Float(exp(Double(part.logSums[index]) - total)), to: sum, decoded: scratch + out.width)
        }
        let target = out.request(request).row(token: token, head: head)
        // SAFETY: a row of results has room for `width` numbers of its type, aligned to it.
        if out.scalarType == .float32 {
            target.assumingMemoryBound(to: Float.self).update(from: sum, count: out.width)
        } else {
            kernels.roundBFloat16(sum, target.assumingMemoryBound(to: UInt16.self), out.width)
        }
        logSums[index] = Float(total)
    }

    private func add(
        _ source: UnsafeMutableRawPointer, _ type: ScalarType, weight: Float, to sum: UnsafeMutablePointer<Float>,
        decoded: UnsafeMutablePointer<Float>
    ) {
        // SAFETY: a row of a part holds `width` numbers of its type, aligned to it.
        if type == .float32 {
            kernels.addScaled(source.assumingMemoryBound(to: Float.self), weight, sum, out.width)
        } else {
            kernels.decodeBFloat16(source, decoded, out.width, 1)
            kernels.addScaled(decoded, weight, sum, out.width)
        }
    }
}
