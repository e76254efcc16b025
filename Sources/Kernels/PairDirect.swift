// SPDX-License-Identifier: MIT

public import CFathom

/// How many rows `pairLinear` takes at most: longer ones of more do not stay in the first-level cache.
@inlinable public var pairDirectRows: Int { 4 }

/// out[m, n] += Σ a[m, k] · scale · w[n, k] for few rows and weights that are read where they lie: the arguments of
/// `pairLinear`. The sum is that of `PairBlockArguments`, chunk after chunk.
public struct PairLinearArguments {
    /// Rows of bfloat16 numbers, `aStride` bytes apart, with zeros up to a multiple of sixteen elements; at most
    /// `pairDirectRows`.
    public var a: UnsafeRawPointer
    public var aStride: Int
    public var rowCount: Int
    /// [outputCount, count] in the kernel's format, rows `wStride` bytes apart.
    public var w: UnsafeRawPointer
    public var wStride: Int
    public var outputCount: Int
    /// The summed dimension: whole chunks, or to its end.
    public var count: Int
    /// The products of both operands' scales, [rowCount, blocks], rows `scaleStride` apart.
    public var scales: UnsafePointer<Float>
    public var scaleStride: Int
    /// [rowCount, outputCount], rows `outStride` floats apart.
    public var out: UnsafeMutablePointer<Float>
    public var outStride: Int

    public init(
        a: UnsafeRawPointer, aStride: Int, rowCount: Int, w: UnsafeRawPointer, wStride: Int, outputCount: Int,
        count: Int, scales: UnsafePointer<Float>, scaleStride: Int, out: UnsafeMutablePointer<Float>, outStride: Int
    ) {
        self.a = a
        self.aStride = aStride
        self.rowCount = rowCount
        self.w = w
        self.wStride = wStride
        self.outputCount = outputCount
        self.count = count
        self.scales = scales
        self.scaleStride = scaleStride
        self.out = out
        self.outStride = outStride
    }
}

/// See `PairLinearArguments`.
@inlinable @inline(__always)
public func pairLinear<I: PairInstructionSet, W: PairFormat>(
    _: I.Type, _: W.Type, _ arguments: UnsafePointer<PairLinearArguments>
) {
    let g = arguments.pointee
    var n = 0
    while n < g.outputCount {
        let rest = g.outputCount &- n
        if rest >= 8 {
            switch g.rowCount {
            case 1: pairStrip(I.self, W.self, PairStrip<2, 1>.self, g, n)
            case 2: pairStrip(I.self, W.self, PairStrip<2, 2>.self, g, n)
            case 3: pairStrip(I.self, W.self, PairStrip<2, 3>.self, g, n)
            default: pairStrip(I.self, W.self, PairStrip<2, 4>.self, g, n)
            }
            n &+= 8
        } else {
            switch g.rowCount {
            case 1: pairStrip(I.self, W.self, PairStrip<1, 1>.self, g, n)
            case 2: pairStrip(I.self, W.self, PairStrip<1, 2>.self, g, n)
            case 3: pairStrip(I.self, W.self, PairStrip<1, 3>.self, g, n)
            default: pairStrip(I.self, W.self, PairStrip<1, 4>.self, g, n)
            }
            n &+= 4
        }
    }
}

/// Q times four weight rows times M rows.
public enum PairStrip<let Q: Int, let M: Int> {
    /// A vector accumulator per row and four outputs.
    public typealias Accumulators = InlineArray<Q, InlineArray<M, SIMD16<Float>>>

    /// All accumulators zero.
    @inlinable @inline(__always)
    public static var zero: Accumulators {
        InlineArray(repeating: InlineArray(repeating: SIMD16<Float>()))
    }

    /// Adds the products of sixteen elements.
    @inlinable @inline(__always)
    static func accumulate<I: PairInstructionSet>(
        _: I.Type, _ sums: inout InlineArray<M, SIMD16<Float>>, _ weights: (SIMD16<UInt32>, SIMD16<UInt32>),
        _ a: UnsafeRawPointer, _ aStride: Int, isWhole: Bool
    ) {
        for m in 0..<M {
            sums[m] = I.multiplyPairs(I.repeatQuarter(a + m &* aStride), weights.0, sums[m])
        }
        guard isWhole else { return }
        for m in 0..<M {
            sums[m] = I.multiplyPairs(I.repeatQuarter(a + m &* aStride + 16), weights.1, sums[m])
        }
    }
}

