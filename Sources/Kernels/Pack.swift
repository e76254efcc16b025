// SPDX-License-Identifier: MIT

public import CFathom

/// A block of a stored matrix that is to become floats with K contiguous: the arguments of `pack`.
///
/// Each of the `rowCount` packed rows holds `count` numbers and then zeros up to a whole group of 32.
public struct PackArguments {
    /// Element (0, 0) of the block; for FP4 the byte that holds it.
    public var source: UnsafeRawPointer
    /// Bytes from one row to the next, or with `rowsAreContiguous` from one K index to the next.
    public var stride: Int
    /// Whether neighbours in memory are rows instead of K indices.
    public var rowsAreContiguous: Bool
    /// 1 if element (0, 0) is the upper half of its byte; FP4 only.
    public var firstNibble: Int
    public var rowCount: Int
    public var count: Int
    /// [rowCount, blocks of K] numbers to multiply by, or nil; rows `scaleStride` apart.
    public var scales: UnsafePointer<Float>?
    public var scaleStride: Int
    /// Elements of K that share a scale, a multiple of 8, and the place of element 0 in its block, another.
    public var blockColumns: Int
    public var firstColumn: Int
    /// Whether numbers stay too small by the square of FP8's `scaleBias`.
    public var isRaw: Bool
    /// Whether each group of 32 is put in the order of FP8's groups (`ElementFormat.isInterleaved`).
    public var interleaves: Bool
    /// Rows `outStride` floats apart, at least `count` rounded up to a group.
    public var out: UnsafeMutablePointer<Float>
    public var outStride: Int
    /// Rows that lie together, 1, 4 or 8: for every eight elements of K first these of the unit's first row, then those
    /// of its second, and so on; the next unit is `unitRows` · `outStride` floats away.
    public var unitRows: Int

    public init(
        source: UnsafeRawPointer, stride: Int, rowsAreContiguous: Bool, firstNibble: Int, rowCount: Int, count: Int,
        scales: UnsafePointer<Float>?, scaleStride: Int, blockColumns: Int, firstColumn: Int, isRaw: Bool,
        interleaves: Bool, out: UnsafeMutablePointer<Float>, outStride: Int, unitRows: Int = 1
    ) {
        self.source = source
        self.stride = stride
        self.rowsAreContiguous = rowsAreContiguous
        self.firstNibble = firstNibble
        self.rowCount = rowCount
        self.count = count
        self.scales = scales
        self.scaleStride = scaleStride
        self.blockColumns = blockColumns
        self.firstColumn = firstColumn
        self.isRaw = isRaw
        self.interleaves = interleaves
        self.out = out
        self.outStride = outStride
        self.unitRows = unitRows
    }

    /// Where a packed row lies.
    @inlinable @inline(__always)
    func place(_ row: Int) -> PackedRow {
        let shift = unitRows.trailingZeroBitCount
        let unit = row &>> shift
        return PackedRow(
            start: out + (unit &* (outStride &<< shift) &+ (row &- unit &<< shift) &* 8), step: unitRows)
    }
}

/// A packed row: eights of K, `8 * step` floats apart.
@usableFromInline
struct PackedRow {
    @usableFromInline var start: UnsafeMutablePointer<Float>
    @usableFromInline var step: Int

    @inlinable @inline(__always)
    init(start: UnsafeMutablePointer<Float>, step: Int) {
        self.start = start
        self.step = step
    }

    /// Eight elements from `k` on, a multiple of 8.
    @inlinable @inline(__always)
    func eight(_ k: Int) -> UnsafeMutablePointer<Float> { start + k &* step }

    /// Element `k`.
    @inlinable @inline(__always)
    func element(_ k: Int) -> UnsafeMutablePointer<Float> { start + ((k & ~7) &* step &+ (k & 7)) }
}

/// Packs a block of a matrix; see `PackArguments`. A number's bits depend on its own code and scale alone: the exact
/// value, times the scale, rounded once.
@inlinable @inline(__always)
public func pack<I: InstructionSet, F: PackFormat>(_: I.Type, _: F.Type, _ arguments: UnsafePointer<PackArguments>) {
    let g = arguments.pointee
    if g.rowsAreContiguous {
        packTransposed(I.self, F.self, g)
        for row in 0..<g.rowCount { finishPackedRow(g, row) }
        return
    }
    // Rows are too short for the processor to foresee where the next begin.
    let byteCount = F.byteCount(of: g.count)
    prefetchRows(g.source, rowCount: min(packAhead, g.rowCount), byteCount: byteCount, stride: g.stride)
    for row in 0..<g.rowCount {
        if row &+ packAhead < g.rowCount {
            prefetchRows(g.source + (row &+ packAhead) &* g.stride, rowCount: 1, byteCount: byteCount, stride: 0)
        }
        if F.packsGroups && g.interleaves && (g.blockColumns | g.firstColumn) % elementGroup == 0 {
            packGroups(I.self, F.self, g, row)
        } else {
            packRow(I.self, F.self, g, row)
            finishPackedRow(g, row)
        }
    }
}

