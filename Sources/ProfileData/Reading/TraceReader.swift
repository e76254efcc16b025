// SPDX-License-Identifier: MIT

public import Platform

/// Reads a Chrome trace (the format of PyTorch's profiler, Perfetto's legacy import and chrome://tracing), plain or
/// gzip, event by event, in memory that does not grow with the file.
///
/// What exporters write beyond RFC 8259 is accepted: a bare array of events, an array or document without its end,
/// commas too many, NaN and Infinity, times and ids as texts, raw control characters in names. Everything else is a
/// `badData` error with the byte offset in the unpacked text.
public struct TraceReader: ~Copyable {
    /// Facts that stand beside the events.
    public struct Header: Sendable {
        public var traceName: String?
        /// Names of the devices, in their order.
        public var devices: [String] = []
        /// Multiprocessors of the first device.
        public var multiprocessors: Int?
        public var rank: Int?
        public var worldSize: Int?
    }

    /// The texts of the events that were read.
    public var names: NameTable { text.names }
    /// What is known of the file; complete once every event is read.
    public var header: Header { text.header }
    private var text: TraceText
    private var state = State.start

    private enum State { case start, betweenMembers, bareEvents, events, finished }

    /// Opens a file.
    ///
    /// - Parameter windowBytes: how much is read at once.
    /// - Throws: `missingInput`, or `unavailable` where the file is gzip and the system has no zlib.
    public init(path: String, windowBytes: Int = 1 << 20) throws(FathomError) {
        text = TraceText(try TraceBytes(path: path), windowBytes: windowBytes)
    }

    /// Bytes of unpacked text that were read.
    public var byteCount: Int { text.offset }

    /// Reads the next event into `event`; false after the last one.
    public mutating func next(_ event: inout TraceEvent) throws(FathomError) -> Bool {
        while true {
            switch state {
            case .start: try open()
            case .betweenMembers: try member()
            case .events, .bareEvents: if try element(&event) { return true }
            case .finished: return false
            }
        }
    }

    // MARK: Steps

    private mutating func open() throws(FathomError) {
        let bracket = try nextByte()
        switch bracket {
        case UInt8(ascii: "["): state = .bareEvents
        case UInt8(ascii: "{"): state = .betweenMembers
        default:
            throw text.failure(describe(bracket), legal: "a trace: an object with traceEvents, or an array of events")
        }
        text.position += 1
    }

    /// Reads a member of the document, or enters the events.
    private mutating func member() throws(FathomError) {
        var isEnd = false
        var entersEvents = false
        let isWhole = try attempt { text throws(TraceStop) in
            isEnd = try text.ends(UInt8(ascii: "}"))
            if isEnd { return }
            let key = try text.plainText()
            let word = text.word(key)
            try text.expect(UInt8(ascii: ":"))
            text.skipBlanks()
            entersEvents = word == .events && text.next == UInt8(ascii: "[")
            if entersEvents { text.position += 1 } else { try text.headerMember(word) }
        }
        if !isWhole || isEnd {
            state = .finished
            if isEnd { try finish() }
        } else if entersEvents {
            state = .events
        }
    }

    /// Reads the next event, or leaves the array.
    private mutating func element(_ event: inout TraceEvent) throws(FathomError) -> Bool {
        var isEnd = false
        let isWhole = try attempt { text throws(TraceStop) in
            isEnd = try text.ends(UInt8(ascii: "]"))
            if !isEnd { try text.event(&event) }
        }
        if isWhole, !isEnd { return true }
        let isBare = state == .bareEvents
        state = isWhole && !isBare ? .betweenMembers : .finished
        if isWhole, isBare { try finish() }
        return false
    }

    /// Runs `body`, again from its start with more text where the window ended in it.
    ///
    /// - Returns: false where the file ends before the first byte of what `body` reads: a document may lack its end.
    private mutating func attempt(
        _ body: (inout TraceText) throws(TraceStop) -> Void
    ) throws(FathomError) -> Bool {
        while true {
            let start = text.offset
            do throws(TraceStop) {
                try body(&text)
                return true
            } catch {
                if case .failed(let error) = error { throw error }
            }
            // A refill moves the window, and offsets stay.
            text.position -= text.offset - start
            if try text.refill() { continue }
            while text.position < text.end, text.next <= 0x20 || text.next == UInt8(ascii: ",") { text.position += 1 }
            guard text.position == text.end else {
                throw text.failure("the start of a value without its end", legal: "a file that ends between events")
            }
            return false
        }
    }

    /// Checks that nothing but blanks follows.
    private mutating func finish() throws(FathomError) {
        while true {
            text.skipBlanks()
            if text.position < text.end {
                throw text.failure(describe(text.next), legal: "nothing after the document")
            }
            guard try text.refill() else { return }
        }
    }

    /// The next byte that is no blank, not read.
    private mutating func nextByte() throws(FathomError) -> UInt8 {
        while true {
            // A byte order mark is none of JSON's blanks, and some editors write one.
            if text.offset == 0, text.end >= 3, Array(text.window[0..<3]) == [0xEF, 0xBB, 0xBF] { text.position = 3 }
            text.skipBlanks()
            if text.position < text.end { return text.next }
            guard try text.refill() else {
                throw text.failure("the end of the file", legal: "a trace: an object with traceEvents, or an array")
            }
        }
    }

    private func describe(_ byte: UInt8) -> String {
        0x21...0x7E ~= byte ? "'\(Character(Unicode.Scalar(byte)))'" : "byte \(byte)"
    }
}
