// SPDX-License-Identifier: MIT

public import CFathom

/// Keys that stay in the first-level cache while the rows pass by.
@inlinable var pairKeyRun: Int { 16 }

@inlinable @inline(__always)
func pairScores<I: PairAttentionInstructionSet>(_: I.Type, _ g: PairAttentionArguments) {
    let isGrouped = g.groupVectors &* 32 < g.keyWidth
    var run = 0
    while run < g.keyCount {
        let end = min(run &+ pairKeyRun, g.keyCount)
        var row = 0
        while row < g.rowCount {
            let left = g.rowCount &- row
            // Totals take as many registers as sums. Two and two instead of three and one.
            let rows = isGrouped ? (left == 4 ? 2 : min(3, left)) : min(4, left)
            var t = run
            while t < end {
                switch (rows, isGrouped) {
                case (4, _): pairScoreTile(I.self, PairScoreTile<4, 0>.self, g, row, t)
                case (3, false): pairScoreTile(I.self, PairScoreTile<3, 0>.self, g, row, t)
                case (2, false): pairScoreTile(I.self, PairScoreTile<2, 0>.self, g, row, t)
                case (_, false): pairScoreTile(I.self, PairScoreTile<1, 0>.self, g, row, t)
                case (3, true): pairScoreTile(I.self, PairScoreTile<3, 1>.self, g, row, t)
                case (2, true): pairScoreTile(I.self, PairScoreTile<2, 1>.self, g, row, t)
                case (_, true): pairScoreTile(I.self, PairScoreTile<1, 1>.self, g, row, t)
                }
                t &+= 4
            }
            row &+= rows
        }
        run = end
    }
}

/// M rows times four keys; G is 1 where sums of groups are added to totals.
public enum PairScoreTile<let M: Int, let G: Int> {}

/// The sums of a query row with four keys.
@usableFromInline
struct PairScoreSums {
    @usableFromInline var a = SIMD16<Float>()
    @usableFromInline var b = SIMD16<Float>()
    @usableFromInline var c = SIMD16<Float>()
    @usableFromInline var d = SIMD16<Float>()

    @inlinable @inline(__always)
    init() {}

    @inlinable @inline(__always)
    mutating func multiply<I: PairAttentionInstructionSet>(
        _: I.Type, _ query: UnsafeRawPointer, _ keys: PairKeys
    ) {
        let x = query.loadUnaligned(as: SIMD16<UInt32>.self)
        a = I.multiplyPairs(x, keys.a, a)
        b = I.multiplyPairs(x, keys.b, b)
        c = I.multiplyPairs(x, keys.c, c)
        d = I.multiplyPairs(x, keys.d, d)
    }

    @inlinable @inline(__always)
    mutating func add(_ sums: PairScoreSums) {
        a += sums.a
        b += sums.b
        c += sums.c
        d += sums.d
    }

    @inlinable @inline(__always)
    func columns<I: PairAttentionInstructionSet>(_: I.Type) -> SIMD16<Float> { I.quarterColumns(a, b, c, d) }
}

/// A vector of each of four keys.
@usableFromInline
struct PairKeys {
    @usableFromInline var a: SIMD16<UInt32>
    @usableFromInline var b: SIMD16<UInt32>
    @usableFromInline var c: SIMD16<UInt32>
    @usableFromInline var d: SIMD16<UInt32>

    @inlinable @inline(__always)
    init(_ rows: PairRows, _ offset: Int) {
        a = (rows.a + offset).loadUnaligned(as: SIMD16<UInt32>.self)
        b = (rows.b + offset).loadUnaligned(as: SIMD16<UInt32>.self)
        c = (rows.c + offset).loadUnaligned(as: SIMD16<UInt32>.self)
        d = (rows.d + offset).loadUnaligned(as: SIMD16<UInt32>.self)
    }
}

/// M rows times the keys t ..< t + 4; beyond the last key the last one again, whose scores nobody reads.
@inlinable @inline(never)
func pairScoreTile<I: PairAttentionInstructionSet, let M: Int, let G: Int>(
    _: I.Type, _: PairScoreTile<M, G>.Type, _ g: PairAttentionArguments, _ row: Int, _ t: Int
) {
    var t0 = PairScoreSums(), t1 = PairScoreSums(), t2 = PairScoreSums(), t3 = PairScoreSums()
    let keys = PairRows(g.keys + t &* g.keyStride, stride: g.keyStride, count: min(4, g.keyCount &- t))
    let stride = g.queryStride
    var query = g.queries + row &* stride
    let end = g.keyWidth &* 2
    let groupBytes = G == 0 ? end : g.groupVectors &* 64
    // Each vector asks for four lines; where nothing is wanted, for what is there already, which costs less than a
    // branch.
    var ahead = keys.a
    var step = 0
    if row == 0, let start = g.ahead {
        ahead = start + t &* end
        step = 64
    }
    var offset = 0
    while offset < end {
        let stop = min(offset &+ groupBytes, end)
        var s0 = PairScoreSums(), s1 = PairScoreSums(), s2 = PairScoreSums(), s3 = PairScoreSums()
        while offset < stop {
            let k = PairKeys(keys, offset)
            s0.multiply(I.self, query, k)
            if M > 1 { s1.multiply(I.self, query + stride, k) }
            if M > 2 { s2.multiply(I.self, query + 2 &* stride, k) }
            if M > 3 { s3.multiply(I.self, query + 3 &* stride, k) }
            fathom_prefetch(ahead)
            fathom_prefetch(ahead + step)
            fathom_prefetch(ahead + 2 &* step)
            fathom_prefetch(ahead + 3 &* step)
            ahead += 4 &* step
            query += 64
            offset &+= 64
        }
        if G == 0 {
            (t0, t1, t2, t3) = (s0, s1, s2, s3)
        } else {
            t0.add(s0)
            if M > 1 { t1.add(s1) }
            if M > 2 { t2.add(s2) }
            if M > 3 { t3.add(s3) }
        }
    }
    let sums = I.addQuarters(t0.columns(I.self), t1.columns(I.self), t2.columns(I.self), t3.columns(I.self))
    storeScores(sums, rowCount: M, to: g.scores + (row &* attentionBlockSize &+ t))
}

/// The quarters of a vector go to four neighbours of each of up to four rows.
@inlinable @inline(__always)
func storeScores(_ sums: SIMD16<Float>, rowCount: Int, to out: UnsafeMutablePointer<Float>) {
    let raw = UnsafeMutableRawPointer(out)
    let stride = 4 &* attentionBlockSize
    raw.storeBytes(of: sums.lowHalf.lowHalf, as: SIMD4<Float>.self)
    if rowCount > 1 { raw.storeBytes(of: sums.lowHalf.highHalf, toByteOffset: stride, as: SIMD4<Float>.self) }
    if rowCount > 2 { raw.storeBytes(of: sums.highHalf.lowHalf, toByteOffset: 2 &* stride, as: SIMD4<Float>.self) }
    if rowCount > 3 { raw.storeBytes(of: sums.highHalf.highHalf, toByteOffset: 3 &* stride, as: SIMD4<Float>.self) }
}
