// SPDX-License-Identifier: MIT

public import CFathom

/// Attention of few query rows over a block of packed FP8 keys that are read where they lie: the arguments of
/// `packedAttentionBlock`.
///
/// The definition is that of `PairAttentionArguments` over the keys that `decodeLatentPairs` makes: scales are powers
/// of two here, and multiply the sums of a group's products instead of the codes, which changes no bit as long as no
/// product leaves the range of normal numbers. `readLatentScales` and `isModerate` say whether that is so.
public struct PackedAttentionArguments {
    /// Queries in the order of `decodeLatentPairs`; `keys` are the codes, `keyStride` the bytes from one key's codes
    /// to the next; `groupVectors` is 2.
    public var block: PairAttentionArguments
    /// Columns that are stored as codes, a multiple of 64; the others are bfloat16.
    public var latentWidth: Int
    /// Columns that share a scale: 32, or a multiple of 64.
    public var groupWidth: Int
    /// Bytes from a key's codes to its bfloat16 numbers.
    public var plainOffset: Int
    /// What `readLatentScales` made.
    public var scales: UnsafePointer<Float>
    /// rowCount × groups × `pairWeightWords` words of scratch.
    public var weights: UnsafeMutablePointer<UInt32>

    public init(
        block: PairAttentionArguments, latentWidth: Int, groupWidth: Int, plainOffset: Int,
        scales: UnsafePointer<Float>, weights: UnsafeMutablePointer<UInt32>
    ) {
        self.block = block
        self.latentWidth = latentWidth
        self.groupWidth = groupWidth
        self.plainOffset = plainOffset
        self.scales = scales
        self.weights = weights
    }

    @inlinable var groupCount: Int { latentWidth / groupWidth }
}

/// Query rows up to which codes are multiplied as they are stored.
@inlinable public var packedAttentionRows: Int { 4 }

/// Whether bfloat16 numbers, given by their bits, are zero or from 2⁻⁸⁰ to 2¹⁰⁰ in magnitude.
@inlinable @inline(__always)
public func isModerate(_ bits: UnsafePointer<UInt16>, count: Int) -> Bool {
    var isModerate = true
    for index in 0..<count {
        let magnitude = bits[index] & 0x7FFF
        isModerate = isModerate && (magnitude == 0 || (magnitude >= 47 << 7 && magnitude <= 227 << 7))
    }
    return isModerate
}

/// The scales of up to 64 keys as floats [groups, 64]: in each group those of the even keys, then those of the odd
/// ones; ones where there is no key. False if one is no power of two from 2⁻¹⁴ to 2⁷.
///
/// - Parameter stride: bytes from a key's scales to the next.
@inlinable @inline(__always)
public func readLatentScales(
    _ scales: UnsafeRawPointer, stride: Int, keyCount: Int, groupCount: Int, coding: PackedLatentCoding,
    to out: UnsafeMutablePointer<Float>
) -> Bool {
    var isPlain = coding != .float4
    for index in 0..<groupCount &* attentionBlockSize { out[index] = 1 }
    for t in 0..<keyCount {
        let source = scales + t &* stride
        let target = out + (t & 1) &* pairWeightWords + t &>> 1
        for group in 0..<groupCount {
            let bits =
                coding == .float8
                ? (source + 4 &* group).loadUnaligned(as: UInt32.self)
                : UInt32((source + group).load(as: UInt8.self)) &<< 23
            isPlain = isPlain && isModestScale(bits)
            target[group &* attentionBlockSize] = Float(bitPattern: bits)
        }
    }
    return isPlain
}

/// Whether the bits are those of a power of two from 2⁻¹⁴ to 2⁷.
@inlinable @inline(__always)
func isModestScale(_ bits: UInt32) -> Bool {
    bits & 0x807F_FFFF == 0 && bits >= (127 &- 14) &<< 23 && bits <= (127 &+ 7) &<< 23
}

/// One step of the online softmax over packed keys; see `PackedAttentionArguments`.
@inlinable @inline(__always)
public func packedAttentionBlock<I: PairAttentionInstructionSet>(
    _: I.Type, _ arguments: UnsafePointer<PackedAttentionArguments>
) {
    let g = arguments.pointee
    let b = g.block
    var t = 0
    while t < b.keyCount {
        var row = 0
        while row < b.rowCount {
            switch (b.rowCount &- row, g.groupWidth >= 64) {
            case (1, true): packedScoreTile(I.self, PackedTile<1, 1>.self, g, row, t)
            case (1, false): packedScoreTile(I.self, PackedTile<1, 2>.self, g, row, t)
            case (_, true): packedScoreTile(I.self, PackedTile<2, 1>.self, g, row, t)
            case (_, false): packedScoreTile(I.self, PackedTile<2, 2>.self, g, row, t)
            }
            row &+= 2
        }
        t &+= 4
    }
    for row in 0..<b.rowCount {
        pairSoftmax(
            I.self, b.scores + row &* attentionBlockSize, limit: Int(b.limits[row]), keyCount: b.keyCount,
            scale: b.scale, maximum: b.maxima + row, sum: b.sums + row)
        scaleWeights(g, row)
    }
    packedValues(I.self, g)
}

/// M rows; S scales in 64 columns.
public enum PackedTile<let M: Int, let S: Int> {}