/// Rows, or eights of K indices, that are asked for before they are packed.
@inlinable var packAhead: Int { 8 }

/// Fills a packed row with zeros up to a whole group, and puts its groups in order.
@inlinable @inline(__always)
func finishPackedRow(_ g: PackArguments, _ row: Int) {
    let padded = (g.count &+ elementGroup &- 1) / elementGroup &* elementGroup
    let out = g.place(row)
    var k = g.count
    while k < padded {
        out.element(k).pointee = 0
        k &+= 1
    }
    guard g.interleaves else { return }
    k = 0
    while k < padded {
        interleaveGroup(out, k)
        k &+= elementGroup
    }
}

/// One row whose codes are decoded in the order of FP8's groups.
@inlinable @inline(__always)
func packGroups<I: InstructionSet, F: PackFormat>(_: I.Type, _: F.Type, _ g: PackArguments, _ row: Int) {
    let source = g.source + row &* g.stride
    let out = g.place(row)
    var k = 0
    var block = 0
    while k < g.count {
        let end = min(g.count, (block &+ 1) &* g.blockColumns &- g.firstColumn)
        let whole = k &+ (end &- k) / elementGroup &* elementGroup
        let bias = SIMD8<Float>(repeating: g.isRaw ? 1 : F.bias)
        let factor = SIMD8<Float>(repeating: g.scales.map { $0[row &* g.scaleStride &+ block] } ?? 1)
        let isPlain = g.isRaw && g.scales == nil
        if isPlain {
            while k < whole {
                packGroup(I.self, F.self, source, out, k) { $0 }
                k &+= elementGroup
            }
        } else {
            while k < whole {
                packGroup(I.self, F.self, source, out, k) { $0 * bias * factor }
                k &+= elementGroup
            }
        }
        if k < end {
            // The row's last group.
            for i in 0..<elementGroup { out.element(k &+ i).pointee = 0 }
            packRun(I.self, F.self, source, out, k, end) { isPlain ? $0 : $0 * bias * factor }
            interleaveGroup(out, k)
            k = end
        }
        block &+= 1
    }
}

/// Puts a group of 32 floats in the order of FP8's groups, in place.
@inlinable @inline(__always)
func interleaveGroup(_ row: PackedRow, _ k: Int) {
    let (a, b, c, d) = (row.eight(k), row.eight(k &+ 8), row.eight(k &+ 16), row.eight(k &+ 24))
    let values = SIMD32(
        lowHalf: SIMD16(lowHalf: load8(UnsafePointer(a)), highHalf: load8(UnsafePointer(b))),
        highHalf: SIMD16(lowHalf: load8(UnsafePointer(c)), highHalf: load8(UnsafePointer(d))))
    let even = values.evenHalf
    let odd = values.oddHalf
    store8(even.evenHalf, a)
    store8(odd.evenHalf, b)
    store8(even.oddHalf, c)
    store8(odd.oddHalf, d)
}

/// One group; spelled out, so that each part's number is known to the compiler.
@inlinable @inline(__always)
func packGroup<I: InstructionSet, F: PackFormat>(
    _: I.Type, _: F.Type, _ source: UnsafeRawPointer, _ out: PackedRow, _ k: Int,
    _ scaled: (SIMD8<Float>) -> SIMD8<Float>
) {
    store8(scaled(F.packedGroup8(I.self, source, at: k, part: 0)), out.eight(k))
    store8(scaled(F.packedGroup8(I.self, source, at: k, part: 1)), out.eight(k &+ 8))
    store8(scaled(F.packedGroup8(I.self, source, at: k, part: 2)), out.eight(k &+ 16))
    store8(scaled(F.packedGroup8(I.self, source, at: k, part: 3)), out.eight(k &+ 24))
}

