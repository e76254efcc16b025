// SPDX-License-Identifier: MIT

import DeepEP
import LowPrecision
import Platform
import TestSupport

/// A random group of ranks with tokens, choices and rows: the same for the same seed.
struct TestGroup {
    var placement: ExpertPlacement
    var format: RowFormat
    var selections: [TopKSelection]
    /// [rank][token] bytes.
    var rows: [[[UInt8]]]

    init(seed: UInt64, evenNodes: Bool = false) throws(FathomError) {
        var random = RandomNumbers(seed: seed)
        let perNode = 1 + random.number(below: 4)
        let ranks = evenNodes ? perNode * (1 + random.number(below: 3)) : 1 + random.number(below: 8)
        let experts = 1 + random.number(below: 24)
        placement = try ExpertPlacement(rankCount: ranks, ranksPerNode: perNode, expertCount: experts)
        format = try RowFormat(hidden: 1 + random.number(below: 9), element: .bfloat16)
        let topK = 1 + random.number(below: 5)
        let weighted = random.number(below: 2) == 0
        selections = []
        rows = []
        for _ in 0..<ranks {
            let tokens = random.number(below: 14)
            var ids: [Int32] = []
            for _ in 0..<tokens {
                var left = Array(0..<Int32(experts))
                for _ in 0..<topK {
                    if left.isEmpty || random.number(below: 6) == 0 {
                        ids.append(-1)
                    } else {
                        ids.append(left.remove(at: random.number(below: left.count)))
                    }
                }
            }
            selections.append(
                try TopKSelection(topK: topK, experts: ids, weights: weighted ? random.normals(ids.count) : nil))
            rows.append((0..<tokens).map { _ in Self.bytes(random.normals(format.hidden)) })
        }
    }

    /// BF16 bytes of numbers.
    static func bytes(_ values: [Float]) -> [UInt8] {
        values.flatMap { value in
            let bits = BFloat16(value).bitPattern
            return [UInt8(truncatingIfNeeded: bits), UInt8(bits >> 8)]
        }
    }

    /// The numbers of BF16 bytes.
    static func numbers(_ bytes: some Collection<UInt8>) -> [Float] {
        let bytes = Array(bytes)
        return (0..<bytes.count / 2).map { index in
            Float(BFloat16(bitPattern: UInt16(bytes[2 * index]) | UInt16(bytes[2 * index + 1]) << 8))
        }
    }
}
