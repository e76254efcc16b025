// SPDX-License-Identifier: MIT

public import CFathom

/// Rows as the products of pairs take them: the arguments of `packPairRows` and `packPairUnits`.
public struct PairPackArguments {
    /// Rows with the summed dimension contiguous, `stride` bytes apart.
    public var source: UnsafeRawPointer
    public var stride: Int
    public var rowCount: Int
    /// Elements of each row.
    public var count: Int
    /// Rows, `outStride` bytes apart, or units.
    public var out: UnsafeMutableRawPointer
    public var outStride: Int

    public init(
        source: UnsafeRawPointer, stride: Int, rowCount: Int, count: Int, out: UnsafeMutableRawPointer, outStride: Int
    ) {
        self.source = source
        self.stride = stride
        self.rowCount = rowCount
        self.count = count
        self.out = out
        self.outStride = outStride
    }
}

/// Rows of bfloat16 numbers, with zeros up to a multiple of 64 elements.
@inlinable @inline(__always)
public func packPairRows<I: PairInstructionSet, W: PairFormat>(
    _: I.Type, _: W.Type, _ arguments: UnsafePointer<PairPackArguments>
) {
    let g = arguments.pointee
    let whole = g.count & ~63
    for row in 0..<g.rowCount {
        let source = g.source + row &* g.stride
        let out = g.out + row &* g.outStride
        var k = 0
        while k < whole {
            fathom_prefetch(source + (4 &* g.stride &+ k &* W.byteCount))
            if W.byteCount > 1 { fathom_prefetch(source + (4 &* g.stride &+ k &* W.byteCount &+ 64)) }
            packPairRun(I.self, W.self, source + k &* W.byteCount, to: out + 2 &* k)
            k &+= 64
        }
        guard k < g.count else { continue }
        var tail = InlineArray<16, SIMD16<UInt8>>(repeating: SIMD16<UInt8>())
        withUnsafeMutableBytes(of: &tail) { bytes in
            guard let base = bytes.baseAddress else { return }
            for i in 0..<(g.count &- k) &* W.byteCount {
                base.storeBytes(
                    of: source.load(fromByteOffset: k &* W.byteCount &+ i, as: UInt8.self), toByteOffset: i,
                    as: UInt8.self)
            }
            packPairRun(I.self, W.self, UnsafeRawPointer(base), to: out + 2 &* k)
        }
    }
}

/// 64 neighbours: four runs of sixteen, whose first and second halves go to where they belong.
@inlinable @inline(__always)
func packPairRun<I: PairInstructionSet, W: PairFormat>(
    _: I.Type, _: W.Type, _ source: UnsafeRawPointer, to out: UnsafeMutableRawPointer
) {
    let (low, high) = W.octetPairs(I.self, PairRows(source, stride: 16 &* W.byteCount, count: 4), at: 0)
    out.storeBytes(of: low.lowHalf.lowHalf, toByteOffset: 0, as: SIMD4<UInt32>.self)
    out.storeBytes(of: high.lowHalf.lowHalf, toByteOffset: 16, as: SIMD4<UInt32>.self)
    out.storeBytes(of: low.lowHalf.highHalf, toByteOffset: 32, as: SIMD4<UInt32>.self)
    out.storeBytes(of: high.lowHalf.highHalf, toByteOffset: 48, as: SIMD4<UInt32>.self)
    out.storeBytes(of: low.highHalf.lowHalf, toByteOffset: 64, as: SIMD4<UInt32>.self)
    out.storeBytes(of: high.highHalf.lowHalf, toByteOffset: 80, as: SIMD4<UInt32>.self)
    out.storeBytes(of: low.highHalf.highHalf, toByteOffset: 96, as: SIMD4<UInt32>.self)
    out.storeBytes(of: high.highHalf.highHalf, toByteOffset: 112, as: SIMD4<UInt32>.self)
}

/// Units of `pairUnitRows` rows; in the last one the rows that are missing hold numbers without a meaning. Reads
/// nothing beyond a row's end; zeros follow up to a multiple of sixteen elements.
@inlinable @inline(__always)
public func packPairUnits<I: PairInstructionSet, W: PairFormat>(
    _: I.Type, _: W.Type, _ arguments: UnsafePointer<PairPackArguments>
) {
    let g = arguments.pointee
    var row = 0
    while row < g.rowCount {
        let unit = g.out + row / pairUnitRows &* pairUnitBytes + row % pairUnitRows / 4 &* 64
        packPairQuad(
            I.self, W.self,
            PairRows(g.source + row &* g.stride, stride: g.stride, count: min(4, g.rowCount &- row)),
            stride: g.stride, count: g.count, to: unit)
        row &+= 4
    }
}

