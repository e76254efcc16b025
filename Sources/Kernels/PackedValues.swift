// SPDX-License-Identifier: MIT

public import CFathom

/// The weights of a row times the scales of each group.
@inlinable @inline(__always)
func scaleWeights(_ g: PackedAttentionArguments, _ row: Int) {
    let words = UnsafeRawPointer(g.block.scores + row &* attentionBlockSize)
    let out = UnsafeMutableRawPointer(g.weights + row &* g.groupCount &* pairWeightWords)
    for group in 0..<g.groupCount {
        let scales = UnsafeRawPointer(g.scales + group &* attentionBlockSize)
        for half in 0..<2 {
            let w = words.loadUnaligned(fromByteOffset: 64 &* half, as: SIMD16<UInt32>.self)
            let even = unsafeBitCast(w &<< 16, to: SIMD16<Float>.self)
            let odd = unsafeBitCast(w & 0xFFFF_0000, to: SIMD16<Float>.self)
            let low = even * scales.loadUnaligned(fromByteOffset: 64 &* half, as: SIMD16<Float>.self)
            let high =
                odd * scales.loadUnaligned(fromByteOffset: 4 &* pairWeightWords &+ 64 &* half, as: SIMD16<Float>.self)
            let pair =
                unsafeBitCast(low, to: SIMD16<UInt32>.self) &>> 16
                | unsafeBitCast(high, to: SIMD16<UInt32>.self) & 0xFFFF_0000
            out.storeBytes(
                of: pair, toByteOffset: 4 &* group &* pairWeightWords &+ 64 &* half, as: SIMD16<UInt32>.self)
        }
    }
}

@inlinable @inline(__always)
func packedValues<I: PairAttentionInstructionSet>(_: I.Type, _ g: PackedAttentionArguments) {
    let b = g.block
    var column = 0
    while column < min(b.valueWidth, g.latentWidth) {
        switch (b.rowCount, g.groupWidth >= 64) {
        case (1, true): packedValueTile(I.self, PackedTile<1, 1>.self, g, column)
        case (2, true): packedValueTile(I.self, PackedTile<2, 1>.self, g, column)
        case (3, true): packedValueTile(I.self, PackedTile<3, 1>.self, g, column)
        case (_, true): packedValueTile(I.self, PackedTile<4, 1>.self, g, column)
        case (1, false): packedValueTile(I.self, PackedTile<1, 2>.self, g, column)
        case (2, false): packedValueTile(I.self, PackedTile<2, 2>.self, g, column)
        case (3, false): packedValueTile(I.self, PackedTile<3, 2>.self, g, column)
        case (_, false): packedValueTile(I.self, PackedTile<4, 2>.self, g, column)
        }
        column &+= 64
    }
    guard column < b.valueWidth else { return }
    // What follows the codes, as if it were the end of a row of bfloat16 numbers.
    var rest = b
    rest.keys = b.keys + (g.plainOffset &- 2 &* column)
    while column < b.valueWidth {
        for row in 0..<b.rowCount { pairValueTile(I.self, PairValueTile<1, 1>.self, rest, row, column) }
        column &+= 32
    }
}

/// All rows, M of them, times 64 columns of codes. Each pair of keys asks for a line of the next block, from its end.
@inlinable @inline(never)
func packedValueTile<I: PairAttentionInstructionSet, let M: Int, let S: Int>(
    _: I.Type, _: PackedTile<M, S>.Type, _ g: PackedAttentionArguments, _ column: Int
) {
    let b = g.block
    var sums = InlineArray<M, InlineArray<4, SIMD16<Float>>>(repeating: InlineArray(repeating: SIMD16<Float>()))
    for m in 0..<M {
        let correction = SIMD16<Float>(repeating: b.scores[m &* attentionBlockSize &+ pairWeightWords])
        let source = UnsafeRawPointer(b.out + (m &* b.outStride &+ column))
        for i in 0..<4 {
            sums[m][i] = source.loadUnaligned(fromByteOffset: 64 &* i, as: SIMD16<Float>.self) * correction
        }
    }
    let rowWords = g.groupCount &* pairWeightWords
    var weights = g.weights + column / g.groupWidth &* pairWeightWords
    var key = b.keys + column
    var left = b.keyCount
    // Where nothing is wanted, for what is there already, which costs less than a branch.
    var ahead = key
    var step = 0
    if let start = b.ahead {
        ahead = start + 64 &* (b.keyStride &- g.valueLines &+ column / 64 &* pairWeightWords)
        step = 64
    }
    while left > 0 {
        fathom_prefetch(ahead)
        ahead += step
        let first = plainVector(key)
        let second = left > 1 ? plainVector(key + b.keyStride) : SIMD16<UInt32>()
        let lower = I.lowerBytePairs(first, second)
        let upper = I.upperBytePairs(first, second)
        let v0 = I.lowerLatent(lower)
        let v1 = I.upperLatent(lower)
        let v2 = I.lowerLatent(upper)
        let v3 = I.upperLatent(upper)
        for m in 0..<M {
            let words = weights + m &* rowWords
            let weight =
                S == 1
                ? SIMD16<UInt32>(repeating: words[0])
                : SIMD16(
                    lowHalf: SIMD8(repeating: words[0]), highHalf: SIMD8(repeating: words[pairWeightWords]))
            sums[m][0] = I.multiplyPairs(weight, v0, sums[m][0])
            sums[m][1] = I.multiplyPairs(weight, v1, sums[m][1])
            sums[m][2] = I.multiplyPairs(weight, v2, sums[m][2])
            sums[m][3] = I.multiplyPairs(weight, v3, sums[m][3])
        }
        weights += 1
        key += 2 &* b.keyStride
        left &-= 2
    }
    for m in 0..<M {
        let target = UnsafeMutableRawPointer(b.out + (m &* b.outStride &+ column))
        for i in 0..<4 { target.storeBytes(of: sums[m][i], toByteOffset: 64 &* i, as: SIMD16<Float>.self) }
    }
}