/// The scale of each lane for the 64 columns from `column` of key `t`.
@inlinable @inline(__always)
func laneScales<let M: Int, let S: Int>(
    _: PackedTile<M, S>.Type, _ g: PackedAttentionArguments, _ column: Int, _ t: Int
) -> SIMD16<Float> {
    let scales = g.scales + (column / g.groupWidth &* attentionBlockSize &+ (t & 1) &* pairWeightWords &+ t &>> 1)
    if S == 1 { return SIMD16(repeating: scales[0]) }
    return SIMD16(lowHalf: SIMD8(repeating: scales[0]), highHalf: SIMD8(repeating: scales[attentionBlockSize]))
}

/// Totals of up to two rows with one key.
@usableFromInline
struct PackedTotals {
    @usableFromInline var first = SIMD16<Float>()
    @usableFromInline var second = SIMD16<Float>()

    @inlinable @inline(__always)
    init() {}

    /// Adds the scaled products of 64 columns.
    @inlinable @inline(__always)
    mutating func add<I: PairAttentionInstructionSet>(
        _: I.Type, _ query: UnsafeRawPointer, _ stride: Int, isPair: Bool,
        _ key: (low: SIMD16<UInt32>, high: SIMD16<UInt32>), _ scales: SIMD16<Float>
    ) {
        first = I.multiplyAdd(Self.products(I.self, query, key), scales, first)
        if isPair { second = I.multiplyAdd(Self.products(I.self, query + stride, key), scales, second) }
    }

    @inlinable @inline(__always)
    static func products<I: PairAttentionInstructionSet>(
        _: I.Type, _ query: UnsafeRawPointer, _ key: (low: SIMD16<UInt32>, high: SIMD16<UInt32>)
    ) -> SIMD16<Float> {
        let sum = I.multiplyPairs(plainVector(query), key.low, SIMD16<Float>())
        return I.multiplyPairs(plainVector(query + 64), key.high, sum)
    }
}

/// M rows times the keys t ..< t + 4; beyond the last key the last one again, whose scores nobody reads.
@inlinable @inline(never)
func packedScoreTile<I: PairAttentionInstructionSet, let M: Int, let S: Int>(
    _: I.Type, _: PackedTile<M, S>.Type, _ g: PackedAttentionArguments, _ row: Int, _ t: Int
) {
    let b = g.block
    var t0 = PackedTotals(), t1 = PackedTotals(), t2 = PackedTotals(), t3 = PackedTotals()
    let keys = PairRows(b.keys + t &* b.keyStride, stride: b.keyStride, count: min(4, b.keyCount &- t))
    let last = b.keyCount &- 1
    let stride = b.queryStride
    let query = b.queries + row &* stride
    var ahead = keys.a
    var step = 0
    if row == 0, let start = b.ahead {
        ahead = start + t &* b.keyStride
        step = b.keyStride
    }
    var column = 0
    while column < g.latentWidth {
        let q = query + 2 &* column
        for key in 0..<4 { fathom_prefetch(ahead + (column &+ key &* step)) }
        t0.add(
            I.self, q, stride, isPair: M > 1, latentPair(I.self, keys.a + column),
            laneScales(PackedTile<M, S>.self, g, column, t))
        t1.add(
            I.self, q, stride, isPair: M > 1, latentPair(I.self, keys.b + column),
            laneScales(PackedTile<M, S>.self, g, column, min(t &+ 1, last)))
        t2.add(
            I.self, q, stride, isPair: M > 1, latentPair(I.self, keys.c + column),
            laneScales(PackedTile<M, S>.self, g, column, min(t &+ 2, last)))
        t3.add(
            I.self, q, stride, isPair: M > 1, latentPair(I.self, keys.d + column),
            laneScales(PackedTile<M, S>.self, g, column, min(t &+ 3, last)))
        column &+= 64
    }
    // The plain numbers, and the bytes of the next keys that the codes did not cover.
    var plain = g.plainOffset
    let ones = SIMD16<Float>(repeating: 1)
    while column < b.keyWidth {
        let q = query + 2 &* column
        t0.add(I.self, q, stride, isPair: M > 1, (plainVector(keys.a + plain), plainVector(keys.a + plain + 64)), ones)
        t1.add(I.self, q, stride, isPair: M > 1, (plainVector(keys.b + plain), plainVector(keys.b + plain + 64)), ones)
        t2.add(I.self, q, stride, isPair: M > 1, (plainVector(keys.c + plain), plainVector(keys.c + plain + 64)), ones)
        t3.add(I.self, q, stride, isPair: M > 1, (plainVector(keys.d + plain), plainVector(keys.d + plain + 64)), ones)
        for key in 0..<4 {
            fathom_prefetch(ahead + (key &* step &+ plain))
            fathom_prefetch(ahead + (key &* step &+ plain &+ 64))
        }
        plain &+= 128
        column &+= 64
    }
    let first = I.quarterColumns(t0.first, t1.first, t2.first, t3.first)
    let second = M > 1 ? I.quarterColumns(t0.second, t1.second, t2.second, t3.second) : first
    storeScores(
        I.addQuarters(first, second, first, second), rowCount: M,
        to: b.scores + (row &* attentionBlockSize &+ t))
}

/// 64 columns of codes as bfloat16 numbers.
@inlinable @inline(__always)
func latentPair<I: PairAttentionInstructionSet>(
    _: I.Type, _ codes: UnsafeRawPointer
) -> (low: SIMD16<UInt32>, high: SIMD16<UInt32>) {
    let codes = plainVector(codes)
    return (I.lowerLatent(codes), I.upperLatent(codes))
}

@inlinable @inline(__always)
func plainVector(_ address: UnsafeRawPointer) -> SIMD16<UInt32> { address.loadUnaligned(as: SIMD16<UInt32>.self) }
