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
    /// to the next; `groupVectors` are those of a group, but two at least.
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
    /// Columns whose products are summed before a scale multiplies them.
    @inlinable var runWidth: Int { max(64, groupWidth) }
    /// Runs of 64 columns that are values and codes.
    @inlinable var valueRuns: Int { min(block.valueWidth, latentWidth) / 64 }
    /// Lines that the values ask for; see `packedValueTile`.
    @inlinable var valueLines: Int { valueRuns &* pairWeightWords }
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
    guard coding != .float4 else { return false }
    if keyCount < attentionBlockSize {
        for index in 0..<groupCount &* attentionBlockSize { out[index] = 1 }
    }
    var flaws = SIMD4<UInt32>()
    for t in 0..<keyCount {
        let source = scales + t &* stride
        let target = UnsafeMutableRawPointer(out + ((t & 1) &* pairWeightWords &+ t &>> 1))
        var group = 0
        while coding == .float8, group &+ 4 <= groupCount {
            let bits = (source + 4 &* group).loadUnaligned(as: SIMD4<UInt32>.self)
            let place = target + 4 &* group &* attentionBlockSize
            for lane in 0..<4 {
                place.storeBytes(of: bits[lane], toByteOffset: 4 &* lane &* attentionBlockSize, as: UInt32.self)
            }
            flaws |= scaleFlaws(bits)
            group &+= 4
        }
        while group < groupCount {
            let bits =
                coding == .float8
                ? (source + 4 &* group).loadUnaligned(as: UInt32.self)
                : UInt32((source + group).load(as: UInt8.self)) &<< 23
            target.storeBytes(of: bits, toByteOffset: 4 &* group &* attentionBlockSize, as: UInt32.self)
            flaws |= scaleFlaws(SIMD4(repeating: bits))
            group &+= 1
        }
    }
    return flaws[0] | flaws[1] | flaws[2] | flaws[3] == 0
}

/// Zero where the bits are those of a power of two from 2⁻¹⁴ to 2⁷.
@inlinable @inline(__always)
func scaleFlaws(_ bits: SIMD4<UInt32>) -> SIMD4<UInt32> {
    let least = SIMD4<UInt32>(repeating: (127 &- 14) &<< 23)
    let range = SIMD4<UInt32>(repeating: (14 &+ 7) &<< 23)
    let above = bits &- least
    return (bits & 0x7F_FFFF) | ((above | (range &- above)) & 0x8000_0000)
}

/// Whether the bits are those of a power of two from 2⁻¹⁴ to 2⁷.
@inlinable @inline(__always)
func isModestScale(_ bits: UInt32) -> Bool { scaleFlaws(SIMD4(repeating: bits))[0] == 0 }