/// One row whose K indices are neighbours.
@inlinable @inline(__always)
func packRow<I: InstructionSet, F: PackFormat>(_: I.Type, _: F.Type, _ g: PackArguments, _ row: Int) {
    let source = g.source + row &* g.stride
    let out = g.place(row)
    guard let scales = g.scales else {
        if F.bias == 1 || g.isRaw {
            packRun(I.self, F.self, source, out, 0, g.count) { $0 }
        } else {
            packRun(I.self, F.self, source, out, 0, g.count) { $0 * F.bias }
        }
        return
    }
    let rowScales = scales + row &* g.scaleStride
    var k = 0
    var block = 0
    while k < g.count {
        let end = min(g.count, (block &+ 1) &* g.blockColumns &- g.firstColumn)
        let scale = rowScales[block]
        let bias = F.bias == 1 || g.isRaw ? 1 : F.bias
        // One multiplication where it rounds no otherwise than two.
        let both = SIMD8<Float>(repeating: scale * bias)
        if (scale * bias).isFinite {
            packRun(I.self, F.self, source, out, k, end) { $0 * both }
        } else {
            packRun(I.self, F.self, source, out, k, end) { $0 * bias * scale }
        }
        k = end
        block &+= 1
    }
}

/// Elements first ..< end of one row; `first` is a multiple of 8.
@inlinable @inline(__always)
func packRun<I: InstructionSet, F: PackFormat>(
    _: I.Type, _: F.Type, _ source: UnsafeRawPointer, _ out: PackedRow, _ first: Int, _ end: Int,
    _ scaled: (SIMD8<Float>) -> SIMD8<Float>
) {
    var k = first
    while k &+ 8 <= end {
        store8(scaled(F.packed8(I.self, source, at: k)), out.eight(k))
        k &+= 8
    }
    if k < end { store8(scaled(F.packed8(I.self, source, at: k, count: end &- k)), out.eight(k), count: end &- k) }
}

/// K indices whose rows are neighbours: squares of eight by eight are transposed on the way.
@inlinable @inline(__always)
func packTransposed<I: InstructionSet, F: PackFormat>(_: I.Type, _: F.Type, _ g: PackArguments) {
    var k = 0
    while k < g.count {
        let depth = min(8, g.count &- k)
        let block = (g.firstColumn &+ k) / g.blockColumns
        let source = g.source + k &* g.stride
        let ahead = min(8, g.count &- k &- 8)
        if ahead > 0 {
            prefetchRows(
                source + 8 &* g.stride, rowCount: ahead, byteCount: F.byteCount(of: g.rowCount), stride: g.stride)
        }
        var row = 0
        while row < g.rowCount {
            let width = min(8, g.rowCount &- row)
            packSquare(
                I.self, F.self, source, g.stride, at: g.firstNibble &+ row, width: width, depth: depth,
                scales: g.scales.map { $0 + (row &* g.scaleStride &+ block) }, scaleStride: g.scaleStride,
                isRaw: g.isRaw, to: g, row, k)
            row &+= width
        }
        k &+= 8
    }
}

/// `width` rows times `depth` K indices, at most eight of each; writes eight floats to each row.
@inlinable @inline(__always)
func packSquare<I: InstructionSet, F: PackFormat>(
    _: I.Type, _: F.Type, _ source: UnsafeRawPointer, _ stride: Int, at element: Int, width: Int, depth: Int,
    scales: UnsafePointer<Float>?, scaleStride: Int, isRaw: Bool, to g: PackArguments, _ first: Int, _ k: Int
) {
    let bias = F.bias == 1 || isRaw ? Float(1) : F.bias
    if width == 8 && depth == 8 {
        packWholeSquare(
            I.self, F.self, source, stride, at: element, scales: scales, scaleStride: scaleStride, bias: bias, to: g,
            first, k)
        return
    }
    var square = InlineArray<8, SIMD8<Float>>(repeating: SIMD8<Float>())
    for i in 0..<depth { square[i] = F.packed8(I.self, source + i &* stride, at: element, count: width) }
    I.transpose(&square)
    if let scales {
        for row in 0..<width {
            store8(square[row] * bias * scales[row &* scaleStride], g.place(first &+ row).eight(k))
        }
    } else {
        for row in 0..<width { store8(square[row] * bias, g.place(first &+ row).eight(k)) }
    }
}

