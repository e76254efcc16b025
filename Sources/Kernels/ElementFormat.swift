// SPDX-License-Identifier: MIT

/// Elements that products read at a time: four vectors of eight.
@inlinable public var elementGroup: Int { 32 }

/// A stored number format and its exact conversion to float, eight elements at a time.
public protocol ElementFormat {
    /// Bytes of one element.
    static var byteCount: Int { get }
    /// Whether a block scale belongs to the elements. A compile-time constant, so that unscaled formats pay nothing.
    static var isScaled: Bool { get }
    /// `load8` is too small by the square of this power of two: one factor goes into the block scale, the other onto
    /// the finished sum, so that neither can overflow.
    static var scaleBias: Float { get }
    /// Eight elements at `pointer`, any alignment.
    static func load8<I: InstructionSet>(_: I.Type, _ pointer: UnsafeRawPointer) -> SIMD8<Float>
    /// Whether products take the elements of a group in the order that is cheapest to decode: vector `part` holds the
    /// elements 4 · lane + part instead of 8 · part + lane. The other operand is then permuted alike (`interleave`).
    static var isInterleaved: Bool { get }
    /// Vector `part` (0…3) of the group of 32 elements at `pointer`, in the format's order.
    static func load8<I: InstructionSet>(_: I.Type, group pointer: UnsafeRawPointer, part: Int) -> SIMD8<Float>
    /// The bits of one element, widened, for the tail of a row.
    static func loadBits(_ pointer: UnsafeRawPointer) -> UInt32
    /// Eight elements whose bits are given one by one.
    static func floats<I: InstructionSet>(_: I.Type, bits: SIMD8<UInt32>) -> SIMD8<Float>
}

extension ElementFormat {
    @inlinable public static var isInterleaved: Bool { false }

    @inlinable @inline(__always)
    public static func load8<I: InstructionSet>(
        _: I.Type, group pointer: UnsafeRawPointer, part: Int
    ) -> SIMD8<Float> {
        load8(I.self, pointer + part &* 8 &* byteCount)
    }

    /// The first `count` (0…7) elements at `pointer` and zeros for the rest; reads nothing beyond them.
    @inlinable @inline(__always)
    public static func load8<I: InstructionSet>(_: I.Type, _ pointer: UnsafeRawPointer, count: Int) -> SIMD8<Float> {
        var bits = SIMD8<UInt32>()
        for lane in 0..<count { bits[lane] = loadBits(pointer + lane * byteCount) }
        return floats(I.self, bits: bits)
    }
}

/// IEEE single precision.
public enum Float32Format: ElementFormat {
    @inlinable public static var byteCount: Int { 4 }
    @inlinable public static var isScaled: Bool { false }
    @inlinable public static var scaleBias: Float { 1 }

    @inlinable @inline(__always)
    public static func load8<I: InstructionSet>(_: I.Type, _ pointer: UnsafeRawPointer) -> SIMD8<Float> {
        pointer.loadUnaligned(as: SIMD8<Float>.self)
    }

    @inlinable @inline(__always)
    public static func loadBits(_ pointer: UnsafeRawPointer) -> UInt32 {
        pointer.loadUnaligned(as: UInt32.self)
    }

    @inlinable @inline(__always)
    public static func floats<I: InstructionSet>(_: I.Type, bits: SIMD8<UInt32>) -> SIMD8<Float> {
        unsafeBitCast(bits, to: SIMD8<Float>.self)
    }
}

/// bfloat16: the upper half of a single-precision number.
public enum BFloat16Format: ElementFormat {
    @inlinable public static var byteCount: Int { 2 }
    @inlinable public static var isScaled: Bool { false }
    @inlinable public static var scaleBias: Float { 1 }

    @inlinable @inline(__always)
    public static func load8<I: InstructionSet>(_: I.Type, _ pointer: UnsafeRawPointer) -> SIMD8<Float> {
        let bits = pointer.loadUnaligned(as: SIMD8<UInt16>.self)
        return floats(I.self, bits: SIMD8<UInt32>(truncatingIfNeeded: bits))
    }

    @inlinable @inline(__always)
    public static func loadBits(_ pointer: UnsafeRawPointer) -> UInt32 {
        UInt32(pointer.loadUnaligned(as: UInt16.self))
    }

