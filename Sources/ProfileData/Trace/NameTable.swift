// SPDX-License-Identifier: MIT

/// A text of a trace, kept once; compare and switch over it as a number.
public struct NameID: Hashable, Sendable {
    /// The place in the table.
    public let index: Int32

    /// The name at `index` of its table.
    public init(index: Int32) { self.index = index }
}

/// Every text of a trace once.
///
/// Traces repeat a few hundred names a million times, so an event holds a number. The well-known words of the format
/// come first and have the numbers of `TraceWord`.
public struct NameTable: Sendable {
    /// Texts beyond this many bytes in all are not kept; they share the name `TraceWord.overflow`.
    public static let maximumByteCount = 256 << 20

    private var text: [UInt8] = []
    /// Where each name ends in `text`.
    private var ends: [Int] = []
    private var hashes: [UInt64] = []
    /// Open addressing over a power of two; −1 is free.
    private var slots = [Int32](repeating: -1, count: 1 << 12)

    /// A table of the well-known words.
    public init() {
        for word in TraceWord.allCases { _ = intern(Array(word.text.utf8)) }
    }

    /// How many names there are.
    public var count: Int { ends.count }

    /// The text of a name.
    public subscript(_ id: NameID) -> String {
        String(decoding: text[range(Int(id.index))], as: UTF8.self)
    }

    /// The number of `name`, which is added where it is new.
    public mutating func intern(_ name: String) -> NameID { intern(Array(name.utf8)) }

    mutating func intern(_ bytes: [UInt8]) -> NameID { intern(bytes, 0..<bytes.count) }

    /// The number of the text in `bytes[range]`.
    mutating func intern(_ bytes: [UInt8], _ range: Range<Int>) -> NameID {
        let hash = Self.hash(bytes, range)
        var slot = Int(truncatingIfNeeded: hash) & (slots.count - 1)
        while slots[slot] >= 0 {
            let index = Int(slots[slot])
            if hashes[index] == hash, equals(index, bytes, range) { return NameID(index: slots[slot]) }
            slot = (slot + 1) & (slots.count - 1)
        }
        guard text.count + range.count <= Self.maximumByteCount else { return TraceWord.overflow.id }
        let index = Int32(ends.count)
        text.append(contentsOf: bytes[range])
        ends.append(text.count)
        hashes.append(hash)
        slots[slot] = index
        if ends.count * 2 > slots.count { grow() }
        return NameID(index: index)
    }

    /// The number of the text in `bytes[range]`; nil where the table does not have it.
    func find(_ bytes: [UInt8], _ range: Range<Int>) -> NameID? {
        let hash = Self.hash(bytes, range)
        var slot = Int(truncatingIfNeeded: hash) & (slots.count - 1)
        while slots[slot] >= 0 {
            let index = Int(slots[slot])
            if hashes[index] == hash, equals(index, bytes, range) { return NameID(index: slots[slot]) }
            slot = (slot + 1) & (slots.count - 1)
        }
        return nil
    }

    private func range(_ index: Int) -> Range<Int> { (index == 0 ? 0 : ends[index - 1])..<ends[index] }

    private func equals(_ index: Int, _ bytes: [UInt8], _ other: Range<Int>) -> Bool {
        let own = range(index)
        guard own.count == other.count else { return false }
        // SAFETY: both ranges lie in their arrays: the table's own, and one that the slice below has checked.
        return text.withUnsafeBytes { mine in
            bytes[other].withUnsafeBytes { theirs in
                UnsafeRawBufferPointer(rebasing: mine[own]).elementsEqual(theirs)
            }
        }
    }

    private mutating func grow() {
        slots = [Int32](repeating: -1, count: slots.count * 2)
        for (index, hash) in hashes.enumerated() {
            var slot = Int(truncatingIfNeeded: hash) & (slots.count - 1)
            while slots[slot] >= 0 { slot = (slot + 1) & (slots.count - 1) }
            slots[slot] = Int32(index)
        }
    }

    /// Multiplies and folds eight bytes at a time.
    private static func hash(_ bytes: [UInt8], _ range: Range<Int>) -> UInt64 {
        // SAFETY: the slice is checked against the array; words are read only where eight bytes are left.
        bytes[range].withUnsafeBytes { text in
            var hash = UInt64(text.count) &* 0x9E37_79B9_7F4A_7C15
            var offset = 0
            while offset + 8 <= text.count {
                hash = mix(hash ^ text.loadUnaligned(fromByteOffset: offset, as: UInt64.self))
                offset += 8
            }
            var rest: UInt64 = 0
            while offset < text.count {
                rest = rest << 8 | UInt64(text[offset])
                offset += 1
            }
            return mix(hash ^ rest)
        }
    }

    private static func mix(_ value: UInt64) -> UInt64 {
        let product = value.multipliedFullWidth(by: 0xD6E8_FEB8_6659_FD93)
        return product.high ^ product.low
    }
}
