// SPDX-License-Identifier: MIT

/// Packs rows for `panelProduct` with the rows as the summed dimension: element (r, c) goes to panel c / 16, step r.
///
/// - Parameters:
///   - rows: [rowCount, width], rows `rowStride` floats apart.
///   - panels: ⌈width / 16⌉ panels, `panelStride` floats apart; columns beyond `width` become zero.
@inlinable @inline(__always)
public func packRowPanels(
    _ rows: UnsafePointer<Float>, rowStride: Int, rowCount: Int, width: Int, panels: UnsafeMutablePointer<Float>,
    panelStride: Int
) {
    var column = 0
    var target = panels
    while column < width {
        let count = min(16, width &- column)
        let source = rows + column
        if count == 16 {
            for r in 0..<rowCount {
                store8(load8(source + r &* rowStride), target + r &* 16)
                store8(load8(source + (r &* rowStride &+ 8)), target + (r &* 16 &+ 8))
            }
        } else {
            for r in 0..<rowCount {
                for c in 0..<16 { target[r &* 16 &+ c] = c < count ? source[r &* rowStride &+ c] : 0 }
            }
        }
        column &+= 16
        target += panelStride
    }
}

/// Packs rows for `panelProduct` with the columns as the summed dimension: element (r, c) goes to panel r / 16, step c.
///
/// - Parameters:
///   - rows: [rowCount, width], rows `rowStride` floats apart.
///   - panels: ⌈rowCount / 16⌉ panels, `panelStride` floats apart; rows beyond `rowCount` become zero.
@inlinable @inline(__always)
public func packColumnPanels(
    _ rows: UnsafePointer<Float>, rowStride: Int, rowCount: Int, width: Int, panels: UnsafeMutablePointer<Float>,
    panelStride: Int
) {
    let wholeColumns = width & ~7
    var row = 0
    while row < panelPadded(rowCount) {
        let target = panels + ((row &>> 4) &* panelStride &+ (row & 15))
        let source = rows + row &* rowStride
        let count = max(0, min(8, rowCount &- row))
        var column = 0
        if count == 8 {
            while column < wholeColumns {
                transpose8x8(source + column, stride: rowStride, to: target + column &* 16)
                column &+= 8
            }
        }
        while column < width {
            for r in 0..<8 { target[column &* 16 &+ r] = r < count ? source[r &* rowStride &+ column] : 0 }
            column &+= 1
        }
        row &+= 8
    }
}

/// Eight rows of eight numbers, `stride` floats apart, to eight rows that are sixteen floats apart.
@inlinable @inline(__always)
func transpose8x8(_ source: UnsafePointer<Float>, stride: Int, to target: UnsafeMutablePointer<Float>) {
    // Halves of rows r and r + 4 share a vector, so that two rounds of interleaving suffice.
    var low = InlineArray<4, SIMD8<Float>>(repeating: SIMD8<Float>())
    var high = InlineArray<4, SIMD8<Float>>(repeating: SIMD8<Float>())
    for r in 0..<4 {
        let upper = load8(source + r &* stride)
        let lower = load8(source + (r &+ 4) &* stride)
        low[r] = SIMD8(lowHalf: upper.lowHalf, highHalf: lower.lowHalf)
        high[r] = SIMD8(lowHalf: upper.highHalf, highHalf: lower.highHalf)
    }
    transpose4x8(low, to: target)
    transpose4x8(high, to: target + 64)
}

/// The 4 × 4 transposition of both halves of four vectors, stored sixteen floats apart.
@inlinable @inline(__always)
func transpose4x8(_ v: InlineArray<4, SIMD8<Float>>, to target: UnsafeMutablePointer<Float>) {
    let a = v[0]
    let b = v[1]
    let c = v[2]
    let d = v[3]
    let ab0 = SIMD8<Float>(a[0], b[0], a[1], b[1], a[4], b[4], a[5], b[5])
    let ab1 = SIMD8<Float>(a[2], b[2], a[3], b[3], a[6], b[6], a[7], b[7])
    let cd0 = SIMD8<Float>(c[0], d[0], c[1], d[1], c[4], d[4], c[5], d[5])
    let cd1 = SIMD8<Float>(c[2], d[2], c[3], d[3], c[6], d[6], c[7], d[7])
    store8(
        SIMD8(ab0[0], ab0[1], cd0[0], cd0[1], ab0[4], ab0[5], cd0[4], cd0[5]), target)
    store8(
        SIMD8(ab0[2], ab0[3], cd0[2], cd0[3], ab0[6], ab0[7], cd0[6], cd0[7]), target + 16)
    store8(
        SIMD8(ab1[0], ab1[1], cd1[0], cd1[1], ab1[4], ab1[5], cd1[4], cd1[5]), target + 32)
    store8(
        SIMD8(ab1[2], ab1[3], cd1[2], cd1[3], ab1[6], ab1[7], cd1[6], cd1[7]), target + 48)
}
