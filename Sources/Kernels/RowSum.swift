// SPDX-License-Identifier: MIT

public import CFathom

/// What `sumRowsBFloat16` and `sumRowsFloat32` work on.
public struct RowSumArguments {
    /// [partCount] the rows, each of `count` numbers at any address.
    public var parts: UnsafePointer<UnsafeRawPointer>
    public var partCount: Int
    /// [partCount] what each row is multiplied by; nil for ones.
    public var weights: UnsafePointer<Float>?
    /// `count` numbers of the rows' format.
    public var out: UnsafeMutableRawPointer
    public var count: Int
    /// Whether the result goes past the caches; `out` is then a multiple of 16. A later `fathom_store_fence` orders it.
    public var streams: Bool

    public init(
        parts: UnsafePointer<UnsafeRawPointer>, partCount: Int, weights: UnsafePointer<Float>?,
        out: UnsafeMutableRawPointer, count: Int, streams: Bool
    ) {
        self.parts = parts
        self.partCount = partCount
        self.weights = weights
        self.out = out
        self.count = count
        self.streams = streams
    }
}

/// Sums of rows for one instruction set. All give the same bits.
public struct RowSumKernels: Sendable {
    /// `sumRowsBFloat16`.
    public let bfloat16: @Sendable (UnsafePointer<RowSumArguments>) -> Void
    /// `sumRowsFloat32`.
    public let float32: @Sendable (UnsafePointer<RowSumArguments>) -> Void

    public init(
        bfloat16: @escaping @Sendable (UnsafePointer<RowSumArguments>) -> Void,
        float32: @escaping @Sendable (UnsafePointer<RowSumArguments>) -> Void
    ) {
        self.bfloat16 = bfloat16
        self.float32 = float32
    }
}

/// out = Σ parts · weights in floats, parts in their order from zero on, a product rounded before it is added; the sum
/// rounded once to BF16.
///
/// Even and odd numbers of a row are summed apart: a shift or a mask makes floats of them where they lie, and no number
/// has to change its lane, neither on the way in nor on the way out.
@inlinable @inline(__always)
public func sumRowsBFloat16<I: InstructionSet>(_: I.Type, _ arguments: UnsafePointer<RowSumArguments>) {
    let all = arguments.pointee
    let whole = all.count & ~63
    if let weights = all.weights {
        sumBlocksBFloat16(I.self, all, weights, count: whole)
    } else {
        sumBlocksBFloat16(I.self, all, nil, count: whole)
    }
    var k = whole
    while k < all.count {
        var sum: Float = 0
        var part = 0
        while part < all.partCount {
            let bits = (all.parts[part] + k &* 2).loadUnaligned(as: UInt16.self)
            let number = Float(bitPattern: UInt32(bits) << 16)
            if let weights = all.weights { sum += number * weights[part] } else { sum += number }
            part &+= 1
        }
        let bits = sum.bitPattern
        let rounded = sum == sum ? (bits &+ 0x7FFF &+ (bits >> 16 & 1)) >> 16 : bits >> 16 | 0x40
        (all.out + k &* 2).storeBytes(of: UInt16(truncatingIfNeeded: rounded), as: UInt16.self)
        k &+= 1
    }
}

/// The whole blocks of 64 numbers of `sumRowsBFloat16`.
@inlinable @inline(__always)
func sumBlocksBFloat16<I: InstructionSet>(
    _: I.Type, _ all: RowSumArguments, _ weights: UnsafePointer<Float>?, count: Int
) {
    let parts = all.parts
    let partCount = all.partCount
    var offset = 0
    while offset < count &* 2 {
        var a = EvenOddSums()
        var b = EvenOddSums()
        var c = EvenOddSums()
        var d = EvenOddSums()
        var part = 0
        while part < partCount {
            let numbers = parts[part] + offset
            let weight = weights.map { $0[part] }
            a.add(numbers, weight)
            b.add(numbers + 32, weight)
            c.add(numbers + 64, weight)
            d.add(numbers + 96, weight)
            part &+= 1
        }
        let out = all.out + offset
        storeWords(a.rounded(seesNaN: weights != nil), out, streams: all.streams)
        storeWords(b.rounded(seesNaN: weights != nil), out + 32, streams: all.streams)
        storeWords(c.rounded(seesNaN: weights != nil), out + 64, streams: all.streams)
        storeWords(d.rounded(seesNaN: weights != nil), out + 96, streams: all.streams)
        offset &+= 128
    }
}

