// SPDX-License-Identifier: MIT

/// What `sumLogFMT` works on.
public struct LogFMTSumArguments {
    /// [partCount] the rows, at any address.
    public var parts: UnsafePointer<UnsafeRawPointer>
    /// [partCount] whether a row is BF16 still, and not as `encodeLogFMT` writes it.
    public var arePlain: UnsafePointer<Bool>
    /// [partCount] room for where each row is being read.
    public var cursors: UnsafeMutablePointer<UnsafeRawPointer>
    public var partCount: Int
    /// [partCount] what each row is multiplied by.
    public var weights: UnsafePointer<Float>
    /// `count` numbers, BF16 or float.
    public var out: UnsafeMutableRawPointer
    public var count: Int
    /// Whether sums are stored as floats.
    public var floats: Bool
    /// `LogFMT.scratchBytes` bytes, aligned to 64.
    public var scratch: UnsafeMutableRawPointer

    public init(
        parts: UnsafePointer<UnsafeRawPointer>, arePlain: UnsafePointer<Bool>,
        cursors: UnsafeMutablePointer<UnsafeRawPointer>, partCount: Int, weights: UnsafePointer<Float>,
        out: UnsafeMutableRawPointer, count: Int, floats: Bool, scratch: UnsafeMutableRawPointer
    ) {
        self.parts = parts
        self.arePlain = arePlain
        self.cursors = cursors
        self.partCount = partCount
        self.weights = weights
        self.out = out
        self.count = count
        self.floats = floats
        self.scratch = scratch
    }
}

/// LogFMT-10 for one instruction set. All give the same bits.
public struct LogFMTKernels: Sendable {
    /// `encodeLogFMT`.
    public let encode:
        @Sendable (
            _ row: UnsafeRawPointer, _ out: UnsafeMutableRawPointer, _ count: Int, _ scratch: UnsafeMutableRawPointer
        ) -> Int
    /// `sumLogFMT`.
    public let sum: @Sendable (UnsafePointer<LogFMTSumArguments>) -> Void

    public init(
        encode: @escaping @Sendable (UnsafeRawPointer, UnsafeMutableRawPointer, Int, UnsafeMutableRawPointer) -> Int,
        sum: @escaping @Sendable (UnsafePointer<LogFMTSumArguments>) -> Void
    ) {
        self.encode = encode
        self.sum = sum
    }
}

/// The numbers of the format; `DeepEP`'s `LogFMT10` defines it.
public enum LogFMT {
    /// Numbers that share a scale.
    @inlinable public static var blockCount: Int { 128 }
    /// Bytes of a block's codes: 128 low bytes, then 32 bytes of two high bits each.
    @inlinable public static var codeBytes: Int { 160 }
    /// What a block that stays BF16 has for its smallest magnitude.
    @inlinable public static var staysBFloat16: UInt16 { 0xFFFF }
    /// Sums of a block, and a block of BF16 numbers on their way in and one on its way out.
    @inlinable public static var scratchBytes: Int { 1024 }
    /// Bytes before the first block of a row.
    @inlinable @inline(__always)
    public static func headerBytes(_ count: Int) -> Int { (count &+ 127) / 128 &* 4 }
}

/// Writes a row: for each block its smallest and largest magnitude, then the blocks' codes, or BF16 numbers where codes
/// do not serve.
///
/// - Parameters:
///   - row: `count` BF16 numbers at any address.
///   - out: room for the header and two bytes for each number.
///   - scratch: `LogFMT.scratchBytes` bytes.
/// - Returns: the bytes that were written.
@inlinable @inline(__always)
public func encodeLogFMT<I: InstructionSet>(
    _: I.Type, _ row: UnsafeRawPointer, to out: UnsafeMutableRawPointer, count: Int, scratch: UnsafeMutableRawPointer
) -> Int {
    var offset = LogFMT.headerBytes(count)
    var header = out
    var first = 0
    while first < count {
        let rest = min(LogFMT.blockCount, count &- first)
        let numbers = wholeBlock(I.self, row + first &* 2, rest, scratch + 512)
        let range = LogFMTRange(numbers)
        if range.isCoded(rest) {
            header.storeBytes(of: range.smallest, as: UInt16.self)
            encodeBlock(I.self, LogFMTScale(range.smallest, range.largest), numbers, to: out + offset)
            offset &+= LogFMT.codeBytes
        } else {
            header.storeBytes(of: LogFMT.staysBFloat16, as: UInt16.self)
            copyNumbers(I.self, numbers, to: out + offset, rest)
            offset &+= rest &* 2
        }
        header.storeBytes(of: range.largest, toByteOffset: 2, as: UInt16.self)
        header += 4
        first &+= LogFMT.blockCount
    }
    return offset
}

