// SPDX-License-Identifier: MIT

/// A stored number format that `pack` turns into floats; unlike `ElementFormat` also one of half a byte.
public protocol PackFormat {
    /// `packed8` is too small by this power of two.
    static var bias: Float { get }
    /// Bytes that hold `count` elements.
    static func byteCount(of count: Int) -> Int
    /// Whether `packedGroup8` is there.
    static var packsGroups: Bool { get }
    /// Part 0…3 of the group of 32 elements from `element` on, in the order of FP8's groups.
    static func packedGroup8<I: InstructionSet>(
        _: I.Type, _ source: UnsafeRawPointer, at element: Int, part: Int
    ) -> SIMD8<Float>
    /// Eight elements from `element` on, in a run that begins at `source`.
    static func packed8<I: InstructionSet>(_: I.Type, _ source: UnsafeRawPointer, at element: Int) -> SIMD8<Float>
    /// The first `count` (0…8) of them and zeros for the rest; reads nothing beyond them.
    static func packed8<I: InstructionSet>(
        _: I.Type, _ source: UnsafeRawPointer, at element: Int, count: Int
    ) -> SIMD8<Float>
}

extension PackFormat {
    @inlinable public static var packsGroups: Bool { false }

    @inlinable @inline(__always)
    public static func packedGroup8<I: InstructionSet>(
        _: I.Type, _ source: UnsafeRawPointer, at element: Int, part: Int
    ) -> SIMD8<Float> {
        packed8(I.self, source, at: element &+ 8 &* part)
    }
}

extension PackFormat where Self: ElementFormat {
    @inlinable public static var bias: Float { scaleBias * scaleBias }

    @inlinable @inline(__always)
    public static func byteCount(of count: Int) -> Int { count &* byteCount }

    @inlinable @inline(__always)
    public static func packed8<I: InstructionSet>(
        _: I.Type, _ source: UnsafeRawPointer, at element: Int
    ) -> SIMD8<Float> {
        load8(I.self, source + element &* byteCount)
    }

    @inlinable @inline(__always)
    public static func packed8<I: InstructionSet>(
        _: I.Type, _ source: UnsafeRawPointer, at element: Int, count: Int
    ) -> SIMD8<Float> {
        count == 8
            ? load8(I.self, source + element &* byteCount)
            : load8(I.self, source + element &* byteCount, count: count)
    }
}

extension Float32Format: PackFormat {}
extension BFloat16Format: PackFormat {}
extension Float16Format: PackFormat {}
extension Float8E4M3Format: PackFormat {
    @inlinable public static var packsGroups: Bool { isInterleaved }

    @inlinable @inline(__always)
    public static func packedGroup8<I: InstructionSet>(
        _: I.Type, _ source: UnsafeRawPointer, at element: Int, part: Int
    ) -> SIMD8<Float> {
        load8(I.self, group: source + element, part: part)
    }
}

/// FP4 E2M1, two elements a byte, the one with the even index in the lower half.
public enum Float4E2M1Format: PackFormat {
    @inlinable public static var bias: Float { 0x1p14 }

    @inlinable @inline(__always)
    public static func byteCount(of count: Int) -> Int { (count &+ 1) / 2 }

    @inlinable @inline(__always)
    public static func packed8<I: InstructionSet>(
        _: I.Type, _ source: UnsafeRawPointer, at element: Int
    ) -> SIMD8<Float> {
        let bytes = source + element &>> 1
        var word = bytes.loadUnaligned(as: UInt32.self)
        if element & 1 != 0 {
            word = word &>> 4 | UInt32((bytes + 4).loadUnaligned(as: UInt8.self)) &<< 28
        }
        return smallFloats(I.self, float4Codes: word)
    }

    @inlinable @inline(__always)
    public static func packed8<I: InstructionSet>(
        _: I.Type, _ source: UnsafeRawPointer, at element: Int, count: Int
    ) -> SIMD8<Float> {
        var word: UInt32 = 0
        for lane in 0..<count {
            let byte = (source + (element &+ lane) &>> 1).loadUnaligned(as: UInt8.self)
            let code = (element &+ lane) & 1 == 0 ? byte & 15 : byte &>> 4
            word |= UInt32(code) &<< UInt32(4 &* lane)
        }
        return smallFloats(I.self, float4Codes: word)
    }
}