/// Outputs n ..< n + 4Q of all rows. A function of its own, so that the sums have the registers to themselves.
@inlinable @inline(never)
func pairStrip<I: PairInstructionSet, W: PairFormat, let Q: Int, let M: Int>(
    _: I.Type, _: W.Type, _: PairStrip<Q, M>.Type, _ g: PairLinearArguments, _ n: Int
) {
    let w = g.w + n &* g.wStride
    let low = PairRows(w, stride: g.wStride, count: min(4, g.outputCount &- n))
    let high = PairRows(w + (Q &- 1) &* 4 &* g.wStride, stride: g.wStride, count: min(4, g.outputCount &- n))
    let isDense = g.wStride == g.count &* W.byteCount
    let tileBytes = 4 &* Q &* g.wStride
    var ahead = w + (linearPrefetchBytes &+ tileBytes &- 1) / tileBytes &* tileBytes
    var scales = g.scales
    var chunk = 0
    while chunk < g.count {
        let end = min(chunk &+ linearChunk, g.count)
        var totals = PairStrip<Q, M>.zero
        var k = chunk
        while k < end {
            let stop = min(k &+ pairBlock, end)
            var sums = PairStrip<Q, M>.zero
            while k &+ 16 <= stop {
                let a = g.a + 2 &* k
                PairStrip<Q, M>.accumulate(
                    I.self, &sums[0], W.octetPairs(I.self, low, at: k), a, g.aStride, isWhole: true)
                if Q > 1 {
                    PairStrip<Q, M>.accumulate(
                        I.self, &sums[Q &- 1], W.octetPairs(I.self, high, at: k), a, g.aStride, isWhole: true)
                }
                if isDense {
                    for line in 0..<Q &* W.byteCount { fathom_prefetch(ahead + line &* 64) }
                    ahead += Q &* W.byteCount &* 64
                }
                k &+= 16
            }
            if k < stop {
                let a = g.a + 2 &* k
                let isWhole = stop &- k > 8
                PairStrip<Q, M>.accumulate(
                    I.self, &sums[0], pairTail(I.self, W.self, low, at: k, count: stop &- k), a, g.aStride,
                    isWhole: isWhole)
                if Q > 1 {
                    PairStrip<Q, M>.accumulate(
                        I.self, &sums[Q &- 1], pairTail(I.self, W.self, high, at: k, count: stop &- k), a, g.aStride,
                        isWhole: isWhole)
                }
                k = stop
            }
            for m in 0..<M {
                let scale = SIMD16<Float>(repeating: scales[m &* g.scaleStride])
                for q in 0..<Q { totals[q][m] = I.multiplyAdd(sums[q][m], scale, totals[q][m]) }
            }
            scales += 1
        }
        addTotals(I.self, PairStrip<Q, M>.self, totals, g, n)
        chunk = end
    }
}

/// Adds a chunk's totals to the outputs.
@inlinable @inline(__always)
func addTotals<I: PairInstructionSet, let Q: Int, let M: Int>(
    _: I.Type, _: PairStrip<Q, M>.Type, _ totals: PairStrip<Q, M>.Accumulators, _ g: PairLinearArguments, _ n: Int
) {
    let width = min(4 &* Q, g.outputCount &- n)
    for m in 0..<M {
        let total = totals[0][m]
        let sums = I.quarterSums(total, totals[Q &- 1][m], total, total)
        let out = g.out + (m &* g.outStride &+ n)
        if width == 8 {
            let raw = UnsafeMutableRawPointer(out)
            raw.storeBytes(of: raw.loadUnaligned(as: SIMD8<Float>.self) + sums.lowHalf, as: SIMD8<Float>.self)
        } else {
            for lane in 0..<width { out[lane] += sums[lane] }
        }
    }
}