/// out = Σ weights · parts in floats, parts in their order from zero on, a product rounded before it is added; the sum
/// rounded once to BF16 unless it is to be floats. A row that is plain counts as what `encodeLogFMT` would make of it.
@inlinable @inline(__always)
public func sumLogFMT<I: InstructionSet>(_: I.Type, _ arguments: UnsafePointer<LogFMTSumArguments>) {
    let all = arguments.pointee
    let header = LogFMT.headerBytes(all.count)
    for part in 0..<all.partCount { all.cursors[part] = all.parts[part] + (all.arePlain[part] ? 0 : header) }
    let sums = all.scratch
    var first = 0
    while first < all.count {
        let rest = min(LogFMT.blockCount, all.count &- first)
        clearSums(I.self, sums)
        for part in 0..<all.partCount {
            let place = all.cursors[part]
            if all.arePlain[part] {
                addPlain(I.self, wholeBlock(I.self, place, rest, all.scratch + 512), rest, all.weights[part], to: sums)
                all.cursors[part] = place + rest &* 2
                continue
            }
            let range = all.parts[part] + first / LogFMT.blockCount &* 4
            let smallest = range.loadUnaligned(as: UInt16.self)
            if smallest == LogFMT.staysBFloat16 {
                addNumbers(I.self, wholeBlock(I.self, place, rest, all.scratch + 512), all.weights[part], to: sums)
                all.cursors[part] = place + rest &* 2
            } else {
                let largest = range.loadUnaligned(fromByteOffset: 2, as: UInt16.self)
                addCodes(I.self, LogFMTScale(smallest, largest), place, all.weights[part], to: sums)
                all.cursors[part] = place + LogFMT.codeBytes
            }
        }
        storeSums(I.self, all, first, rest)
        first &+= LogFMT.blockCount
    }
}

// MARK: Blocks

/// Where a whole block lies: in its row, or, where the row ends in it, in `room` with zeros behind.
@inlinable @inline(__always)
func wholeBlock<I: InstructionSet>(
    _: I.Type, _ numbers: UnsafeRawPointer, _ count: Int, _ room: UnsafeMutableRawPointer
) -> UnsafeRawPointer {
    if count == LogFMT.blockCount { return numbers }
    for index in 0..<LogFMT.blockCount {
        let bits = index < count ? numbers.loadUnaligned(fromByteOffset: index &* 2, as: UInt16.self) : 0
        room.storeBytes(of: bits, toByteOffset: index &* 2, as: UInt16.self)
    }
    return UnsafeRawPointer(room)
}

/// Copies up to a block of BF16 numbers.
@inlinable @inline(__always)
func copyNumbers<I: InstructionSet>(
    _: I.Type, _ numbers: UnsafeRawPointer, to out: UnsafeMutableRawPointer, _ count: Int
) {
    if count == LogFMT.blockCount {
        for part in 0..<4 {
            let bits = (numbers + part &* 64).loadUnaligned(as: SIMD16<UInt32>.self)
            (out + part &* 64).storeBytes(of: bits, as: SIMD16<UInt32>.self)
        }
        return
    }
    for index in 0..<count {
        let bits = numbers.loadUnaligned(fromByteOffset: index &* 2, as: UInt16.self)
        out.storeBytes(of: bits, toByteOffset: index &* 2, as: UInt16.self)
    }
}

/// The codes of a block.
///
/// The number at place 32·j + 2·l + o has vector 2·j + o and lane l. Vectors 0 to 3 have the bytes of sixteen words,
/// lowest first, for the low eight bits of their codes; vectors 4 to 7 those of the next sixteen. The two high bits,
/// the sign above, are in eight words: lane l's of vector v at 2·v of word l, from lane 8 on at 16 + 2·v of word
/// l − 8. So no number ever changes its lane.
@inlinable @inline(__always)
func encodeBlock<I: InstructionSet>(
    _: I.Type, _ scale: LogFMTScale, _ numbers: UnsafeRawPointer, to out: UnsafeMutableRawPointer
) {
    var high = SIMD16<UInt32>()
    for half in 0..<2 {
        var low = SIMD16<UInt32>()
        for part in 0..<2 {
            let words = (numbers + (half &* 2 &+ part) &* 64).loadUnaligned(as: SIMD16<UInt32>.self)
            let even = scale.code(words &<< 16)
            low = low &>> 8 | even &<< 24
            high = high &>> 2 | (even & 0x300) &<< 6
            let odd = scale.code(words & 0xFFFF_0000)
            low = low &>> 8 | odd &<< 24
            high = high &>> 2 | (odd & 0x300) &<< 6
        }
        (out + half &* 64).storeBytes(of: low, as: SIMD16<UInt32>.self)
    }
    (out + 128).storeBytes(of: high.lowHalf | high.highHalf &<< 16, as: SIMD8<UInt32>.self)
}

