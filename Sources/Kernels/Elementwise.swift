// SPDX-License-Identifier: MIT

/// out = x / √(mean(x²) + ε) · weight: RMSNorm of one row of `count` floats.
@inlinable @inline(__always)
public func rmsNorm<I: InstructionSet>(
    _: I.Type, _ x: UnsafePointer<Float>, weight: UnsafePointer<Float>, epsilon: Float,
    out: UnsafeMutablePointer<Float>, count: Int
) {
    var sum = SIMD8<Float>()
    let whole = count & ~7
    var k = 0
    while k < whole {
        let v = load8(x + k)
        sum = I.multiplyAdd(v, v, sum)
        k &+= 8
    }
    if k < count {
        let v = load8(x + k, count: count &- k)
        sum = I.multiplyAdd(v, v, sum)
    }
    let mean = horizontalSum(sum) / Float(count)
    let factor = SIMD8<Float>(repeating: 1 / (mean + epsilon).squareRoot())
    k = 0
    while k < whole {
        store8(load8(x + k) * factor * load8(weight + k), out + k)
        k &+= 8
    }
    if k < count {
        let rest = count &- k
        store8(load8(x + k, count: rest) * factor * load8(weight + k, count: rest), out + k, count: rest)
    }
}

/// gate = gate / (1 + e^−gate) · up, in place: the gated unit of an MLP. `count` numbers.
@inlinable @inline(__always)
public func siluMultiply<I: InstructionSet>(
    _: I.Type, gate: UnsafeMutablePointer<Float>, up: UnsafePointer<Float>, count: Int
) {
    var k = 0
    while k < count {
        let rest = min(8, count &- k)
        let g = rest == 8 ? load8(UnsafePointer(gate + k)) : load8(UnsafePointer(gate + k), count: rest)
        let u = rest == 8 ? load8(up + k) : load8(up + k, count: rest)
        let value = g / (1 + exponential(I.self, -g)) * u
        if rest == 8 { store8(value, gate + k) } else { store8(value, gate + k, count: rest) }
        k &+= 8
    }
}

/// out += x · factor over `count` numbers.
@inlinable @inline(__always)
public func addScaled<I: InstructionSet>(
    _: I.Type, _ x: UnsafePointer<Float>, factor: Float, to out: UnsafeMutablePointer<Float>, count: Int
) {
    let factors = SIMD8<Float>(repeating: factor)
    let whole = count & ~7
    var k = 0
    while k < whole {
        store8(I.multiplyAdd(load8(x + k), factors, load8(UnsafePointer(out + k))), out + k)
        k &+= 8
    }
    if k < count {
        let rest = count &- k
        let sum = I.multiplyAdd(load8(x + k, count: rest), factors, load8(UnsafePointer(out + k), count: rest))
        store8(sum, out + k, count: rest)
    }
}

/// The index of the first of `count` elements that is NaN or infinite, or −1.
///
/// An element is such if all bits of `mask` are set in it: the exponent's bits, or for FP8 E4M3, which has no
/// infinity, exponent and mantissa.
@inlinable @inline(__always)
public func firstNonFinite<Bits: FixedWidthInteger & UnsignedInteger>(
    _ elements: UnsafeRawPointer, count: Int, mask: Bits
) -> Int {
    let width = MemoryLayout<Bits>.size
    // Whole runs first: an OR over the comparisons has no branch inside and becomes vector code.
    let run = 1024
    var start = 0
    while start < count {
        let end = min(start &+ run, count)
        var found: Bits = 0
        var k = start
        while k < end {
            let bits = (elements + k &* width).loadUnaligned(as: Bits.self)
            found |= bits & mask == mask ? 1 : 0
            k &+= 1
        }
        if found != 0 {
            k = start
            while (elements + k &* width).loadUnaligned(as: Bits.self) & mask != mask { k &+= 1 }
            return k
        }
        start = end
    }
    return -1
}

/// Rounds `count` floats to bfloat16 bits.
@inlinable @inline(__always)
public func roundBFloat16(_ x: UnsafePointer<Float>, to out: UnsafeMutablePointer<UInt16>, count: Int) {
    let whole = count & ~7
    var k = 0
    while k < whole {
        UnsafeMutableRawPointer(out + k).storeBytes(of: BFloat16Format.round(load8(x + k)), as: SIMD8<UInt16>.self)
        k &+= 8
    }
    let rest = BFloat16Format.round(load8(x + k, count: count &- whole))
    for lane in 0..<count &- whole { out[k &+ lane] = rest[lane] }
}
