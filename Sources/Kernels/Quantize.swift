// SPDX-License-Identifier: MIT

/// A strip of a matrix that is to be quantised: the arguments of `quantizeE4M3` and `quantizeFloat4`.
///
/// The strip is one block high and is cut along the columns into blocks of `blockColumns`; each block shares a scale.
public struct QuantizeArguments {
    /// Numbers [rowCount, columnCount] in the kernel's input format, rows `sourceStride` bytes apart.
    public var source: UnsafeRawPointer
    public var sourceStride: Int
    public var rowCount: Int
    public var columnCount: Int
    /// Even for FP4, unless one block takes the whole row.
    public var blockColumns: Int
    /// Whether scales are rounded up to powers of two.
    public var powerOfTwoScales: Bool
    /// Whether FP8 numbers are divided by their scale, with a NaN scale for a block that holds NaN, as activations are:
    /// products take FP8's codes of NaN for numbers.
    public var areActivations: Bool
    /// Codes [rowCount, columnCount], one or half a byte each, rows `codeStride` bytes apart.
    public var codes: UnsafeMutablePointer<UInt8>
    public var codeStride: Int
    /// ⌈columnCount / blockColumns⌉ scales.
    public var scales: UnsafeMutablePointer<Float>

    public init(
        source: UnsafeRawPointer, sourceStride: Int, rowCount: Int, columnCount: Int, blockColumns: Int,
        powerOfTwoScales: Bool, areActivations: Bool = false, codes: UnsafeMutablePointer<UInt8>, codeStride: Int,
        scales: UnsafeMutablePointer<Float>
    ) {
        self.source = source
        self.sourceStride = sourceStride
        self.rowCount = rowCount
        self.columnCount = columnCount
        self.blockColumns = blockColumns
        self.powerOfTwoScales = powerOfTwoScales
        self.areActivations = areActivations
        self.codes = codes
        self.codeStride = codeStride
        self.scales = scales
    }
}

/// The scale of a block whose largest magnitude is `maximum`: max(maximum, 10⁻⁴) / `largest`, rounded up to a power of
/// two from 2⁻¹²⁶ to 2¹²⁷ if `powerOfTwo`.
@inlinable @inline(__always)
func blockScale(maximum: Float, largest: Float, powerOfTwo: Bool) -> Float {
    let scale = (maximum < 1e-4 ? 1e-4 : maximum) / largest
    guard powerOfTwo else { return scale }
    let raised = (scale.bitPattern &+ 0x7F_FFFF) & 0x7F80_0000
    return Float(bitPattern: raised > 0x7F00_0000 ? 0x7F00_0000 : raised)
}

/// Folds the magnitudes of eight numbers into `peak`; NaN does not enter.
@inlinable @inline(__always)
func raise<I: InstructionSet>(_: I.Type, _ peak: inout SIMD8<Float>, by value: SIMD8<Float>) {
    let bits = unsafeBitCast(value, to: SIMD8<UInt32>.self) & 0x7FFF_FFFF
    let magnitude = unsafeBitCast(bits, to: SIMD8<Float>.self)
    peak = peak.replacing(with: magnitude, where: magnitude .> peak)
}

/// The first `rest` (1…8, or more for 8) elements at `source`.
@inlinable @inline(__always)
func loadUpTo8<I: InstructionSet, F: ElementFormat>(
    _: I.Type, _: F.Type, _ source: UnsafeRawPointer, _ rest: Int
) -> SIMD8<Float> {
    rest >= 8 ? F.load8(I.self, source) : F.load8(I.self, source, count: rest)
}

/// The E4M3 codes of eight floats: to nearest, ties to even, saturating at ±448; NaN keeps its sign.
@inlinable @inline(__always)
func codesE4M3<I: InstructionSet>(_: I.Type, _ value: SIMD8<Float>) -> SIMD8<UInt32> {
    let bits = unsafeBitCast(value, to: SIMD8<UInt32>.self)
    let sign = (bits &>> 24) & 0x80
    let magnitude = bits & 0x7FFF_FFFF
    let x = unsafeBitCast(magnitude, to: SIMD8<Float>.self)
    let normal = ((magnitude &+ (0x7_FFFF &+ ((magnitude &>> 20) & 1))) &>> 20) &- 960
    // Below 2⁻⁶ the spacing is 2⁻⁹ throughout, which is that of floats near 1.5·2¹⁴: their low bits count steps.
    let magic = SIMD8<Float>(repeating: 24_576)
    let steps = unsafeBitCast(x + magic, to: SIMD8<UInt32>.self) &- unsafeBitCast(magic, to: SIMD8<UInt32>.self)
    var code = normal.replacing(with: steps, where: x .< 0.015_625)
    code = code.replacing(with: SIMD8<UInt32>(repeating: 0x7E), where: x .>= 448)
    code = code.replacing(with: SIMD8<UInt32>(repeating: 0x7F), where: value .!= value)
    return code | sign
}

