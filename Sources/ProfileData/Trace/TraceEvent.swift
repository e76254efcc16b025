// SPDX-License-Identifier: MIT

/// A `pid` or `tid`: exporters write numbers and texts.
public enum TraceLabel: Hashable, Sendable {
    case number(Int64)
    case name(NameID)
}

/// One event of a trace, as the format has it. Times are nanoseconds on the trace's own clock.
public struct TraceEvent: Sendable {
    /// The format's phases, by their letter. Letters that are none of these are read and passed on.
    public struct Phase: RawRepresentable, Hashable, Sendable {
        public let rawValue: UInt8
        public init(rawValue: UInt8) { self.rawValue = rawValue }
        public static let complete = Phase(rawValue: UInt8(ascii: "X"))
        public static let begin = Phase(rawValue: UInt8(ascii: "B"))
        public static let end = Phase(rawValue: UInt8(ascii: "E"))
        public static let instant = Phase(rawValue: UInt8(ascii: "i"))
        public static let flowStart = Phase(rawValue: UInt8(ascii: "s"))
        public static let flowStep = Phase(rawValue: UInt8(ascii: "t"))
        public static let flowEnd = Phase(rawValue: UInt8(ascii: "f"))
        public static let metadata = Phase(rawValue: UInt8(ascii: "M"))
        public static let counter = Phase(rawValue: UInt8(ascii: "C"))
        /// An event without a phase.
        public static let none = Phase(rawValue: 0)
    }

    public var phase = Phase.none
    public var name = TraceWord.empty.id
    public var category = TraceWord.empty.id
    public var process = TraceLabel.number(0)
    public var thread = TraceLabel.number(0)
    /// Nil where the event has none, or one that is no number.
    public var start: Int64?
    public var duration: Int64?
    /// The id of a flow.
    public var identifier: TraceLabel?
    public var arguments = TraceArguments()

    /// An event of which nothing is known.
    public init() {}
}

/// The arguments that a report needs; others are read and dropped.
public struct TraceArguments: Sendable {
    public var correlation: Int64?
    public var stream: Int64?
    public var device: Int64?
    /// Blocks and threads of a kernel in three directions.
    public var grid: SIMD4<Int32>?
    public var block: SIMD4<Int32>?
    public var registersPerThread: Int64?
    public var sharedMemoryBytes: Int64?
    /// Bytes of a copy.
    public var bytes: Int64?
    /// What a metadata event says: a name or labels.
    public var label: NameID?
    public var sortIndex: Int64?
}
