// SPDX-License-Identifier: MIT

import Platform

/// Texts, and values that nobody asked for.
extension TraceText {
    /// Reads a text whose escapes are left as they are (keys, mostly), and returns where it lies in the window.
    @inline(__always)
    mutating func plainText() throws(TraceStop) -> Range<Int> {
        guard next == UInt8(ascii: "\"") else { throw unexpected("a text in quotes") }
        let start = position + 1
        var place = start
        while case let byte = window[place], byte != UInt8(ascii: "\"") {
            if byte == 0, place >= end { throw .starved }
            place += byte == UInt8(ascii: "\\") ? 2 : 1
            if place > end { throw .starved }
        }
        position = place + 1
        return start..<place
    }

    /// Reads a text and adds it to `names`; a value of another kind counts as its own spelling.
    mutating func name() throws(TraceStop) -> NameID {
        guard next == UInt8(ascii: "\"") else {
            let start = position
            try skip()
            return names.intern(window, start..<position)
        }
        let range = try plainText()
        guard hasEscape(range) else { return names.intern(window, range) }
        decode(range)
        return names.intern(scratch)
    }

    private func hasEscape(_ range: Range<Int>) -> Bool {
        for index in range where window[index] == UInt8(ascii: "\\") { return true }
        return false
    }

    /// Decodes the escapes of a text to `scratch`. What is no legal escape stays as it is written.
    private mutating func decode(_ range: Range<Int>) {
        scratch.removeAll(keepingCapacity: true)
        var place = range.lowerBound
        while place < range.upperBound {
            let byte = window[place]
            place += 1
            guard byte == UInt8(ascii: "\\"), place < range.upperBound else {
                scratch.append(byte)
                continue
            }
            let letter = window[place]
            place += 1
            switch letter {
            case UInt8(ascii: "n"): scratch.append(0x0A)
            case UInt8(ascii: "t"): scratch.append(0x09)
            case UInt8(ascii: "r"): scratch.append(0x0D)
            case UInt8(ascii: "b"): scratch.append(0x08)
            case UInt8(ascii: "f"): scratch.append(0x0C)
            case UInt8(ascii: "u"): decodeUnicode(&place, end: range.upperBound)
            default: scratch.append(letter)
            }
        }
    }

    /// Decodes the digits after `\u`, and a second half of a pair; half a pair becomes U+FFFD.
    private mutating func decodeUnicode(_ place: inout Int, end: Int) {
        guard var value = fourDigits(place, end: end) else { return scratch.append(UInt8(ascii: "u")) }
        place += 4
        if 0xD800...0xDBFF ~= value, place + 6 <= end, window[place] == UInt8(ascii: "\\"),
            window[place + 1] == UInt8(ascii: "u"), let low = fourDigits(place + 2, end: end), 0xDC00...0xDFFF ~= low
        {
            place += 6
            value = 0x10000 + (value - 0xD800) << 10 + (low - 0xDC00)
        }
        scratch.append(contentsOf: (Unicode.Scalar(value) ?? "\u{FFFD}").utf8)
    }

    private func fourDigits(_ place: Int, end: Int) -> UInt32? {
        guard place + 4 <= end else { return nil }
        var value: UInt32 = 0
        for index in place..<place + 4 {
            guard let digit = Character(Unicode.Scalar(window[index])).hexDigitValue else { return nil }
            value = value << 4 | UInt32(digit)
        }
        return value
    }

    /// Reads and drops a value, whatever it is.
    mutating func skip(depth: Int = 0) throws(TraceStop) {
        switch next {
        case UInt8(ascii: "\""): _ = try plainText()
        case UInt8(ascii: "{"):
            try checkDepth(depth)
            try members { text, _ throws(TraceStop) in try text.skip(depth: depth + 1) }
        case UInt8(ascii: "["):
            try checkDepth(depth)
            try elements { text throws(TraceStop) in try text.skip(depth: depth + 1) }
        default: _ = try bareWord()
        }
    }

    private func checkDepth(_ depth: Int) throws(TraceStop) {
        guard depth < Self.maximumDepth else {
            throw .failed(failure("nesting deeper than \(Self.maximumDepth) levels", legal: "less"))
        }
    }

    /// Reads a number or a word such as true, null, NaN or -Infinity, and returns where it lies in the window.
    mutating func bareWord() throws(TraceStop) -> Range<Int> {
        let start = position
        while Self.isWordByte(next) { position += 1 }
        // A word at the end of the window may go on.
        guard position < end || isAtEnd else { throw .starved }
        guard position > start else { throw unexpected("a value") }
        return start..<position
    }

    @inline(__always)
    private static func isWordByte(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "a")...UInt8(ascii: "z"),
            UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "-"), UInt8(ascii: "+"), UInt8(ascii: "."):
            true
        default: false
        }
    }
}