/// Four rows of a unit.
@inlinable @inline(__always)
func packPairQuad<I: PairInstructionSet, W: PairFormat>(
    _: I.Type, _: W.Type, _ rows: PairRows, stride: Int, count: Int, to unit: UnsafeMutableRawPointer
) {
    var out = unit
    var k = 0
    while k &+ 16 <= count {
        if k &* W.byteCount % 64 == 0 {
            // Rows are too short for the processor to foresee where the next begin.
            let ahead = 4 &* stride &+ k &* W.byteCount
            fathom_prefetch(rows.a + ahead)
            fathom_prefetch(rows.b + ahead)
            fathom_prefetch(rows.c + ahead)
            fathom_prefetch(rows.d + ahead)
        }
        let (low, high) = W.octetPairs(I.self, rows, at: k)
        out.storeBytes(of: low, as: SIMD16<UInt32>.self)
        out.storeBytes(of: high, toByteOffset: 128, as: SIMD16<UInt32>.self)
        out += 256
        k &+= 16
    }
    guard k < count else { return }
    let (low, high) = pairTail(I.self, W.self, rows, at: k, count: count &- k)
    out.storeBytes(of: low, as: SIMD16<UInt32>.self)
    if count &- k > 8 { out.storeBytes(of: high, toByteOffset: 128, as: SIMD16<UInt32>.self) }
}

/// Units of rows that are neighbours in memory: `stride` is that of the summed dimension. Squares of eight by eight are
/// transposed on the way, a cache line of each K index at a time. Writes whole units up to that line's end.
@inlinable @inline(__always)
public func packPairColumns<I: PairInstructionSet, W: PairFormat>(
    _: I.Type, _: W.Type, _ arguments: UnsafePointer<PairPackArguments>
) {
    let g = arguments.pointee
    let lineRows = 64 / W.byteCount
    let padded = (g.count &+ 15) & ~15
    var k = 0
    while k < padded {
        let depth = min(8, g.count &- k)
        var row = 0
        while row < g.rowCount {
            let source = g.source + (k &* g.stride &+ row &* W.byteCount)
            let out = g.out + (row / pairUnitRows &* pairUnitBytes &+ 16 &* k)
            if depth == 8 && row &+ lineRows <= g.rowCount {
                for i in 0..<8 { fathom_prefetch(source + (16 &+ i) &* g.stride) }
                W.packColumns(I.self, source, stride: g.stride, to: out)
            } else {
                packPairCorner(
                    I.self, W.self, source, stride: g.stride, depth: depth,
                    byteCount: min(lineRows, g.rowCount &- row) &* W.byteCount, to: out)
            }
            row &+= lineRows
        }
        k &+= 8
    }
}

/// Lines that end early, and fewer than eight of them or none: zeros follow. Reads nothing beyond.
@inlinable @inline(never)
func packPairCorner<I: PairInstructionSet, W: PairFormat>(
    _: I.Type, _: W.Type, _ source: UnsafeRawPointer, stride: Int, depth: Int, byteCount: Int,
    to out: UnsafeMutableRawPointer
) {
    var lines = InlineArray<8, SIMD16<UInt32>>(repeating: SIMD16<UInt32>())
    withUnsafeMutableBytes(of: &lines) { bytes in
        guard let base = bytes.baseAddress else { return }
        var i = 0
        while i < depth {
            (base + 64 &* i).copyMemory(from: source + i &* stride, byteCount: byteCount)
            i &+= 1
        }
        W.packColumns(I.self, UnsafeRawPointer(base), stride: 64, to: out)
    }
}

/// The last `count` (1…15) numbers of four rows with zeros behind them; reads nothing beyond.
@inlinable @inline(__always)
func pairTail<I: PairInstructionSet, W: PairFormat>(
    _: I.Type, _: W.Type, _ rows: PairRows, at element: Int, count: Int
) -> (SIMD16<UInt32>, SIMD16<UInt32>) {
    var tail = InlineArray<8, SIMD16<UInt8>>(repeating: SIMD16<UInt8>())
    return withUnsafeMutableBytes(of: &tail) { bytes in
        guard let base = bytes.baseAddress else { return (SIMD16<UInt32>(), SIMD16<UInt32>()) }
        let offset = element &* W.byteCount
        for i in 0..<count &* W.byteCount {
            base.storeBytes(
                of: rows.a.load(fromByteOffset: offset &+ i, as: UInt8.self), toByteOffset: i, as: UInt8.self)
            base.storeBytes(
                of: rows.b.load(fromByteOffset: offset &+ i, as: UInt8.self), toByteOffset: 32 &+ i, as: UInt8.self)
            base.storeBytes(
                of: rows.c.load(fromByteOffset: offset &+ i, as: UInt8.self), toByteOffset: 64 &+ i, as: UInt8.self)
            base.storeBytes(
                of: rows.d.load(fromByteOffset: offset &+ i, as: UInt8.self), toByteOffset: 96 &+ i, as: UInt8.self)
        }
        return W.octetPairs(I.self, PairRows(UnsafeRawPointer(base), stride: 32, count: 4), at: 0)
    }
}

/// The upper halves of floats that are bfloat16 numbers, up to a multiple of sixteen a row. `sourceStride` counts
/// floats, `outStride` bytes.
@inlinable @inline(__always)
public func narrowPairRows(
    _ source: UnsafePointer<Float>, sourceStride: Int, rowCount: Int, count: Int, to out: UnsafeMutableRawPointer,
    outStride: Int
) {
    for row in 0..<rowCount {
        let from = source + row &* sourceStride
        let to = out + row &* outStride
        var k = 0
        while k < count {
            let bits = UnsafeRawPointer(from + k).loadUnaligned(as: SIMD16<UInt32>.self) &>> 16
            to.storeBytes(of: SIMD16<UInt16>(truncatingIfNeeded: bits), toByteOffset: 2 &* k, as: SIMD16<UInt16>.self)
            k &+= 16
        }
    }
}