/// Quantises a strip to FP8 E4M3: scale = max(|x|ₘₐₓ, 10⁻⁴) / 448 and code = e4m3(x · (1 / scale)).
///
/// NaN does not enter the maximum and becomes a NaN code. Activations differ as `QuantizeArguments` says.
@inlinable @inline(__always)
public func quantizeE4M3<I: InstructionSet, F: ElementFormat>(
    _: I.Type, _: F.Type, _ arguments: UnsafePointer<QuantizeArguments>
) {
    let g = arguments.pointee
    if g.blockColumns == 1 {
        quantizeColumnsE4M3(I.self, F.self, g)
        return
    }
    if g.areActivations {
        quantizeActivationsE4M3(I.self, F.self, g)
        return
    }
    var start = 0
    var block = 0
    while start < g.columnCount {
        let end = min(start &+ g.blockColumns, g.columnCount)
        var peak = SIMD8<Float>()
        let whole = start &+ ((end &- start) & ~7)
        for row in 0..<g.rowCount {
            let source = g.source + row &* g.sourceStride
            var k = start
            while k < whole {
                raise(I.self, &peak, by: F.load8(I.self, source + k &* F.byteCount))
                k &+= 8
            }
            if k < end { raise(I.self, &peak, by: F.load8(I.self, source + k &* F.byteCount, count: end &- k)) }
        }
        let scale = blockScale(maximum: horizontalMaximum(peak), largest: 448, powerOfTwo: g.powerOfTwoScales)
        g.scales[block] = scale
        let factor = SIMD8<Float>(repeating: 1 / scale)
        for row in 0..<g.rowCount {
            let source = g.source + row &* g.sourceStride
            let codes = g.codes + row &* g.codeStride
            var k = start
            while k < whole {
                let value = F.load8(I.self, source + k &* F.byteCount)
                storeCodes(I.self, codesE4M3(I.self, value * factor), codes + k, count: 8)
                k &+= 8
            }
            if k < end {
                let value = F.load8(I.self, source + k &* F.byteCount, count: end &- k)
                storeCodes(I.self, codesE4M3(I.self, value * factor), codes + k, count: end &- k)
            }
        }
        start = end
        block &+= 1
    }
}

/// Quantises activations, row by row: scale = max(|x|ₘₐₓ, 10⁻⁴) / 448, code = e4m3(x / scale).
@inlinable @inline(__always)
func quantizeActivationsE4M3<I: InstructionSet, F: ElementFormat>(_: I.Type, _: F.Type, _ g: QuantizeArguments) {
    var start = 0
    var block = 0
    while start < g.columnCount {
        let end = min(start &+ g.blockColumns, g.columnCount)
        var peak = SIMD8<Float>()
        // Holds any NaN that was seen.
        var taint = SIMD8<Float>()
        var k = start
        while k < end {
            let value = loadUpTo8(I.self, F.self, g.source + k &* F.byteCount, end &- k)
            raise(I.self, &peak, by: value)
            taint += value * 0
            k &+= 8
        }
        let scale = blockScale(maximum: horizontalMaximum(peak), largest: 448, powerOfTwo: g.powerOfTwoScales)
        g.scales[block] = scale + horizontalSum(taint)
        let divisor = SIMD8<Float>(repeating: scale)
        k = start
        while k < end {
            let value = loadUpTo8(I.self, F.self, g.source + k &* F.byteCount, end &- k)
            storeCodes(I.self, codesE4M3(I.self, value / divisor), g.codes + k, count: end &- k)
            k &+= 8
        }
        start = end
        block &+= 1
    }
}

