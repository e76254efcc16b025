// SPDX-License-Identifier: MIT

/// sums[j] += Σₕ w[h] · max(0, Σ_c q[h, c] · k[j, c]) with the heads in the lanes: the arguments of `indexerLogits`.
///
/// Queries are packed: panels of sixteen heads, [depth][16], the last with eight where eight suffice; lanes beyond the
/// last head are ignored. Each (query, key) has eight partial sums, lane l for the heads h ≡ l (mod 8), each one chain
/// of multiply-adds over ascending h; each dot product is one chain over ascending c. So a logit's bits depend on its
/// own query and key alone.
public struct IndexerLogitsArguments {
    /// Packed heads.
    public var panels: UnsafePointer<Float>
    /// One per head.
    public var weights: UnsafePointer<Float>
    public var headCount: Int
    public var depth: Int
    /// Keys [keyCount, depth], rows `keyStride` floats apart. Rows up to the next multiple of `indexerKeyTile` are read
    /// and must be readable; what they hold does not matter.
    public var keys: UnsafePointer<Float>
    public var keyStride: Int
    public var keyCount: Int
    /// Eight partial sums per key, for as many keys as are read.
    public var sums: UnsafeMutablePointer<Float>

    public init(
        panels: UnsafePointer<Float>, weights: UnsafePointer<Float>, headCount: Int, depth: Int,
        keys: UnsafePointer<Float>, keyStride: Int, keyCount: Int, sums: UnsafeMutablePointer<Float>
    ) {
        self.panels = panels
        self.weights = weights
        self.headCount = headCount
        self.depth = depth
        self.keys = keys
        self.keyStride = keyStride
        self.keyCount = keyCount
        self.sums = sums
    }
}

/// Keys are taken in multiples of this.
@inlinable public var indexerKeyTile: Int { 12 }

/// See `IndexerLogitsArguments`.
@inlinable @inline(__always)
public func indexerLogits<I: InstructionSet>(_: I.Type, _ arguments: UnsafePointer<IndexerLogitsArguments>) {
    let g = arguments.pointee
    var head = 0
    var panel = g.panels
    while head < g.headCount {
        let isWide = g.headCount &- head > 8
        var j = 0
        while j < g.keyCount {
            if isWide {
                indexerWideTile(I.self, g, panel, head, j)
                indexerWideTile(I.self, g, panel, head, j &+ 6)
            } else {
                indexerNarrowTile(I.self, g, panel, head, j)
            }
            j &+= 12
        }
        panel += g.depth &* (isWide ? 16 : 8)
        head &+= 16
    }
}

/// Sixteen heads times six keys: twelve accumulators, two loads and six broadcasts a step.
@inlinable @inline(never)
func indexerWideTile<I: InstructionSet>(
    _: I.Type, _ g: IndexerLogitsArguments, _ panel: UnsafePointer<Float>, _ head: Int, _ j: Int
) {
    var low = InlineArray<6, SIMD8<Float>>(repeating: SIMD8<Float>())
    var high = InlineArray<6, SIMD8<Float>>(repeating: SIMD8<Float>())
    let keys = g.keys + j &* g.keyStride
    var q = panel
    for c in 0..<g.depth {
        let left = load8(q)
        let right = load8(q + 8)
        for r in 0..<6 {
            let x = SIMD8<Float>(repeating: keys[r &* g.keyStride &+ c])
            low[r] = I.multiplyAdd(x, left, low[r])
            high[r] = I.multiplyAdd(x, right, high[r])
        }
        q += 16
    }
    let rest = g.headCount &- head &- 8
    let leftWeights = load8(g.weights + head)
    let rightWeights = rest >= 8 ? load8(g.weights + (head &+ 8)) : load8(g.weights + (head &+ 8), count: rest)
    let absent = lanes(from: rest)
    for r in 0..<6 {
        let place = g.sums + (j &+ r) &* 8
        let sum = I.multiplyAdd(rectified(I.self, low[r]), leftWeights, load8(UnsafePointer(place)))
        let right = rectified(I.self, high[r]).replacing(with: SIMD8<Float>(), where: absent)
        store8(I.multiplyAdd(right, rightWeights, sum), place)
    }
}

/// Up to eight heads times twelve keys: twelve accumulators, one load and twelve broadcasts a step.
@inlinable @inline(never)
func indexerNarrowTile<I: InstructionSet>(
    _: I.Type, _ g: IndexerLogitsArguments, _ panel: UnsafePointer<Float>, _ head: Int, _ j: Int
) {
    var low = InlineArray<12, SIMD8<Float>>(repeating: SIMD8<Float>())
    let keys = g.keys + j &* g.keyStride
    var q = panel
    for c in 0..<g.depth {
        let left = load8(q)
        for r in 0..<12 {
            low[r] = I.multiplyAdd(SIMD8<Float>(repeating: keys[r &* g.keyStride &+ c]), left, low[r])
        }
        q += 8
    }
    let rest = g.headCount &- head
    let weights = rest >= 8 ? load8(g.weights + head) : load8(g.weights + head, count: rest)
    let absent = lanes(from: rest)
    for r in 0..<12 {
        let place = g.sums + (j &+ r) &* 8
        let value = rectified(I.self, low[r]).replacing(with: SIMD8<Float>(), where: absent)
        store8(I.multiplyAdd(value, weights, load8(UnsafePointer(place))), place)
    }
}

/// max(0, x); NaN stays NaN.
@inlinable @inline(__always)
func rectified<I: InstructionSet>(_: I.Type, _ x: SIMD8<Float>) -> SIMD8<Float> {
    x.replacing(with: SIMD8<Float>(), where: x .< SIMD8<Float>())
}

/// The lanes from `count` on. A comparison of floats: one of integers is made lane by lane.
@inlinable @inline(__always)
func lanes(from count: Int) -> SIMDMask<SIMD8<Int32>> {
    SIMD8<Float>(0, 1, 2, 3, 4, 5, 6, 7) .>= SIMD8<Float>(repeating: Float(count))
}

/// out[j] = (sum of the key's eight partial sums) · scales[j].
@inlinable @inline(__always)
public func finishIndexerLogits<I: InstructionSet>(
    _: I.Type, sums: UnsafePointer<Float>, scales: UnsafePointer<Float>, out: UnsafeMutablePointer<Float>, count: Int
) {
    let whole = count & ~3
    var j = 0
    while j < whole {
        let place = sums + j &* 8
        let sum = I.horizontalSums(load8(place), load8(place + 8), load8(place + 16), load8(place + 24))
        let factors = UnsafeRawPointer(scales + j).loadUnaligned(as: SIMD4<Float>.self)
        UnsafeMutableRawPointer(out + j).storeBytes(of: sum * factors, as: SIMD4<Float>.self)
        j &+= 4
    }
    while j < count {
        out[j] = horizontalSum(load8(sums + j &* 8)) * scales[j]
        j &+= 1
    }
}

/// Puts one head [depth] into lane `lane` of a packed panel whose rows are `width` floats: 8 or 16.
@inlinable @inline(__always)
public func packIndexerHead(
    _ head: UnsafePointer<Float>, to panel: UnsafeMutablePointer<Float>, lane: Int, width: Int, depth: Int
) {
    var place = panel + lane
    for c in 0..<depth {
        place.pointee = head[c]
        place += width
    }
}