    @inlinable @inline(__always)
    public static func floats<I: InstructionSet>(_: I.Type, bits: SIMD8<UInt32>) -> SIMD8<Float> {
        unsafeBitCast(bits &<< 16, to: SIMD8<Float>.self)
    }

    /// Rounds to the nearest bfloat16, ties to even. NaN becomes a quiet NaN with its sign.
    @inlinable @inline(__always)
    public static func round(_ value: SIMD8<Float>) -> SIMD8<UInt16> {
        let bits = unsafeBitCast(value, to: SIMD8<UInt32>.self)
        let rounded = (bits &+ (0x7FFF &+ ((bits &>> 16) & 1))) &>> 16
        let quiet = (bits &>> 16) | 0x40
        let isNaN = value .!= value
        return SIMD8<UInt16>(truncatingIfNeeded: rounded.replacing(with: quiet, where: isNaN))
    }
}

/// IEEE half precision.
public enum Float16Format: ElementFormat {
    @inlinable public static var byteCount: Int { 2 }
    @inlinable public static var isScaled: Bool { false }
    @inlinable public static var scaleBias: Float { 1 }

    @inlinable @inline(__always)
    public static func load8<I: InstructionSet>(_: I.Type, _ pointer: UnsafeRawPointer) -> SIMD8<Float> {
        I.floats(halfBits: pointer.loadUnaligned(as: SIMD8<UInt16>.self))
    }

    @inlinable @inline(__always)
    public static func loadBits(_ pointer: UnsafeRawPointer) -> UInt32 {
        UInt32(pointer.loadUnaligned(as: UInt16.self))
    }

    @inlinable @inline(__always)
    public static func floats<I: InstructionSet>(_: I.Type, bits: SIMD8<UInt32>) -> SIMD8<Float> {
        I.floats(halfBits: SIMD8<UInt16>(truncatingIfNeeded: bits))
    }
}

/// FP8 E4M3 in its finite variant, with a block scale.
///
/// Sign, exponent and mantissa move into a single-precision number by one sign-extending widening, one shift and one
/// mask; single precision's exponent bias is larger by 120, hence `scaleBias` = 2⁶⁰. All 254 finite codes are exact,
/// subnormals included (they pass through single-precision subnormals). The two NaN codes come out as ±480: weights
/// are searched for them before they are first used.
public enum Float8E4M3Format: ElementFormat {
    @inlinable public static var byteCount: Int { 1 }
    @inlinable public static var isScaled: Bool { true }
    @inlinable public static var scaleBias: Float { 0x1p60 }
    @inlinable public static var isInterleaved: Bool { true }

    /// Byte `part` of every 32-bit word: no byte has to move to another lane, and two parts share their first shifts.
    @inlinable @inline(__always)
    public static func load8<I: InstructionSet>(
        _: I.Type, group pointer: UnsafeRawPointer, part: Int
    ) -> SIMD8<Float> {
        let codes = pointer.loadUnaligned(as: SIMD16<Int16>.self)
        // Sign extension brings a byte from the top of its half word to single precision's place for it.
        let halves = (part & 1 == 0 ? codes &<< 8 : codes) &>> 4
        var bits = unsafeBitCast(halves, to: SIMD8<UInt32>.self)
        if part < 2 { bits = bits &<< 16 }
        return unsafeBitCast(bits & SIMD8<UInt32>(repeating: 0x87F0_0000), to: SIMD8<Float>.self)
    }

    @inlinable @inline(__always)
    public static func load8<I: InstructionSet>(_: I.Type, _ pointer: UnsafeRawPointer) -> SIMD8<Float> {
        let wide = SIMD8<Int32>(truncatingIfNeeded: pointer.loadUnaligned(as: SIMD8<Int8>.self))
        let bits = (wide &<< 20) & SIMD8<Int32>(repeating: Int32(bitPattern: 0x87F0_0000))
        return unsafeBitCast(bits, to: SIMD8<Float>.self)
    }

    @inlinable @inline(__always)
    public static func loadBits(_ pointer: UnsafeRawPointer) -> UInt32 {
        UInt32(pointer.loadUnaligned(as: UInt8.self))
    }

    @inlinable @inline(__always)
    public static func floats<I: InstructionSet>(_: I.Type, bits: SIMD8<UInt32>) -> SIMD8<Float> {
        unsafeBitCast(((bits & 0x80) &<< 24) | ((bits & 0x7F) &<< 20), to: SIMD8<Float>.self)
    }
}