/// Stores the first `count` codes (all eight if it is more), a byte each.
@inlinable @inline(__always)
func storeCodes<I: InstructionSet>(
    _: I.Type, _ codes: SIMD8<UInt32>, _ out: UnsafeMutablePointer<UInt8>, count: Int
) {
    let bytes = SIMD8<UInt8>(truncatingIfNeeded: codes)
    if count >= 8 {
        UnsafeMutableRawPointer(out).storeBytes(of: bytes, as: SIMD8<UInt8>.self)
    } else {
        for lane in 0..<count { out[lane] = bytes[lane] }
    }
}

/// One scale per column: eight columns lie in the lanes.
@inlinable @inline(__always)
func quantizeColumnsE4M3<I: InstructionSet, F: ElementFormat>(_: I.Type, _: F.Type, _ g: QuantizeArguments) {
    var k = 0
    while k < g.columnCount {
        let rest = min(g.columnCount &- k, 8)
        let column = g.source + k &* F.byteCount
        var peak = SIMD8<Float>()
        for row in 0..<g.rowCount {
            raise(I.self, &peak, by: loadUpTo8(I.self, F.self, column + row &* g.sourceStride, rest))
        }
        var factor = SIMD8<Float>()
        for lane in 0..<rest {
            let scale = blockScale(maximum: peak[lane], largest: 448, powerOfTwo: g.powerOfTwoScales)
            g.scales[k &+ lane] = scale
            factor[lane] = 1 / scale
        }
        for row in 0..<g.rowCount {
            let value = loadUpTo8(I.self, F.self, column + row &* g.sourceStride, rest)
            storeCodes(I.self, codesE4M3(I.self, value * factor), g.codes + (row &* g.codeStride &+ k), count: rest)
        }
        k &+= 8
    }
}

/// Quantises a strip to FP4 E2M1: scale = max(|x|ₘₐₓ, 10⁻⁴) / 6 and code = e2m1(x · (1 / scale)).
///
/// The format has no NaN, so a block with one gets a NaN scale. A row's last byte is completed with code 0.
@inlinable @inline(__always)
public func quantizeFloat4<I: InstructionSet, F: ElementFormat>(
    _: I.Type, _: F.Type, _ arguments: UnsafePointer<QuantizeArguments>
) {
    let g = arguments.pointee
    var start = 0
    var block = 0
    while start < g.columnCount {
        let end = min(start &+ g.blockColumns, g.columnCount)
        let whole = start &+ ((end &- start) & ~7)
        var peak = SIMD8<Float>()
        // Holds any NaN that was seen.
        var taint = SIMD8<Float>()
        for row in 0..<g.rowCount {
            let source = g.source + row &* g.sourceStride
            var k = start
            while k < end {
                let value =
                    k < whole
                    ? F.load8(I.self, source + k &* F.byteCount)
                    : F.load8(I.self, source + k &* F.byteCount, count: end &- k)
                raise(I.self, &peak, by: value)
                taint = taint.replacing(with: value, where: value .!= value)
                k &+= 8
            }
        }
        var scale = blockScale(maximum: horizontalMaximum(peak), largest: 6, powerOfTwo: g.powerOfTwoScales)
        let total = horizontalSum(taint)
        if total != total { scale = .nan }
        g.scales[block] = scale
        let factor = SIMD8<Float>(repeating: 1 / scale)
        for row in 0..<g.rowCount {
            let source = g.source + row &* g.sourceStride
            let codes = g.codes + row &* g.codeStride
            var k = start
            while k < whole {
                let value = F.load8(I.self, source + k &* F.byteCount)
                let word = packFloat4(I.self, float4Codes(I.self, value * factor))
                UnsafeMutableRawPointer(codes + k / 2).storeBytes(of: word, as: UInt32.self)
                k &+= 8
            }
            if k < end {
                let value = F.load8(I.self, source + k &* F.byteCount, count: end &- k)
                let word = packFloat4(I.self, float4Codes(I.self, value * factor))
                storeFloat4(word, codes + k / 2, count: end &- k)
            }
        }
        start = end
        block &+= 1
    }
}

/// Stores the bytes that hold the first `count` of eight codes, 1…7.
@inlinable @inline(__always)
func storeFloat4(_ word: UInt32, _ out: UnsafeMutablePointer<UInt8>, count: Int) {
    for byte in 0..<(count &+ 1) / 2 { out[byte] = UInt8(truncatingIfNeeded: word &>> UInt32(8 &* byte)) }
}