/// Eight times eight. Spelled out, so that the numbers stay in registers.
@inlinable @inline(__always)
func packWholeSquare<I: InstructionSet, F: PackFormat>(
    _: I.Type, _: F.Type, _ source: UnsafeRawPointer, _ stride: Int, at element: Int, scales: UnsafePointer<Float>?,
    scaleStride: Int, bias: Float, to g: PackArguments, _ first: Int, _ k: Int
) {
    var square: InlineArray<8, SIMD8<Float>> = [
        F.packed8(I.self, source, at: element),
        F.packed8(I.self, source + stride, at: element),
        F.packed8(I.self, source + 2 &* stride, at: element),
        F.packed8(I.self, source + 3 &* stride, at: element),
        F.packed8(I.self, source + 4 &* stride, at: element),
        F.packed8(I.self, source + 5 &* stride, at: element),
        F.packed8(I.self, source + 6 &* stride, at: element),
        F.packed8(I.self, source + 7 &* stride, at: element),
    ]
    I.transpose(&square)
    let factors = SIMD8<Float>(repeating: bias)
    var second = SIMD8<Float>(repeating: 1)
    if let scales {
        for row in 0..<8 { second[row] = scales[row &* scaleStride] }
    }
    store8(square[0] * factors * second[0], g.place(first).eight(k))
    store8(square[1] * factors * second[1], g.place(first &+ 1).eight(k))
    store8(square[2] * factors * second[2], g.place(first &+ 2).eight(k))
    store8(square[3] * factors * second[3], g.place(first &+ 3).eight(k))
    store8(square[4] * factors * second[4], g.place(first &+ 4).eight(k))
    store8(square[5] * factors * second[5], g.place(first &+ 5).eight(k))
    store8(square[6] * factors * second[6], g.place(first &+ 6).eight(k))
    store8(square[7] * factors * second[7], g.place(first &+ 7).eight(k))
}

/// Packed rows that are to be multiplied by one row of scales of the other operand: the arguments of `scalePacked`.
public struct ScaleArguments {
    /// [rowCount, count] packed floats, rows `stride` apart; `count` is a multiple of 32.
    public var source: UnsafePointer<Float>
    public var rowCount: Int
    public var count: Int
    /// Rows `stride` floats apart too; may be `source`.
    public var out: UnsafeMutablePointer<Float>
    public var stride: Int
    /// One scale per block of `blockColumns` (a multiple of 8) elements of K, `blockCount` of them from the block of
    /// the first element on, which is the block's element `firstColumn`.
    public var scales: UnsafePointer<Float>
    public var blockCount: Int
    public var blockColumns: Int
    public var firstColumn: Int
    /// Multiplies every scale: a power of two.
    public var bias: Float
    /// Whether the rows are in the order of FP8's groups.
    public var isInterleaved: Bool

    public init(
        source: UnsafePointer<Float>, rowCount: Int, count: Int, out: UnsafeMutablePointer<Float>, stride: Int,
        scales: UnsafePointer<Float>, blockCount: Int, blockColumns: Int, firstColumn: Int, bias: Float,
        isInterleaved: Bool
    ) {
        self.source = source
        self.rowCount = rowCount
        self.count = count
        self.out = out
        self.stride = stride
        self.scales = scales
        self.blockCount = blockCount
        self.blockColumns = blockColumns
        self.firstColumn = firstColumn
        self.bias = bias
        self.isInterleaved = isInterleaved
    }
}

/// See `ScaleArguments`.
@inlinable @inline(__always)
public func scalePacked<I: InstructionSet>(_: I.Type, _ arguments: UnsafePointer<ScaleArguments>) {
    let g = arguments.pointee
    var k = 0
    while k < g.count {
        let column = g.firstColumn &+ k
        if (g.blockColumns | g.firstColumn) % elementGroup == 0 {
            let block = min(g.blockCount &- 1, column / g.blockColumns)
            let factor = SIMD8<Float>(repeating: g.scales[block] * g.bias)
            let end = min(g.count, (column / g.blockColumns &+ 1) &* g.blockColumns &- g.firstColumn)
            for row in 0..<g.rowCount {
                var i = row &* g.stride &+ k
                let stop = row &* g.stride &+ end
                while i < stop {
                    store8(load8(g.source + i) * factor, g.out + i)
                    i &+= 8
                }
            }
            k = end
        } else {
            // A group across several blocks: each number has the scale of the element that it is.
            for row in 0..<g.rowCount {
                for i in 0..<elementGroup {
                    let element = g.isInterleaved ? 4 &* (i & 7) &+ i / 8 : i
                    let block = min(g.blockCount &- 1, (column &+ element) / g.blockColumns)
                    let index = row &* g.stride &+ k &+ i
                    g.out[index] = g.source[index] * (g.scales[block] * g.bias)
                }
            }
            k &+= elementGroup
        }
    }
}

/// Asks for rows that will be read soon, so that they come to the second-level cache meanwhile.
@inlinable @inline(__always)
public func prefetchRows(_ start: UnsafeRawPointer, rowCount: Int, byteCount: Int, stride: Int) {
    for row in 0..<rowCount {
        var offset = row &* stride
        let end = offset &+ byteCount
        while offset < end {
            fathom_prefetch(start + offset)
            offset &+= 64
        }
    }
}
