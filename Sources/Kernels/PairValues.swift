// SPDX-License-Identifier: MIT

/// out[r] = out[r] · correction + Σ weights[r, t] · values[t].
@inlinable @inline(__always)
func pairValues<I: PairAttentionInstructionSet>(_: I.Type, _ g: PairAttentionArguments) {
    var column = 0
    while column < g.valueWidth {
        var row = 0
        let isWide = column &+ 128 <= g.valueWidth
        if g.rowCount == 1, isWide {
            pairValueTile(I.self, PairValueTile<1, 4>.self, g, 0, column)
            column &+= 128
            continue
        }
        if g.rowCount < 4, column &+ 64 <= g.valueWidth {
            if g.rowCount == 3 {
                pairValueTile(I.self, PairValueTile<3, 2>.self, g, 0, column)
            } else if g.rowCount == 2 {
                pairValueTile(I.self, PairValueTile<2, 2>.self, g, 0, column)
            } else {
                pairValueTile(I.self, PairValueTile<1, 2>.self, g, 0, column)
            }
            column &+= 64
            continue
        }
        while row < g.rowCount {
            let left = g.rowCount &- row
            switch left {
            case 8...:
                pairValueTile(I.self, PairValueTile<8, 1>.self, g, row, column)
                row &+= 8
            case 4...7:
                pairValueTile(I.self, PairValueTile<4, 1>.self, g, row, column)
                row &+= 4
            case 2, 3:
                pairValueTile(I.self, PairValueTile<2, 1>.self, g, row, column)
                row &+= 2
            default:
                pairValueTile(I.self, PairValueTile<1, 1>.self, g, row, column)
                row &+= 1
            }
        }
        column &+= 32
    }
}

/// M rows times W runs of 32 columns.
public enum PairValueTile<let M: Int, let W: Int> {}

@inlinable @inline(never)
func pairValueTile<I: PairAttentionInstructionSet, let M: Int, let W: Int>(
    _: I.Type, _: PairValueTile<M, W>.Type, _ g: PairAttentionArguments, _ row: Int, _ column: Int
) {
    let out = g.out + (row &* g.outStride &+ column)
    let weights = g.scores + row &* attentionBlockSize
    var low = InlineArray<M, InlineArray<W, SIMD16<Float>>>(repeating: InlineArray(repeating: SIMD16<Float>()))
    var high = InlineArray<M, InlineArray<W, SIMD16<Float>>>(repeating: InlineArray(repeating: SIMD16<Float>()))
    for m in 0..<M {
        let correction = SIMD16<Float>(repeating: weights[m &* attentionBlockSize &+ pairWeightWords])
        for w in 0..<W {
            let source = UnsafeRawPointer(out + (m &* g.outStride &+ 32 &* w))
            low[m][w] = source.loadUnaligned(as: SIMD16<Float>.self) * correction
            high[m][w] = source.loadUnaligned(fromByteOffset: 64, as: SIMD16<Float>.self) * correction
        }
    }
    var key = g.keys + column &* 2
    var words = UnsafeRawPointer(weights)
    let step = 2 &* g.keyStride
    for _ in 0..<g.keyCount &>> 1 {
        for w in 0..<W {
            let first = (key + 64 &* w).loadUnaligned(as: SIMD16<UInt32>.self)
            let second = (key + (g.keyStride &+ 64 &* w)).loadUnaligned(as: SIMD16<UInt32>.self)
            let lower = I.lowerPairs(first, second)
            let upper = I.upperPairs(first, second)
            for m in 0..<M {
                let weight = SIMD16<UInt32>(
                    repeating: (words + m &* attentionBlockSize &* 4).loadUnaligned(as: UInt32.self))
                low[m][w] = I.multiplyPairs(weight, lower, low[m][w])
                high[m][w] = I.multiplyPairs(weight, upper, high[m][w])
            }
        }
        key += step
        words += 4
    }
    if g.keyCount & 1 != 0 {
        for w in 0..<W {
            let first = (key + 64 &* w).loadUnaligned(as: SIMD16<UInt32>.self)
            let lower = I.lowerPairs(first, SIMD16())
            let upper = I.upperPairs(first, SIMD16())
            for m in 0..<M {
                let weight = SIMD16<UInt32>(
                    repeating: (words + m &* attentionBlockSize &* 4).loadUnaligned(as: UInt32.self))
                low[m][w] = I.multiplyPairs(weight, lower, low[m][w])
                high[m][w] = I.multiplyPairs(weight, upper, high[m][w])
            }
        }
    }
    for m in 0..<M {
        for w in 0..<W {
            let target = UnsafeMutableRawPointer(out + (m &* g.outStride &+ 32 &* w))
            target.storeBytes(of: low[m][w], as: SIMD16<Float>.self)
            target.storeBytes(of: high[m][w], toByteOffset: 64, as: SIMD16<Float>.self)
        }
    }
}