/// The sums of sixteen BF16 numbers: those at even places and those at odd ones.
@usableFromInline
struct EvenOddSums {
    @usableFromInline var even = SIMD8<Float>()
    @usableFromInline var odd = SIMD8<Float>()

    @inlinable @inline(__always)
    init() {}

    @inlinable @inline(__always)
    mutating func add(_ numbers: UnsafeRawPointer, _ weight: Float?) {
        let bits = numbers.loadUnaligned(as: SIMD8<UInt32>.self)
        let first = unsafeBitCast(bits &<< 16, to: SIMD8<Float>.self)
        let second = unsafeBitCast(bits & 0xFFFF_0000, to: SIMD8<Float>.self)
        if let weight {
            even += first * weight
            odd += second * weight
        } else {
            even += first
            odd += second
        }
    }

    /// Sixteen BF16 numbers.
    @inlinable @inline(__always)
    func rounded(seesNaN: Bool) -> SIMD8<UInt32> {
        roundedHigh(even, seesNaN: seesNaN) &>> 16 | roundedHigh(odd, seesNaN: seesNaN)
    }
}

/// Rounds to BF16, ties to even; the result is in the upper halves, the lower ones are zero. A NaN becomes a quiet one.
///
/// - Parameter seesNaN: whether a NaN may have bits that carry. One that comes out of a sum of BF16 numbers has none:
///   it is quiet, and its lower half is zero.
@inlinable @inline(__always)
func roundedHigh(_ values: SIMD8<Float>, seesNaN: Bool) -> SIMD8<UInt32> {
    let bits = unsafeBitCast(values, to: SIMD8<UInt32>.self)
    let rounded = bits &+ 0x7FFF &+ ((bits &>> 16) & 1)
    guard seesNaN else { return rounded & 0xFFFF_0000 }
    return rounded.replacing(with: bits | 0x40_0000, where: values .!= values) & 0xFFFF_0000
}

/// out = Σ parts · weights, parts in their order from zero on, a product rounded before it is added.
@inlinable @inline(__always)
public func sumRowsFloat32<I: InstructionSet>(_: I.Type, _ arguments: UnsafePointer<RowSumArguments>) {
    let all = arguments.pointee
    let bytes = (all.count & ~31) &* 4
    var offset = 0
    while offset < bytes {
        var a = SIMD8<Float>()
        var b = SIMD8<Float>()
        var c = SIMD8<Float>()
        var d = SIMD8<Float>()
        var part = 0
        while part < all.partCount {
            let numbers = all.parts[part] + offset
            // A product with one is the number itself.
            let weight = all.weights.map { $0[part] } ?? 1
            a += numbers.loadUnaligned(as: SIMD8<Float>.self) * weight
            b += (numbers + 32).loadUnaligned(as: SIMD8<Float>.self) * weight
            c += (numbers + 64).loadUnaligned(as: SIMD8<Float>.self) * weight
            d += (numbers + 96).loadUnaligned(as: SIMD8<Float>.self) * weight
            part &+= 1
        }
        let out = all.out + offset
        storeWords(unsafeBitCast(a, to: SIMD8<UInt32>.self), out, streams: all.streams)
        storeWords(unsafeBitCast(b, to: SIMD8<UInt32>.self), out + 32, streams: all.streams)
        storeWords(unsafeBitCast(c, to: SIMD8<UInt32>.self), out + 64, streams: all.streams)
        storeWords(unsafeBitCast(d, to: SIMD8<UInt32>.self), out + 96, streams: all.streams)
        offset &+= 128
    }
    while offset < all.count &* 4 {
        var sum: Float = 0
        var part = 0
        while part < all.partCount {
            sum += (all.parts[part] + offset).loadUnaligned(as: Float.self) * (all.weights.map { $0[part] } ?? 1)
            part &+= 1
        }
        (all.out + offset).storeBytes(of: sum, as: Float.self)
        offset &+= 4
    }
}

/// Stores eight words, past the caches or into them.
@inlinable @inline(__always)
func storeWords(_ words: SIMD8<UInt32>, _ out: UnsafeMutableRawPointer, streams: Bool) {
    if streams {
        fathom_stream_store(out, unsafeBitCast(words.lowHalf, to: SIMD4<Int32>.self))
        fathom_stream_store(out + 16, unsafeBitCast(words.highHalf, to: SIMD4<Int32>.self))
    } else {
        out.storeBytes(of: words, as: SIMD8<UInt32>.self)
    }
}
