// SPDX-License-Identifier: MIT

// SAFETY: In this file all pointers are a token's logits and biases, one number per expert, its places in the result,
// and scratch memory of `scratchCount` floats that the caller gives one token at a time.

package import Platform

#if canImport(Glibc)
internal import Glibc
#elseif canImport(Musl)
internal import Musl
#endif

/// Chooses one token's experts by an `ExpertRouting`. No allocation.
package struct ExpertSelector: Sendable {
    package let routing: ExpertRouting
    package let expertCount: Int
    /// Added to the sum of the chosen scores, so that no weight is 0 / 0.
    static let smallestSum: Float = 1e-20

    /// - Throws: `usage` naming what does not fit.
    package init(_ routing: ExpertRouting, expertCount: Int) throws(FathomError) {
        try routing.validate(expertCount: expertCount)
        self.routing = routing
        self.expertCount = expertCount
    }

    /// For a routing and a number of experts that were checked before.
    package init(checked routing: ExpertRouting, expertCount: Int) {
        self.routing = routing
        self.expertCount = expertCount
    }

    /// Floats of scratch: scores, what the choice goes by, groups' scores, and which groups are kept.
    package var scratchCount: Int {
        2 * expertCount + 2 * (routing.groups?.count ?? 0)
    }

    /// Chooses by the logits: `expertsPerToken` experts, and their weights, in the routing's order.
    package func choose(
        logits: UnsafePointer<Float>, bias: UnsafePointer<Float>?, scratch: UnsafeMutablePointer<Float>,
        experts: UnsafeMutablePointer<Int32>, weights: UnsafeMutablePointer<Float>
    ) {
        let ranking = scratch + expertCount
        score(logits, into: scratch)
        if let bias {
            for expert in 0..<expertCount { ranking[expert] = scratch[expert] + bias[expert] }
        } else {
            ranking.update(from: scratch, count: expertCount)
        }
        var best = Largest(experts, limit: routing.expertsPerToken, of: UnsafePointer(ranking))
        if let groups = routing.groups, groups.kept < groups.count {
            keep(groups, scratch + 2 * expertCount, ranking: UnsafePointer(ranking), into: &best)
        } else {
            best.offer(0..<expertCount)
        }
        order(experts)
        weigh(experts, scores: UnsafePointer(scratch), into: weights)
    }

    /// Chooses at random, every set of experts equally likely, and weighs by the logits.
    ///
    /// - Parameter stream: a number for the seed and the token.
    package func chooseRandomly(
        stream: UInt64, logits: UnsafePointer<Float>, scratch: UnsafeMutablePointer<Float>,
        experts: UnsafeMutablePointer<Int32>, weights: UnsafeMutablePointer<Float>
    ) {
        let ranking = scratch + expertCount
        score(logits, into: scratch)
        for expert in 0..<expertCount {
            ranking[expert] = Float(mix(stream &+ UInt64(expert)) >> 40)
        }
        var best = Largest(experts, limit: routing.expertsPerToken, of: UnsafePointer(ranking))
        best.offer(0..<expertCount)
        order(experts)
        weigh(experts, scores: UnsafePointer(scratch), into: weights)
    }

    /// Weighs experts that are given, in their order; −1 for none, with weight 0.
    package func weigh(
        given experts: UnsafePointer<Int32>, logits: UnsafePointer<Float>, scratch: UnsafeMutablePointer<Float>,
        into weights: UnsafeMutablePointer<Float>
    ) {
        score(logits, into: scratch)
        weigh(experts, scores: UnsafePointer(scratch), into: weights)
    }

    private func score(_ logits: UnsafePointer<Float>, into scores: UnsafeMutablePointer<Float>) {
        switch routing.scoring {
        case .identity: scores.update(from: logits, count: expertCount)
        case .sigmoid:
            for expert in 0..<expertCount { scores[expert] = 1 / (1 + exp(-logits[expert])) }
        case .sqrtSoftplus:
            // With e^−|x|, which cannot overflow: ln(1 + eˣ) = max(x, 0) + ln(1 + e^−|x|).
            for expert in 0..<expertCount {
                let x = logits[expert]
                scores[expert] = ((x < 0 ? 0 : x) + log1p(exp(-abs(x)))).squareRoot()
            }
        case .softmax:
            var peak = logits[0]
            for expert in 1..<expertCount where !(logits[expert] <= peak) { peak = logits[expert] }
            var sum: Float = 0
            for expert in 0..<expertCount {
                scores[expert] = exp(logits[expert] - peak)
                sum += scores[expert]
            }
            for expert in 0..<expertCount { scores[expert] /= sum }
        }
    }

    /// Offers the experts of the groups that are kept. `scratch` has two floats a group.
    private func keep(
        _ groups: ExpertRouting.Groups, _ scratch: UnsafeMutablePointer<Float>, ranking: UnsafePointer<Float>,
        into best: inout Largest
    ) {
        let size = expertCount / groups.count
        for group in 0..<groups.count {
            let (first, second) = twoLargest(ranking + group * size, size)
            scratch[group] = groups.score == .largest || size == 1 ? first : first + second
        }
        // Int32 has a float's size and alignment.
        let kept = UnsafeMutableRawPointer(scratch + groups.count).assumingMemoryBound(to: Int32.self)
        var top = Largest(kept, limit: groups.kept, of: UnsafePointer(scratch))
        top.offer(0..<groups.count)
        // Ascending, so that of equal experts the lower index comes first.
        sort(kept, groups.kept)
        for index in 0..<groups.kept {
            let group = Int(kept[index])
            best.offer(group * size..<(group + 1) * size)
        }
    }

    private func order(_ experts: UnsafeMutablePointer<Int32>) {
        guard routing.order == .ascendingExpert else { return }
        sort(experts, routing.expertsPerToken)
    }

    private func weigh(
        _ experts: UnsafePointer<Int32>, scores: UnsafePointer<Float>, into weights: UnsafeMutablePointer<Float>
    ) {
        var sum: Float = 0
        for index in 0..<routing.expertsPerToken {
            weights[index] = experts[index] < 0 ? 0 : scores[Int(experts[index])]
            sum += weights[index]
        }
        let divisor = routing.normalizes ? sum + Self.smallestSum : 1
        for index in 0..<routing.expertsPerToken where experts[index] >= 0 {
            weights[index] = weights[index] / divisor * routing.scalingFactor
        }
    }
}

