// SPDX-License-Identifier: MIT

import Platform

/// Why reading of a value stopped.
enum TraceStop: Error {
    /// The window ends inside the value; more of the file may complete it.
    case starved
    case failed(FathomError)
}

/// A window that moves over the JSON text of a trace, and the readers of single values in it.
///
/// Not `JSONScanner`, which holds a whole document and is as strict as RFC 8259: a trace may be larger than the memory,
/// and exporters write NaN, raw control characters and commas too many. A value that the window cuts is started again
/// once the window has moved, so the readers need no state between bytes.
struct TraceText: ~Copyable {
    /// Objects and arrays inside each other at most.
    static let maximumDepth = 64
    /// The longest single event.
    static let maximumEventBytes = 64 << 20

    private var bytes: TraceBytes
    /// The window: `window[position..<end]` is unread. A zero follows at `end`, so most readers test one thing.
    var window: [UInt8]
    var position = 0
    var end = 0
    /// Where `window[0]` lies in the text.
    private var windowStart = 0
    private(set) var isAtEnd = false
    var names = NameTable()
    var header = TraceReader.Header()
    /// A text with escapes, decoded.
    var scratch: [UInt8] = []

    init(_ bytes: consuming TraceBytes, windowBytes: Int) {
        precondition(windowBytes >= 16, "a window holds at least a few bytes")
        self.bytes = bytes
        window = [UInt8](repeating: 0, count: windowBytes + 1)
    }

    var path: String { bytes.path }
    /// The byte of the text that is next.
    var offset: Int { windowStart + position }

    /// Drops what is read and reads on; says whether anything came.
    mutating func refill() throws(FathomError) -> Bool {
        guard !isAtEnd else { return false }
        if position > 0 {
            window.replaceSubrange(0..<end - position, with: window[position..<end])
            windowStart += position
            end -= position
            position = 0
        }
        if end == window.count - 1 {
            guard window.count <= Self.maximumEventBytes else {
                throw failure("an event longer than \(Self.maximumEventBytes) bytes", legal: "shorter ones")
            }
            window.append(contentsOf: repeatElement(0, count: window.count))
        }
        let count = try bytes.read(into: &window, from: end, count: window.count - 1 - end)
        end += count
        window[end] = 0
        isAtEnd = count == 0
        return count > 0
    }

    /// An error about the value at the current place.
    func failure(_ found: String, legal: String) -> FathomError {
        FathomError(.badData, "\(path): found \(found) at byte \(offset); legal is \(legal)")
    }

    /// What to throw about the next byte: `starved` where the window ends there.
    func unexpected(_ legal: String) -> TraceStop {
        guard position < end else { return .starved }
        let byte = window[position]
        let found = 0x21...0x7E ~= byte ? "'\(Character(Unicode.Scalar(byte)))'" : "byte \(byte)"
        return .failed(failure(found, legal: legal))
    }

    /// Which well-known word a key is.
    @inline(__always)
    func word(_ key: Range<Int>) -> TraceWord? {
        names.find(window, key).flatMap { TraceWord(rawValue: $0.index) }
    }

    /// The next byte; 0 at the end of the window, and for a zero in the text.
    @inline(__always)
    var next: UInt8 { window[position] }

    @inline(__always)
    mutating func skipBlanks() {
        while case let byte = window[position], byte <= 0x20, byte != 0 { position += 1 }
    }

    /// Reads `byte`, after blanks.
    @inline(__always)
    mutating func expect(_ byte: UInt8) throws(TraceStop) {
        skipBlanks()
        guard next == byte else { throw unexpected("'\(Character(Unicode.Scalar(byte)))'") }
        position += 1
    }

    /// Reads an object: `body` gets each key, in `keyRange` of `keyBytes`, and reads the value.
    ///
    /// Commas may follow each other or precede the bracket.
    @inline(__always)
    mutating func members(
        _ body: (inout TraceText, _ key: Range<Int>) throws(TraceStop) -> Void
    ) throws(TraceStop) {
        try expect(UInt8(ascii: "{"))
        while try !ends(UInt8(ascii: "}")) {
            let key = try plainText()
            try expect(UInt8(ascii: ":"))
            skipBlanks()
            try body(&self, key)
        }
    }

    /// Reads an array: `body` reads each element.
    @inline(__always)
    mutating func elements(
        _ body: (inout TraceText) throws(TraceStop) -> Void
    ) throws(TraceStop) {
        try expect(UInt8(ascii: "["))
        while try !ends(UInt8(ascii: "]")) { try body(&self) }
    }

    /// Reads blanks and commas, and the closing bracket if it follows; says whether it did.
    @inline(__always)
    mutating func ends(_ bracket: UInt8) throws(TraceStop) -> Bool {
        skipBlanks()
        while next == UInt8(ascii: ",") {
            position += 1
            skipBlanks()
        }
        guard next == bracket else {
            if position == end { throw .starved }
            return false
        }
        position += 1
        return true
    }
}
