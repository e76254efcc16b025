// SPDX-License-Identifier: MIT

public import CFathom

/// out[m, n] += Σ_b scale[m, b] · scale[b, n] · Σ_{k in block b} a[m, k] · b[n, k] over one chunk of the summed
/// dimension: the arguments of `pairBlock`.
///
/// The definition of the sum: inside a block of `pairBlock` elements there are four partial sums; partial sum j adds,
/// for ascending k, the pairs k ≡ 2j (mod 8) as `multiplyPairs` says, from zero. After the block each is multiplied by
/// the product of the two scales and added to its total with one rounding. At the end of a chunk of `linearChunk`
/// elements the totals are added as (0+2)+(1+3), and their sum to the output.
public struct PairBlockArguments {
    /// Rows of bfloat16 numbers, `pairRowBytes` apart, with zeros up to a multiple of sixteen elements.
    public var a: UnsafeRawPointer
    public var rowCount: Int
    /// Units of `pairUnitRows` rows: for every eight elements, these of each row.
    public var b: UnsafeRawPointer
    public var outputCount: Int
    /// Elements of the summed dimension, at most `linearChunk`.
    public var count: Int
    /// [rowCount, blocks], rows `rowScaleStride` apart.
    public var rowScales: UnsafePointer<Float>
    public var rowScaleStride: Int
    /// [blocks, outputCount rounded up to units], rows `columnScaleStride` apart; nil for 1.
    public var columnScales: UnsafePointer<Float>?
    public var columnScaleStride: Int
    /// [rowCount, outputCount], rows `outStride` floats apart.
    public var out: UnsafeMutablePointer<Float>
    public var outStride: Int
    /// Memory to ask for meanwhile, or nil: `outputCount` rows of a chunk of numbers of `aheadByteCount` (1 or 2)
    /// bytes, `aheadStride` bytes apart; or with `aheadIsColumns` the numbers of so many columns, a chunk of rows of
    /// them.
    public var ahead: UnsafeRawPointer?
    public var aheadStride: Int
    public var aheadByteCount: Int
    public var aheadIsColumns = false

    public init(
        a: UnsafeRawPointer, rowCount: Int, b: UnsafeRawPointer, outputCount: Int, count: Int,
        rowScales: UnsafePointer<Float>, rowScaleStride: Int, columnScales: UnsafePointer<Float>?,
        columnScaleStride: Int, out: UnsafeMutablePointer<Float>, outStride: Int, ahead: UnsafeRawPointer? = nil,
        aheadStride: Int = 0, aheadByteCount: Int = 0
    ) {
        self.a = a
        self.rowCount = rowCount
        self.b = b
        self.outputCount = outputCount
        self.count = count
        self.rowScales = rowScales
        self.rowScaleStride = rowScaleStride
        self.columnScales = columnScales
        self.columnScaleStride = columnScaleStride
        self.out = out
        self.outStride = outStride
        self.ahead = ahead
        self.aheadStride = aheadStride
        self.aheadByteCount = aheadByteCount
    }
}

/// See `PairBlockArguments`. An output's bits depend on its own row of `a` and of `b` alone.
@inlinable @inline(__always)
public func pairProduct<I: PairInstructionSet>(_: I.Type, _ arguments: UnsafePointer<PairBlockArguments>) {
    let g = arguments.pointee
    var m = 0
    while m < g.rowCount {
        let rest = g.rowCount &- m
        // Two tiles of about the same height at the end: a low one has too few sums to hide their latency.
        let rows = rest >= 9 ? 6 : rest > 6 ? 4 : rest
        var n = 0
        while n < g.outputCount {
            switch rows {
            case 6: pairTile(I.self, PairTile<6>.self, g, m, n)
            case 5: pairTile(I.self, PairTile<5>.self, g, m, n)
            case 4: pairTile(I.self, PairTile<4>.self, g, m, n)
            case 3: pairTile(I.self, PairTile<3>.self, g, m, n)
            case 2: pairTile(I.self, PairTile<2>.self, g, m, n)
            default: pairTile(I.self, PairTile<1>.self, g, m, n)
            }
            n &+= pairUnitRows
        }
        m &+= rows
    }
}

/// One row times a unit of eight: two vectors of four partial sums for each of four columns.
@usableFromInline
struct PairRowSums {
    @usableFromInline var low = SIMD16<Float>()
    @usableFromInline var high = SIMD16<Float>()

    @inlinable @inline(__always)
    init() {}

    /// Adds the products of eight elements.
    @inlinable @inline(__always)
    mutating func multiply<I: PairInstructionSet>(
        _: I.Type, _ x: UnsafeRawPointer, _ y: (low: SIMD16<UInt32>, high: SIMD16<UInt32>)
    ) {
        let x = I.repeatQuarter(x)
        low = I.multiplyPairs(x, y.low, low)
        high = I.multiplyPairs(x, y.high, high)
    }

    /// Adds a block's sums times their scales.
    @inlinable @inline(__always)
    mutating func add<I: PairInstructionSet>(
        _: I.Type, _ sums: PairRowSums, _ row: UnsafePointer<Float>, _ columns: UnsafePointer<Float>?
    ) {
        let scale = SIMD16<Float>(repeating: row[0])
        if let columns {
            low = I.multiplyAdd(sums.low, scale * I.spreadQuarters(columns), low)
            high = I.multiplyAdd(sums.high, scale * I.spreadQuarters(columns + 4), high)
        } else {
            low = I.multiplyAdd(sums.low, scale, low)
            high = I.multiplyAdd(sums.high, scale, high)
        }
    }
}