/// The two largest of the values; −∞ where NaN leaves fewer.
private func twoLargest(_ values: UnsafePointer<Float>, _ count: Int) -> (first: Float, second: Float) {
    var first = -Float.infinity
    var second = -Float.infinity
    for index in 0..<count {
        // Without branches, of which every other would be guessed wrongly.
        let value = values[index] > -.infinity ? values[index] : -.infinity
        let lower = value < first ? value : first
        second = lower > second ? lower : second
        first = value > first ? value : first
    }
    return (first, second)
}

/// The indices of the largest values offered so far, largest first, of equals the one offered first, NaN last.
private struct Largest {
    private let places: UnsafeMutablePointer<Int32>
    private let limit: Int
    private let values: UnsafePointer<Float>
    private var count = 0
    /// The last of as many as there may be; NaN as long as any value may come in.
    private var last = Float.nan

    init(_ places: UnsafeMutablePointer<Int32>, limit: Int, of values: UnsafePointer<Float>) {
        self.places = places
        self.limit = limit
        self.values = values
    }

    mutating func offer(_ indices: Range<Int>) {
        for index in indices {
            let value = values[index]
            // Most values are not above the last one.
            if value <= last { continue }
            if count < limit {
                count += 1
            } else if !isBefore(value, last) {
                continue
            }
            var place = count - 1
            while place > 0, isBefore(value, values[Int(places[place - 1])]) {
                places[place] = places[place - 1]
                place -= 1
            }
            places[place] = Int32(truncatingIfNeeded: index)
            if count == limit { last = values[Int(places[count - 1])] }
        }
    }

    private func isBefore(_ value: Float, _ other: Float) -> Bool {
        value > other || (other.isNaN && !value.isNaN)
    }
}

private func sort(_ numbers: UnsafeMutablePointer<Int32>, _ count: Int) {
    var buffer = UnsafeMutableBufferPointer(start: numbers, count: count)
    buffer.sort()
}

/// SplitMix64's finaliser: every bit of the result depends on every bit of the number.
func mix(_ number: UInt64) -> UInt64 {
    var z = number &+ 0x9E37_79B9_7F4A_7C15
    z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
    return z ^ (z >> 31)
}
