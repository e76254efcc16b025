// SPDX-License-Identifier: MIT

public import CFathom

/// The same sums as `dotBlock`, bit for bit, of a `b` that lies in units of `I.panelRows` rows, as `pack` makes them.
/// The last unit is read whole; what its missing rows hold changes nothing.
///
/// `count` is a multiple of 8, `bStride` the floats of a unit divided by its rows.
@inlinable @inline(__always)
public func dotPanel<I: InstructionSet>(_: I.Type, _ arguments: UnsafePointer<DotBlockArguments>) {
    let g = arguments.pointee
    let tileCount = (g.rowCount &+ I.panelTileRows &- 1) / I.panelTileRows
    var n = 0
    while n < g.outputCount {
        var m = 0
        var tile = 0
        while m < g.rowCount {
            let rest = g.rowCount &- m
            // Two tiles of about the same height at the end: a low one has too few sums to hide their latency.
            let rows = rest > I.panelTileRows && rest < 2 &* I.panelTileRows ? (rest &+ 1) / 2 : rest
            // Each tile asks for its share of the rows that are wanted next.
            let first = tile &* I.panelRows / tileCount
            tile &+= 1
            let ahead = (row: n &+ first, count: tile &* I.panelRows / tileCount &- first)
            switch min(rows, I.panelTileRows) {
            case 6: dotPanelTile(I.self, DotPanelTile<6>.self, g, m, n, ahead)
            case 5: dotPanelTile(I.self, DotPanelTile<5>.self, g, m, n, ahead)
            case 4: dotPanelTile(I.self, DotPanelTile<4>.self, g, m, n, ahead)
            case 3: dotPanelTile(I.self, DotPanelTile<3>.self, g, m, n, ahead)
            case 2: dotPanelTile(I.self, DotPanelTile<2>.self, g, m, n, ahead)
            default: dotPanelTile(I.self, DotPanelTile<1>.self, g, m, n, ahead)
            }
            m &+= min(rows, I.panelTileRows)
        }
        n &+= I.panelRows
    }
}

/// One row of `a` times a unit: four vectors of sums.
public struct DotPanelSums<I: InstructionSet> {
    public var a: I.Runs
    public var b: I.Runs
    public var c: I.Runs
    public var d: I.Runs

    /// All zero.
    @inlinable @inline(__always)
    init() {
        a = I.zeroRuns
        b = I.zeroRuns
        c = I.zeroRuns
        d = I.zeroRuns
    }

    /// Adds the sums of the lanes times `factor` to the first `count` outputs, or to all of the unit.
    @inlinable @inline(never)
    func add(times factor: Float, to out: UnsafeMutablePointer<Float>, count: Int) {
        I.addSums(a, b, c, d, times: factor, to: out, count: count)
    }
}

/// The number of a tile's rows.
public enum DotPanelTile<let M: Int> {}

/// `repeatRun` that the compiler does not take from a register. Where the tile has three rows, which with their sums
/// fill sixteen registers, the third is an operand in memory of each multiply-add: in a register it drives out a sum.
@inlinable @inline(__always)
func reload<I: InstructionSet>(_: I.Type, _ x: UnsafePointer<Float>) -> I.Runs {
    fathom_load_barrier()
    return I.repeatRun(x)
}

