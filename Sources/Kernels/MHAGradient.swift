// SPDX-License-Identifier: MIT

/// From scores and the gradients of weights to weights and the gradients of scores: the arguments of `mhaGradient`.
public struct MHAGradientArguments {
    /// Dot products of queries and keys [rowCount, keyCount], rows `stride` (a multiple of 8) floats apart. Become the
    /// weights P = e^(scale · s − lse).
    public var scores: UnsafeMutablePointer<Float>
    /// Gradients of the weights, same layout. Become scale · P ∘ (dP − D).
    public var gradients: UnsafeMutablePointer<Float>
    public var stride: Int
    public var rowCount: Int
    public var keyCount: Int
    /// Row r sees the first `limits[r]` keys of this tile; may be ≤ 0 or beyond `keyCount`. Unseen keys get zeros.
    public var limits: UnsafePointer<Int32>
    public var scale: Float
    /// Of each row: ln Σ e^(scale · s), and D = Σ dout · out.
    public var logSums: UnsafePointer<Float>
    public var products: UnsafePointer<Float>

    public init(
        scores: UnsafeMutablePointer<Float>, gradients: UnsafeMutablePointer<Float>, stride: Int, rowCount: Int,
        keyCount: Int, limits: UnsafePointer<Int32>, scale: Float, logSums: UnsafePointer<Float>,
        products: UnsafePointer<Float>
    ) {
        self.scores = scores
        self.gradients = gradients
        self.stride = stride
        self.rowCount = rowCount
        self.keyCount = keyCount
        self.limits = limits
        self.scale = scale
        self.logSums = logSums
        self.products = products
    }
}

/// See `MHAGradientArguments`.
@inlinable @inline(__always)
public func mhaGradient<I: InstructionSet>(_: I.Type, _ arguments: UnsafePointer<MHAGradientArguments>) {
    let g = arguments.pointee
    let width = (g.keyCount &+ 7) & ~7
    let factor = SIMD8<Float>(repeating: g.scale)
    for row in 0..<g.rowCount {
        let scores = g.scores + row &* g.stride
        let gradients = g.gradients + row &* g.stride
        let limit = max(0, min(Int(g.limits[row]), g.keyCount))
        let logSum = SIMD8<Float>(repeating: g.logSums[row])
        let product = SIMD8<Float>(repeating: g.products[row])
        let whole = limit & ~7
        var t = 0
        while t < whole {
            let weight = exponential(I.self, load8(UnsafePointer(scores + t)) * factor - logSum)
            let gradient = weight * (load8(UnsafePointer(gradients + t)) - product) * factor
            store8(weight, scores + t)
            store8(gradient, gradients + t)
            t &+= 8
        }
        if whole < limit {
            var weight = exponential(I.self, load8(UnsafePointer(scores + t)) * factor - logSum)
            var gradient = weight * (load8(UnsafePointer(gradients + t)) - product) * factor
            for lane in limit &- whole..<8 {
                weight[lane] = 0
                gradient[lane] = 0
            }
            store8(weight, scores + t)
            store8(gradient, gradients + t)
            t &+= 8
        }
        while t < width {
            store8(SIMD8<Float>(), scores + t)
            store8(SIMD8<Float>(), gradients + t)
            t &+= 8
        }
    }
}

/// Σ a · b over `count` numbers.
@inlinable @inline(__always)
public func rowDot<I: InstructionSet>(
    _: I.Type, _ a: UnsafePointer<Float>, _ b: UnsafePointer<Float>, count: Int
) -> Float {
    var sum = SIMD8<Float>()
    let whole = count & ~7
    var k = 0
    while k < whole {
        sum = I.multiplyAdd(load8(a + k), load8(b + k), sum)
        k &+= 8
    }
    let rest = count &- whole
    if rest > 0 { sum = I.multiplyAdd(load8(a + k, count: rest), load8(b + k, count: rest), sum) }
    return horizontalSum(sum)
}
