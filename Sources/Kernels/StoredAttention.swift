// SPDX-License-Identifier: MIT

/// Query rows up to which keys are multiplied as they are stored: with more of them decoding once costs less.
@inlinable public var storedAttentionRows: Int { 4 }

/// Whether `storedAttentionBlock` takes rows of these widths.
@inlinable
public func allowsStoredAttention(keyWidth: Int, valueWidth: Int) -> Bool {
    keyWidth % elementGroup == 0 && valueWidth % elementGroup == 0
}

/// As `attentionBlock`, bit for bit, for few rows and keys in an unscaled format, which are decoded in registers: once
/// for the scores and once for the values, and go to no memory.
@inlinable @inline(__always)
public func storedAttentionBlock<I: InstructionSet, W: ElementFormat>(
    _: I.Type, _: W.Type, _ arguments: UnsafePointer<AttentionArguments>
) {
    let g = arguments.pointee
    storedScores(I.self, W.self, g)
    for row in 0..<g.rowCount { softmaxStep(I.self, g, row) }
    storedValues(I.self, W.self, g)
}

/// scores[r, t] = Σ queries[r] · keys[t].
@inlinable @inline(__always)
func storedScores<I: InstructionSet, W: ElementFormat>(_: I.Type, _: W.Type, _ g: AttentionArguments) {
    var t = 0
    while t < g.keyCount {
        let rest = g.keyCount &- t
        // A single row needs more keys at once, to have enough sums to hide the latency of an addition.
        let keys = rest >= 6 && g.rowCount == 1 ? 6 : rest >= 4 ? 4 : 1
        var row = 0
        while row < g.rowCount {
            // Two and two instead of three and one.
            let left = g.rowCount &- row
            let rows = left == 4 ? 2 : min(3, left)
            switch (keys, rows) {
            case (6, _): storedScoreTile(I.self, W.self, DotTile<6, 1>.self, g, row, t)
            case (4, 3): storedScoreTile(I.self, W.self, DotTile<4, 3>.self, g, row, t)
            case (4, 2): storedScoreTile(I.self, W.self, DotTile<4, 2>.self, g, row, t)
            case (4, _): storedScoreTile(I.self, W.self, DotTile<4, 1>.self, g, row, t)
            case (_, 3): storedScoreTile(I.self, W.self, DotTile<1, 3>.self, g, row, t)
            case (_, 2): storedScoreTile(I.self, W.self, DotTile<1, 2>.self, g, row, t)
            default: storedScoreTile(I.self, W.self, DotTile<1, 1>.self, g, row, t)
            }
            row &+= rows
        }
        t &+= keys
    }
}

@inlinable @inline(never)
func storedScoreTile<I: InstructionSet, W: ElementFormat, let R: Int, let M: Int>(
    _: I.Type, _: W.Type, _: DotTile<R, M>.Type, _ g: AttentionArguments, _ row: Int, _ t: Int
) {
    let out = g.scores + (row &* attentionBlockSize &+ t)
    for m in 0..<M {
        for r in 0..<R { out[m &* attentionBlockSize &+ r] = 0 }
    }
    var sums = DotTile<R, M>.zero
    DotTile<R, M>.accumulate(
        I.self, W.self, &sums, a: g.queries + row &* g.queryStride, aStride: g.queryStride,
        w: g.keys + t &* g.keyStride &* W.byteCount, wStride: g.keyStride &* W.byteCount,
        groupCount: g.keyWidth / elementGroup,
        prefetch: row == 0 ? g.ahead.map { $0 + t &* g.keyWidth &* W.byteCount } : nil)
    DotTile<R, M>.add(I.self, sums, times: 1, to: out, outStride: attentionBlockSize)
}

/// out[r] += Σ weights[r, t] · values[t].
@inlinable @inline(__always)
func storedValues<I: InstructionSet, W: ElementFormat>(_: I.Type, _: W.Type, _ g: AttentionArguments) {
    var row = 0
    while row < g.rowCount {
        let left = g.rowCount &- row
        let rows = left == 4 ? 2 : min(3, left)
        var column = 0
        while column < g.valueWidth {
            switch rows {
            case 3: storedValueTile(I.self, W.self, OuterTile<3>.self, g, row, column)
            case 2: storedValueTile(I.self, W.self, OuterTile<2>.self, g, row, column)
            default:
                if column &+ 64 <= g.valueWidth {
                    storedValueRow(I.self, W.self, g, row, column)
                    column &+= 32
                } else {
                    storedValueTile(I.self, W.self, OuterTile<1>.self, g, row, column)
                }
            }
            column &+= 32
        }
        row &+= rows
    }
}

/// R rows times 32 columns.
@inlinable @inline(never)
func storedValueTile<I: InstructionSet, W: ElementFormat, let R: Int>(
    _: I.Type, _: W.Type, _: OuterTile<R>.Type, _ g: AttentionArguments, _ row: Int, _ column: Int
) {
    let out = g.out + (row &* g.outStride &+ column)
    let weights = g.scores + row &* attentionBlockSize
    var sums = InlineArray<R, InlineArray<4, SIMD8<Float>>>(
        repeating: InlineArray(repeating: SIMD8<Float>()))
    for r in 0..<R {
        for i in 0..<4 { sums[r][i] = load8(UnsafePointer(out + (r &* g.outStride &+ 8 &* i))) }
    }
    var key = g.keys + column &* W.byteCount
    for t in 0..<g.keyCount {
        for i in 0..<4 {
            let value = W.load8(I.self, key + 8 &* i &* W.byteCount)
            for r in 0..<R {
                let weight = SIMD8<Float>(repeating: weights[r &* attentionBlockSize &+ t])
                sums[r][i] = I.multiplyAdd(weight, value, sums[r][i])
            }
        }
        key += g.keyStride &* W.byteCount
    }
    for r in 0..<R {
        for i in 0..<4 { store8(sums[r][i], out + (r &* g.outStride &+ 8 &* i)) }
    }
}

/// One row times 64 columns.
@inlinable @inline(never)
func storedValueRow<I: InstructionSet, W: ElementFormat>(
    _: I.Type, _: W.Type, _ g: AttentionArguments, _ row: Int, _ column: Int
) {
    let out = g.out + (row &* g.outStride &+ column)
    let weights = g.scores + row &* attentionBlockSize
    var sums = InlineArray<8, SIMD8<Float>>(repeating: SIMD8<Float>())
    for i in 0..<8 { sums[i] = load8(UnsafePointer(out + 8 &* i)) }
    var key = g.keys + column &* W.byteCount
    for t in 0..<g.keyCount {
        let weight = SIMD8<Float>(repeating: weights[t])
        for i in 0..<8 {
            sums[i] = I.multiplyAdd(weight, W.load8(I.self, key + 8 &* i &* W.byteCount), sums[i])
        }
        key += g.keyStride &* W.byteCount
    }
    for i in 0..<8 { store8(sums[i], out + 8 &* i) }
}