/// One step of the online softmax over packed keys; see `PackedAttentionArguments`.
@inlinable @inline(__always)
public func packedAttentionBlock<I: PairAttentionInstructionSet>(
    _: I.Type, _ arguments: UnsafePointer<PackedAttentionArguments>
) {
    let g = arguments.pointee
    let b = g.block
    switch (b.rowCount, g.groupWidth >= 64) {
    case (1, true): packedScores(I.self, PackedTile<1, 1>.self, g)
    case (2, true): packedScores(I.self, PackedTile<2, 1>.self, g)
    case (3, true): packedScores(I.self, PackedTile<3, 1>.self, g)
    case (_, true): packedScores(I.self, PackedTile<4, 1>.self, g)
    case (1, false): packedScores(I.self, PackedTile<1, 2>.self, g)
    case (2, false): packedScores(I.self, PackedTile<2, 2>.self, g)
    case (3, false): packedScores(I.self, PackedTile<3, 2>.self, g)
    case (_, false): packedScores(I.self, PackedTile<4, 2>.self, g)
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

/// M rows, which are all, times all keys. Keys are taken one after the other, as they lie in memory: so the processor
/// foresees what is read next, and each is decoded once.
@inlinable @inline(never)
func packedScores<I: PairAttentionInstructionSet, let M: Int, let S: Int>(
    _: I.Type, _: PackedTile<M, S>.Type, _ g: PackedAttentionArguments
) {
    let b = g.block
    // What the values do not ask for, which is about half: memory is to be busy all the time.
    var ahead = b.ahead ?? b.keys
    let step = b.ahead == nil ? 0 : 64
    let lines = max(0, b.keyStride &- g.valueLines)
    var t = 0
    while t < b.keyCount {
        var totals = InlineArray<M, InlineArray<4, SIMD16<Float>>>(
            repeating: InlineArray(repeating: SIMD16<Float>()))
        for i in 0..<min(4, b.keyCount &- t) {
            let sums = packedKeySums(I.self, PackedTile<M, S>.self, g, t &+ i)
            for m in 0..<M { totals[m][i] = sums[m] }
            for _ in 0..<lines &>> 6 {
                fathom_prefetch(ahead)
                ahead += step
            }
        }
        for m in 0..<M {
            let columns = I.quarterColumns(totals[m][0], totals[m][1], totals[m][2], totals[m][3])
            storeScores(
                I.addQuarters(columns, columns, columns, columns), rowCount: 1,
                to: b.scores + (m &* attentionBlockSize &+ t))
        }
        t &+= 4
    }
    for _ in 0..<lines & 63 {
        fathom_prefetch(ahead)
        ahead += step
    }
}

/// The products of M rows with key `t`, in sixteen sums each.
@inlinable @inline(__always)
func packedKeySums<I: PairAttentionInstructionSet, let M: Int, let S: Int>(
    _: I.Type, _: PackedTile<M, S>.Type, _ g: PackedAttentionArguments, _ t: Int
) -> InlineArray<M, SIMD16<Float>> {
    let b = g.block
    let key = b.keys + t &* b.keyStride
    var totals = InlineArray<M, SIMD16<Float>>(repeating: SIMD16<Float>())
    var scales = g.scales + ((t & 1) &* pairWeightWords &+ t &>> 1)
    var column = 0
    while column < g.latentWidth {
        var sums = InlineArray<M, SIMD16<Float>>(repeating: SIMD16<Float>())
        let end = column &+ g.runWidth
        repeat {
            let codes = latentPair(I.self, key + column)
            addProducts(I.self, b.queries + 2 &* column, b.queryStride, codes, to: &sums)
            column &+= 64
        } while column < end
        let factors =
            S == 1
            ? SIMD16<Float>(repeating: scales[0])
            : SIMD16<Float>(
                lowHalf: SIMD8(repeating: scales[0]), highHalf: SIMD8(repeating: scales[attentionBlockSize]))
        for m in 0..<M { totals[m] = I.multiplyAdd(sums[m], factors, totals[m]) }
        scales += S &* attentionBlockSize
    }
    var plain = key + g.plainOffset
    while column < b.keyWidth {
        var sums = InlineArray<M, SIMD16<Float>>(repeating: SIMD16<Float>())
        addProducts(
            I.self, b.queries + 2 &* column, b.queryStride, (plainVector(plain), plainVector(plain + 64)), to: &sums)
        for m in 0..<M { totals[m] += sums[m] }
        plain += 128
        column &+= 64
    }
    return totals
}

/// Adds the products of 64 columns of M rows and a key.
@inlinable @inline(__always)
func addProducts<I: PairAttentionInstructionSet, let M: Int>(
    _: I.Type, _ queries: UnsafeRawPointer, _ stride: Int, _ key: (low: SIMD16<UInt32>, high: SIMD16<UInt32>),
    to sums: inout InlineArray<M, SIMD16<Float>>
) {
    for m in 0..<M {
        let query = queries + m &* stride
        sums[m] = I.multiplyPairs(key.low, plainVector(query), sums[m])
        sums[m] = I.multiplyPairs(key.high, plainVector(query + 64), sums[m])
    }
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
