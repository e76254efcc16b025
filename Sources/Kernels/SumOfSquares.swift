// SPDX-License-Identifier: MIT

/// Σ x² of `count` floats: eight interleaved chains of multiply-adds over ascending index, then `horizontalSum`.
@inlinable @inline(__always)
public func sumOfSquares<I: InstructionSet>(_: I.Type, _ x: UnsafePointer<Float>, count: Int) -> Float {
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
    return horizontalSum(sum)
}
