// SPDX-License-Identifier: MIT

public import CFathom

/// The register tile of a matrix product whose two operands are both contiguous along the summed dimension.
///
/// `R` weight rows times `M` activation rows; every one of the R·M dot products has one vector accumulator that sums
/// every eighth element in ascending order. With R = 4, M = 3 the tile fills twelve registers and needs seven loads
/// for twelve multiply-adds, so it is bound by arithmetic; with M = 1, six rows are enough independent sums to hide
/// the latency of an addition.
///
/// A dot product's bits do not depend on R, M or the tile's other rows. That is what makes the results of a row
/// independent of its batch.
public enum DotTile<let R: Int, let M: Int> {
    /// One vector accumulator per output of the tile.
    public typealias Accumulators = InlineArray<R, InlineArray<M, SIMD8<Float>>>

    /// All accumulators zero.
    @inlinable @inline(__always)
    public static var zero: Accumulators {
        InlineArray(repeating: InlineArray(repeating: SIMD8<Float>()))
    }

    /// Adds the products over `groupCount` groups of 32 elements.
    ///
    /// - Parameters:
    ///   - a: `M` rows in the order of `W`'s groups, `aStride` floats apart.
    ///   - w: `R` rows in format `W`, `wStride` bytes apart.
    ///   - prefetch: memory to ask for meanwhile, as much as the tile's weights, or nil: rows are too short for the
    ///     processor to foresee where the next begin.
    @inlinable @inline(__always)
    public static func accumulate<I: InstructionSet, W: ElementFormat>(
        _: I.Type, _: W.Type, _ sums: inout Accumulators,
        a: UnsafePointer<Float>, aStride: Int, w: UnsafeRawPointer, wStride: Int, groupCount: Int,
        prefetch: UnsafeRawPointer? = nil
    ) {
        if W.isInterleaved {
            accumulateInterleaved(
                I.self, W.self, &sums, a: a, aStride: aStride, w: w, wStride: wStride, groupCount: groupCount,
                prefetch: prefetch)
            return
        }
        let lines = (R &* elementGroup &* W.byteCount &+ 63) / 64
        var ahead = prefetch
        var k = 0
        while k < groupCount &* elementGroup {
            if k % elementGroup == 0, let address = ahead {
                for line in 0..<lines { fathom_prefetch(address + line &* 64) }
                ahead = address + R &* elementGroup &* W.byteCount
            }
            var x = InlineArray<M, SIMD8<Float>>(repeating: SIMD8<Float>())
            for m in 0..<M { x[m] = load8(a + (m &* aStride &+ k)) }
            for r in 0..<R {
                // Else the optimiser makes one wider sum of two, and takes it apart again at every step.
                if W.byteCount < 4 { fathom_load_barrier() }
                let y = W.load8(I.self, w + (r &* wStride &+ k &* W.byteCount))
                for m in 0..<M { sums[r][m] = I.multiplyAdd(x[m], y, sums[r][m]) }
            }
            k &+= 8
        }
    }

    /// As `accumulate` for a format whose parts share work, so that they are used row by row.
    @inlinable @inline(__always)
    static func accumulateInterleaved<I: InstructionSet, W: ElementFormat>(
        _: I.Type, _: W.Type, _ sums: inout Accumulators,
        a: UnsafePointer<Float>, aStride: Int, w: UnsafeRawPointer, wStride: Int, groupCount: Int,
        prefetch: UnsafeRawPointer?
    ) {
        let groupBytes = elementGroup &* W.byteCount
        let lines = (R &* groupBytes &+ 63) / 64
        var x = a
        var y = w
        var ahead = prefetch
        for _ in 0..<groupCount {
            if let address = ahead {
                for line in 0..<lines { fathom_prefetch(address + line &* 64) }
                ahead = address + R &* groupBytes
            }
            // Spelled out: as a loop it would be too long for the compiler to unroll, and the sums would not stay in
            // registers.
            multiplyGroup(I.self, W.self, &sums[0], x, aStride, y)
            if R > 1 {
                fathom_load_barrier()
                multiplyGroup(I.self, W.self, &sums[1], x, aStride, y + wStride)
            }
            if R > 2 {
                fathom_load_barrier()
                multiplyGroup(I.self, W.self, &sums[2], x, aStride, y + 2 &* wStride)
            }
            if R > 3 {
                fathom_load_barrier()
                multiplyGroup(I.self, W.self, &sums[3], x, aStride, y + 3 &* wStride)
            }
            if R > 4 {
                fathom_load_barrier()
                multiplyGroup(I.self, W.self, &sums[4], x, aStride, y + 4 &* wStride)
            }
            if R > 5 {
                fathom_load_barrier()
                multiplyGroup(I.self, W.self, &sums[5], x, aStride, y + 5 &* wStride)
            }
            x += elementGroup
            y += groupBytes
        }
    }

