// SPDX-License-Identifier: MIT

/// What a kernel needs from the processor beyond plain SIMD arithmetic.
///
/// Each kernel is written once against this protocol and compiled by one module per instruction set
/// (`KernelsBaseline`, `KernelsAVX2`, …), where every call below becomes one or two instructions.
public protocol InstructionSet {
    /// `a * b + c`, fused where the processor can: one rounding instead of two.
    static func multiplyAdd(_ a: SIMD8<Float>, _ b: SIMD8<Float>, _ c: SIMD8<Float>) -> SIMD8<Float>

    /// Eight IEEE half-precision numbers, given by their bits, as floats. Exact.
    static func floats(halfBits: SIMD8<UInt16>) -> SIMD8<Float>

    /// Eight FP4 E2M1 codes of a word, the first in its lowest bits, as floats that are too small by 2¹⁴. Exact.
    static func smallFloats(float4Codes word: UInt32) -> SIMD8<Float>

    /// Four `horizontalSum`s at once, bit for bit.
    static func horizontalSums(
        _ a: SIMD8<Float>, _ b: SIMD8<Float>, _ c: SIMD8<Float>, _ d: SIMD8<Float>
    ) -> SIMD4<Float>

    /// Makes rows of the columns of eight by eight numbers.
    static func transpose(_ square: inout InlineArray<8, SIMD8<Float>>)

    // What the tile of `dotPanel` is made of.

    /// A vector of as many runs of eight floats as the processor multiplies at once.
    associatedtype Runs = SIMD8<Float>
    /// Rows of a unit of a panel: those of four such vectors.
    static var panelRows: Int { get }
    /// Rows of the other operand in a tile: as many as leave every sum a register.
    static var panelTileRows: Int { get }
    /// No sums yet.
    static var zeroRuns: Runs { get }
    /// As many floats as a vector holds, at any address.
    static func loadRuns(_ floats: UnsafePointer<Float>) -> Runs
    /// The eight floats at an address in every run.
    static func repeatRun(_ floats: UnsafePointer<Float>) -> Runs
    /// The levels of eight FP4 codes in each run: those of the first at an address, the next run's `stride` bytes away.
    static func float4Runs(_ codes: UnsafeRawPointer, _ stride: Int) -> Runs
    /// The number at an address in every lane of the first run; the next run's lies `stride` floats away.
    static func spreadRuns(_ floats: UnsafePointer<Float>, _ stride: Int) -> Runs
    /// `a * b + c`, as for eight lanes.
    static func multiplyAdd(_ a: Runs, _ b: Runs, _ c: Runs) -> Runs
    /// Adds `horizontalSum` of each run times `factor` to the first `count` outputs, or to all `panelRows`.
    static func addSums(
        _ a: Runs, _ b: Runs, _ c: Runs, _ d: Runs, times factor: Float, to out: UnsafeMutablePointer<Float>, count: Int
    )
    /// The same for two rows and whole units.
    static func addSums(
        _ first: DotPanelSums<Self>, _ second: DotPanelSums<Self>, times factor: Float,
        to out: UnsafeMutablePointer<Float>, _ other: UnsafeMutablePointer<Float>)
}

// A run a vector, sixteen registers.
extension InstructionSet where Runs == SIMD8<Float> {
    @inlinable public static var panelRows: Int { 4 }
    @inlinable public static var panelTileRows: Int { 3 }
    @inlinable public static var zeroRuns: SIMD8<Float> { SIMD8() }

    @inlinable @inline(__always)
    public static func loadRuns(_ floats: UnsafePointer<Float>) -> SIMD8<Float> { load8(floats) }

    @inlinable @inline(__always)
    public static func repeatRun(_ floats: UnsafePointer<Float>) -> SIMD8<Float> { load8(floats) }

    @inlinable @inline(__always)
    public static func float4Runs(_ codes: UnsafeRawPointer, _ stride: Int) -> SIMD8<Float> {
        smallFloats(float4Codes: codes.loadUnaligned(as: UInt32.self)) * 0x1p14
    }

    @inlinable @inline(__always)
    public static func spreadRuns(_ floats: UnsafePointer<Float>, _ stride: Int) -> SIMD8<Float> {
        SIMD8(repeating: floats[0])
    }