/// M rows of `a` times a unit, whose four vectors are loaded once for all of them. A function of its own, so that the
/// sums have the registers to themselves; spelled out, since loops over the rows would keep them in memory.
@inlinable @inline(never)
func dotPanelTile<I: InstructionSet, let M: Int>(
    _: I.Type, _: DotPanelTile<M>.Type, _ g: DotBlockArguments, _ m: Int, _ n: Int, _ wanted: (row: Int, count: Int)
) {
    var s0 = DotPanelSums<I>(), s1 = DotPanelSums<I>(), s2 = DotPanelSums<I>()
    var s3 = DotPanelSums<I>(), s4 = DotPanelSums<I>(), s5 = DotPanelSums<I>()
    let width = I.panelRows &* 2
    let out = g.out + (m &* g.outStride &+ n)
    for row in 0..<M { fathom_prefetch_write(out + row &* g.outStride) }
    let stride = g.aStride
    var x = g.a + m &* stride
    var y = g.b + n &* g.bStride
    // The steps are divided among the rows to ask for; where none is wanted they ask for what is there already, which
    // costs less than a branch.
    var left = g.count / 8
    let run = wanted.count > 1 ? (left &+ wanted.count &- 1) / wanted.count : left
    var ahead = UnsafeRawPointer(x)
    var (step, rowStep) = (0, 0)
    if wanted.count > 0, run > 0, let start = g.ahead {
        ahead = start + wanted.row &* g.aheadStride
        step = (g.aheadByteCount &+ run &- 1) / run
        rowStep = g.aheadStride &- run &* step
    }
    while left > 0 {
        var steps = min(run, left)
        left &-= steps
        while steps > 0 {
            let x0 = I.repeatRun(x)
            let x1 = M > 1 ? I.repeatRun(x + stride) : x0
            var x2 = M > 2 ? I.repeatRun(x + 2 &* stride) : x0
            let x3 = M > 3 ? I.repeatRun(x + 3 &* stride) : x0
            let x4 = M > 4 ? I.repeatRun(x + 4 &* stride) : x0
            let x5 = M > 5 ? I.repeatRun(x + 5 &* stride) : x0
            var b = I.loadRuns(y)
            s0.a = I.multiplyAdd(x0, b, s0.a)
            if M > 1 { s1.a = I.multiplyAdd(x1, b, s1.a) }
            if M > 2 { s2.a = I.multiplyAdd(x2, b, s2.a) }
            if M > 3 { s3.a = I.multiplyAdd(x3, b, s3.a) }
            if M > 4 { s4.a = I.multiplyAdd(x4, b, s4.a) }
            if M > 5 { s5.a = I.multiplyAdd(x5, b, s5.a) }
            if M == 3 { x2 = reload(I.self, x + 2 &* stride) }
            b = I.loadRuns(y + width)
            s0.b = I.multiplyAdd(x0, b, s0.b)
            if M > 1 { s1.b = I.multiplyAdd(x1, b, s1.b) }
            if M > 2 { s2.b = I.multiplyAdd(x2, b, s2.b) }
            if M > 3 { s3.b = I.multiplyAdd(x3, b, s3.b) }
            if M > 4 { s4.b = I.multiplyAdd(x4, b, s4.b) }
            if M > 5 { s5.b = I.multiplyAdd(x5, b, s5.b) }
            if M == 3 { x2 = reload(I.self, x + 2 &* stride) }
            b = I.loadRuns(y + 2 &* width)
            s0.c = I.multiplyAdd(x0, b, s0.c)
            if M > 1 { s1.c = I.multiplyAdd(x1, b, s1.c) }
            if M > 2 { s2.c = I.multiplyAdd(x2, b, s2.c) }
            if M > 3 { s3.c = I.multiplyAdd(x3, b, s3.c) }
            if M > 4 { s4.c = I.multiplyAdd(x4, b, s4.c) }
            if M > 5 { s5.c = I.multiplyAdd(x5, b, s5.c) }
            if M == 3 { x2 = reload(I.self, x + 2 &* stride) }
            b = I.loadRuns(y + 3 &* width)
            s0.d = I.multiplyAdd(x0, b, s0.d)
            if M > 1 { s1.d = I.multiplyAdd(x1, b, s1.d) }
            if M > 2 { s2.d = I.multiplyAdd(x2, b, s2.d) }
            if M > 3 { s3.d = I.multiplyAdd(x3, b, s3.d) }
            if M > 4 { s4.d = I.multiplyAdd(x4, b, s4.d) }
            if M > 5 { s5.d = I.multiplyAdd(x5, b, s5.d) }
            x += 8
            y += 4 &* width
            fathom_prefetch(ahead)
            // Three rows leave the load units no room for a second request, and have steps of a line at most.
            if M != 3 { fathom_prefetch(ahead + step &>> 1) }
            ahead += step
            steps &-= 1
        }
        ahead += rowStep
    }
    let count = g.outputCount &- n
    let next = g.outStride
    guard count >= I.panelRows else {
        s0.add(times: g.factor, to: out, count: count)
        if M > 1 { s1.add(times: g.factor, to: out + next, count: count) }
        if M > 2 { s2.add(times: g.factor, to: out + 2 &* next, count: count) }
        if M > 3 { s3.add(times: g.factor, to: out + 3 &* next, count: count) }
        if M > 4 { s4.add(times: g.factor, to: out + 4 &* next, count: count) }
        if M > 5 { s5.add(times: g.factor, to: out + 5 &* next, count: count) }
        return
    }
    if M > 1 { I.addSums(s0, s1, times: g.factor, to: out, out + next) }
    if M > 3 { I.addSums(s2, s3, times: g.factor, to: out + 2 &* next, out + 3 &* next) }
    if M > 5 { I.addSums(s4, s5, times: g.factor, to: out + 4 &* next, out + 5 &* next) }
    // The last of an odd number of rows.
    let last = out + (M &- 1) &* next
    if M == 1 { I.addSums(s0.a, s0.b, s0.c, s0.d, times: g.factor, to: last, count: I.panelRows) }
    if M == 3 { I.addSums(s2.a, s2.b, s2.c, s2.d, times: g.factor, to: last, count: I.panelRows) }
    if M == 5 { I.addSums(s4.a, s4.b, s4.c, s4.d, times: g.factor, to: last, count: I.panelRows) }
}