/// The number of a tile's rows.
public enum PairTile<let M: Int> {}

/// One tile of `pairProduct`: with six rows, twelve sums and twelve totals stay in registers beside what is loaded. A
/// function of its own, so that they have the registers to themselves; each row is spelled out, since a loop over them
/// would keep them in memory.
@inlinable @inline(never)
func pairTile<I: PairInstructionSet, let M: Int>(
    _: I.Type, _: PairTile<M>.Type, _ g: PairBlockArguments, _ m: Int, _ n: Int
) {
    var t0 = PairRowSums(), t1 = PairRowSums(), t2 = PairRowSums()
    var t3 = PairRowSums(), t4 = PairRowSums(), t5 = PairRowSums()
    var a = g.a + m &* pairRowBytes
    var b = g.b + n / pairUnitRows &* pairUnitBytes
    var scales = g.rowScales + m &* g.rowScaleStride
    var columns = g.columnScales.map { $0 + n }
    let stride = g.rowScaleStride
    var left = g.count
    // Each block of K asks for a row; where nothing is wanted, for what is there already, which costs less than a
    // branch.
    var ahead = a
    var (step, rowStep, second) = (0, 0, 0)
    if m == 0, let start = g.ahead {
        if g.aheadIsColumns {
            // Two lines of 128 rows for each unit; the first eight units ask for the first 128 bytes of all rows.
            let line = n / 64 &* 128
            if line < g.outputCount &* g.aheadByteCount {
                ahead = start + (n / 8 % 8 &* 128 &* g.aheadStride &+ line)
                step = g.aheadStride
                second = 64
            }
        } else {
            ahead = start + n &* g.aheadStride
            step = 64 &* g.aheadByteCount
            rowStep = g.aheadStride &- pairBlock / 8 &* step
            second = step &>> 1
        }
    }
    while left > 0 {
        var s0 = PairRowSums(), s1 = PairRowSums(), s2 = PairRowSums()
        var s3 = PairRowSums(), s4 = PairRowSums(), s5 = PairRowSums()
        var octets = (min(left, pairBlock) &+ 7) &>> 3
        while octets > 0 {
            let y = (
                low: b.loadUnaligned(as: SIMD16<UInt32>.self),
                high: b.loadUnaligned(fromByteOffset: 64, as: SIMD16<UInt32>.self)
            )
            s0.multiply(I.self, a, y)
            if M > 1 { s1.multiply(I.self, a + pairRowBytes, y) }
            if M > 2 { s2.multiply(I.self, a + 2 &* pairRowBytes, y) }
            if M > 3 { s3.multiply(I.self, a + 3 &* pairRowBytes, y) }
            if M > 4 { s4.multiply(I.self, a + 4 &* pairRowBytes, y) }
            if M > 5 { s5.multiply(I.self, a + 5 &* pairRowBytes, y) }
            fathom_prefetch(ahead)
            fathom_prefetch(ahead + second)
            ahead += step
            a += 16
            b += 128
            octets &-= 1
        }
        ahead += rowStep
        t0.add(I.self, s0, scales, columns)
        if M > 1 { t1.add(I.self, s1, scales + stride, columns) }
        if M > 2 { t2.add(I.self, s2, scales + 2 &* stride, columns) }
        if M > 3 { t3.add(I.self, s3, scales + 3 &* stride, columns) }
        if M > 4 { t4.add(I.self, s4, scales + 4 &* stride, columns) }
        if M > 5 { t5.add(I.self, s5, scales + 5 &* stride, columns) }
        if let row = columns { columns = row + g.columnScaleStride }
        scales += 1
        left &-= pairBlock
    }
    finishPairRows(I.self, t0, t1, g, m, n, isPair: M > 1)
    if M > 2 { finishPairRows(I.self, t2, t3, g, m &+ 2, n, isPair: M > 3) }
    if M > 4 { finishPairRows(I.self, t4, t5, g, m &+ 4, n, isPair: M > 5) }
}

/// Adds the totals of a chunk to the outputs of one or two rows.
@inlinable @inline(__always)
func finishPairRows<I: PairInstructionSet>(
    _: I.Type, _ first: PairRowSums, _ second: PairRowSums, _ g: PairBlockArguments, _ m: Int, _ n: Int, isPair: Bool
) {
    let sums = I.quarterSums(first.low, first.high, second.low, second.high)
    let out = g.out + (m &* g.outStride &+ n)
    addSums(sums.lowHalf, to: out, count: g.outputCount &- n)
    if isPair { addSums(sums.highHalf, to: out + g.outStride, count: g.outputCount &- n) }
}

/// Adds the first `count` lanes, or all eight, to what is there.
@inlinable @inline(__always)
func addSums(_ sums: SIMD8<Float>, to out: UnsafeMutablePointer<Float>, count: Int) {
    if count >= 8 {
        store8(load8(UnsafePointer(out)) + sums, out)
    } else {
        for lane in 0..<count { out[lane] += sums[lane] }
    }
}