/// Adds what the codes of a block stand for.
@inlinable @inline(__always)
func addCodes<I: InstructionSet>(
    _: I.Type, _ scale: LogFMTScale, _ codes: UnsafeRawPointer, _ weight: Float, to sums: UnsafeMutableRawPointer
) {
    let packed = (codes + 128).loadUnaligned(as: SIMD8<UInt32>.self)
    var high = SIMD16(lowHalf: packed &<< 8, highHalf: (packed &>> 16) &<< 8)
    for half in 0..<2 {
        var low = (codes + half &* 64).loadUnaligned(as: SIMD16<UInt32>.self)
        for part in 0..<4 {
            let code = low & 0xFF | high & 0x300
            addProduct(I.self, scale.number(code), weight, to: sums + (half &* 4 &+ part) &* 64)
            low = low &>> 8
            high = high &>> 2
        }
    }
}

/// Adds what would arrive of a block of BF16 numbers, of which the first `count` are there.
@inlinable @inline(__always)
func addPlain<I: InstructionSet>(
    _: I.Type, _ numbers: UnsafeRawPointer, _ count: Int, _ weight: Float, to sums: UnsafeMutableRawPointer
) {
    let range = LogFMTRange(numbers)
    guard range.isCoded(count) else {
        addNumbers(I.self, numbers, weight, to: sums)
        return
    }
    let scale = LogFMTScale(range.smallest, range.largest)
    for part in 0..<4 {
        let words = (numbers + part &* 64).loadUnaligned(as: SIMD16<UInt32>.self)
        addProduct(I.self, scale.rounded(words &<< 16), weight, to: sums + part &* 128)
        addProduct(I.self, scale.rounded(words & 0xFFFF_0000), weight, to: sums + part &* 128 + 64)
    }
}

/// Adds a block of BF16 numbers.
@inlinable @inline(__always)
func addNumbers<I: InstructionSet>(
    _: I.Type, _ numbers: UnsafeRawPointer, _ weight: Float, to sums: UnsafeMutableRawPointer
) {
    for part in 0..<4 {
        let words = (numbers + part &* 64).loadUnaligned(as: SIMD16<UInt32>.self)
        addProduct(I.self, unsafeBitCast(words &<< 16, to: SIMD16<Float>.self), weight, to: sums + part &* 128)
        addProduct(
            I.self, unsafeBitCast(words & 0xFFFF_0000, to: SIMD16<Float>.self), weight, to: sums + part &* 128 + 64)
    }
}

@inlinable @inline(__always)
func addProduct<I: InstructionSet>(
    _: I.Type, _ numbers: SIMD16<Float>, _ weight: Float, to sums: UnsafeMutableRawPointer
) {
    let sum = sums.loadUnaligned(as: SIMD16<Float>.self) + numbers * weight
    sums.storeBytes(of: sum, as: SIMD16<Float>.self)
}

@inlinable @inline(__always)
func clearSums<I: InstructionSet>(
    _: I.Type, _ sums: UnsafeMutableRawPointer
) {
    for vector in 0..<8 { (sums + vector &* 64).storeBytes(of: SIMD16<Float>(), as: SIMD16<Float>.self) }
}

/// Stores the sums of the block that begins at `first`.
@inlinable @inline(__always)
func storeSums<I: InstructionSet>(
    _: I.Type, _ all: LogFMTSumArguments, _ first: Int, _ count: Int
) {
    if all.floats {
        for index in 0..<count {
            let place = ((index >> 5 &* 2) | (index & 1)) &* 16 &+ (index & 31) >> 1
            let sum = all.scratch.loadUnaligned(fromByteOffset: place &* 4, as: Float.self)
            all.out.storeBytes(of: sum, toByteOffset: (first &+ index) &* 4, as: Float.self)
        }
        return
    }
    let isWhole = count == LogFMT.blockCount
    let out = isWhole ? all.out + first &* 2 : all.scratch + 768
    for part in 0..<4 {
        let even = roundedHigh16((all.scratch + part &* 128).loadUnaligned(as: SIMD16<Float>.self))
        let odd = roundedHigh16((all.scratch + part &* 128 + 64).loadUnaligned(as: SIMD16<Float>.self))
        (out + part &* 64).storeBytes(of: even &>> 16 | odd, as: SIMD16<UInt32>.self)
    }
    if !isWhole { copyNumbers(I.self, UnsafeRawPointer(out), to: all.out + first &* 2, count) }
}

/// As `roundedHigh`, of sixteen numbers that may be NaN.
@inlinable @inline(__always)
func roundedHigh16(_ values: SIMD16<Float>) -> SIMD16<UInt32> {
    SIMD16(
        lowHalf: roundedHigh(values.lowHalf, seesNaN: true), highHalf: roundedHigh(values.highHalf, seesNaN: true))
}