    @inlinable @inline(__always)
    public static func addSums(
        _ a: SIMD8<Float>, _ b: SIMD8<Float>, _ c: SIMD8<Float>, _ d: SIMD8<Float>, times factor: Float,
        to out: UnsafeMutablePointer<Float>, count: Int
    ) {
        let sums = horizontalSums(a, b, c, d) * factor
        if count >= 4 {
            let raw = UnsafeMutableRawPointer(out)
            raw.storeBytes(of: raw.loadUnaligned(as: SIMD4<Float>.self) + sums, as: SIMD4<Float>.self)
        } else {
            for lane in 0..<count { out[lane] += sums[lane] }
        }
    }
}

extension InstructionSet {
    /// A multiplication moves each code to the top of a 16-bit lane, an arithmetic shift spreads the sign, and a mask
    /// leaves sign, exponent and mantissa where half precision has them. Single precision would not do: there the code
    /// of ½ is a subnormal number, whose multiplication is slow.
    @inlinable @inline(__always)
    public static func smallFloats(float4Codes word: UInt32) -> SIMD8<Float> {
        let low = UInt16(truncatingIfNeeded: word)
        let high = UInt16(truncatingIfNeeded: word &>> 16)
        let raised =
            SIMD8<UInt16>(low, low, low, low, high, high, high, high)
            &* SIMD8<UInt16>(4096, 256, 16, 1, 4096, 256, 16, 1)
        let spread = unsafeBitCast(raised, to: SIMD8<Int16>.self) &>> SIMD8<Int16>(repeating: 3)
        return floats(halfBits: unsafeBitCast(spread, to: SIMD8<UInt16>.self) & SIMD8<UInt16>(repeating: 0x8E00))
    }

    @inlinable @inline(__always)
    public static func addSums(
        _ first: DotPanelSums<Self>, _ second: DotPanelSums<Self>, times factor: Float,
        to out: UnsafeMutablePointer<Float>, _ other: UnsafeMutablePointer<Float>
    ) {
        addSums(first.a, first.b, first.c, first.d, times: factor, to: out, count: panelRows)
        addSums(second.a, second.b, second.c, second.d, times: factor, to: other, count: panelRows)
    }

    @inlinable @inline(__always)
    public static func transpose(_ square: inout InlineArray<8, SIMD8<Float>>) {
        let source = square
        for row in 0..<8 {
            for column in 0..<8 { square[row][column] = source[column][row] }
        }
    }

    @inlinable @inline(__always)
    public static func horizontalSums(
        _ a: SIMD8<Float>, _ b: SIMD8<Float>, _ c: SIMD8<Float>, _ d: SIMD8<Float>
    ) -> SIMD4<Float> {
        SIMD4(horizontalSum(a), horizontalSum(b), horizontalSum(c), horizontalSum(d))
    }
}

/// Loads eight floats from any address.
@inlinable @inline(__always)
public func load8(_ pointer: UnsafePointer<Float>) -> SIMD8<Float> {
    UnsafeRawPointer(pointer).loadUnaligned(as: SIMD8<Float>.self)
}

/// Loads the first `count` (0…8) floats and zeros for the rest.
@inlinable @inline(__always)
public func load8(_ pointer: UnsafePointer<Float>, count: Int) -> SIMD8<Float> {
    var result = SIMD8<Float>()
    for lane in 0..<count { result[lane] = pointer[lane] }
    return result
}

/// Stores eight floats at any address.
@inlinable @inline(__always)
public func store8(_ value: SIMD8<Float>, _ pointer: UnsafeMutablePointer<Float>) {
    UnsafeMutableRawPointer(pointer).storeBytes(of: value, as: SIMD8<Float>.self)
}

/// Stores the first `count` (0…8) lanes.
@inlinable @inline(__always)
public func store8(_ value: SIMD8<Float>, _ pointer: UnsafeMutablePointer<Float>, count: Int) {
    for lane in 0..<count { pointer[lane] = value[lane] }
}

/// The sum of the lanes, always in the order ((0+2)+(1+3)) + ((4+6)+(5+7)).
@inlinable @inline(__always)
public func horizontalSum(_ v: SIMD8<Float>) -> Float {
    let low = v.lowHalf.lowHalf + v.lowHalf.highHalf
    let high = v.highHalf.lowHalf + v.highHalf.highHalf
    return (low[0] + low[1]) + (high[0] + high[1])
}

/// The largest lane; NaN lanes lose against numbers in higher lanes.
@inlinable @inline(__always)
public func horizontalMaximum(_ v: SIMD8<Float>) -> Float {
    let quarter = v.lowHalf.replacing(with: v.highHalf, where: v.highHalf .> v.lowHalf)
    let pair = quarter.lowHalf.replacing(with: quarter.highHalf, where: quarter.highHalf .> quarter.lowHalf)
    return pair[1] > pair[0] ? pair[1] : pair[0]
}