    /// Adds the products of one group of a weight row with that of the M activation rows.
    @inlinable @inline(__always)
    static func multiplyGroup<I: InstructionSet, W: ElementFormat>(
        _: I.Type, _: W.Type, _ sums: inout InlineArray<M, SIMD8<Float>>,
        _ a: UnsafePointer<Float>, _ aStride: Int, _ w: UnsafeRawPointer
    ) {
        multiply(W.load8(I.self, group: w, part: 0), I.self, &sums, a, aStride)
        multiply(W.load8(I.self, group: w, part: 1), I.self, &sums, a + 8, aStride)
        multiply(W.load8(I.self, group: w, part: 2), I.self, &sums, a + 16, aStride)
        multiply(W.load8(I.self, group: w, part: 3), I.self, &sums, a + 24, aStride)
    }

    @inlinable @inline(__always)
    static func multiply<I: InstructionSet>(
        _ y: SIMD8<Float>, _: I.Type, _ sums: inout InlineArray<M, SIMD8<Float>>, _ a: UnsafePointer<Float>,
        _ aStride: Int
    ) {
        for m in 0..<M { sums[m] = I.multiplyAdd(load8(a + m &* aStride), y, sums[m]) }
    }

    /// Adds the products of float rows over any `count` elements.
    @inlinable @inline(__always)
    public static func accumulate<I: InstructionSet>(
        _: I.Type, _: Float32Format.Type, _ sums: inout Accumulators,
        a: UnsafePointer<Float>, aStride: Int, w: UnsafeRawPointer, wStride: Int, count: Int
    ) {
        let whole = count / elementGroup &* elementGroup
        accumulate(
            I.self, Float32Format.self, &sums, a: a, aStride: aStride, w: w, wStride: wStride,
            groupCount: whole / elementGroup)
        var k = whole
        while k < count {
            let width = min(8, count &- k)
            for r in 0..<R {
                let bits = w + (r &* wStride &+ k &* 4)
                let y = width == 8 ? Float32Format.load8(I.self, bits) : Float32Format.load8(I.self, bits, count: width)
                for m in 0..<M {
                    let x = a + (m &* aStride &+ k)
                    sums[r][m] = I.multiplyAdd(width == 8 ? load8(x) : load8(x, count: width), y, sums[r][m])
                }
            }
            k &+= 8
        }
    }

    /// Adds the tile's sums times `factor` to `out`: row m at `out + m * outStride`, its `R` numbers side by side.
    @inlinable @inline(__always)
    public static func add<I: InstructionSet>(
        _: I.Type, _ sums: Accumulators, times factor: Float, to out: UnsafeMutablePointer<Float>, outStride: Int
    ) {
        // Spelled out like the groups above.
        addRow(I.self, sums, 0, times: factor, to: out)
        if M > 1 { addRow(I.self, sums, 1, times: factor, to: out + outStride) }
        if M > 2 { addRow(I.self, sums, 2, times: factor, to: out + 2 &* outStride) }
        if M > 3 { addRow(I.self, sums, 3, times: factor, to: out + 3 &* outStride) }
    }

    @inlinable @inline(__always)
    static func addRow<I: InstructionSet>(
        _: I.Type, _ sums: Accumulators, _ m: Int, times factor: Float, to row: UnsafeMutablePointer<Float>
    ) {
        if R >= 4 {
            let total = I.horizontalSums(sums[0][m], sums[1][m], sums[2][m], sums[3][m]) * factor
            let raw = UnsafeMutableRawPointer(row)
            raw.storeBytes(of: raw.loadUnaligned(as: SIMD4<Float>.self) + total, as: SIMD4<Float>.self)
        }
        for r in (R & ~3)..<R { row[r] += horizontalSum(sums[r][m]) * factor }
    }
}
