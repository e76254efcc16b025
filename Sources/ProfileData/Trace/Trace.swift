// SPDX-License-Identifier: MIT

public import Platform

/// What a report needs of a trace: work on devices, the calls that launched it, annotations and names.
///
/// About a hundred bytes for a kernel and forty for a launch, whatever the file says of them; other events are counted
/// and dropped. A trace without device work (a program on CPUs) is taken by its host spans: every thread is a stream,
/// and a span owns the time that no span inside it has.
public struct Trace: Sendable {
    /// A lane on which work runs one after the other: a stream of a device, or a thread.
    public struct Stream: Sendable {
        public var process: TraceLabel
        public var thread: TraceLabel
        /// The name that the trace or its numbers give it.
        public var title: String
    }

    /// A kernel, a copy or a fill; or a span's own time.
    public struct Operation: Sendable {
        public var name: NameID
        public var kernelClass: KernelClass
        /// Whether it is a kernel, and no copy or fill.
        public var isKernel: Bool
        /// Index in `streams`.
        public var stream: Int32
        /// Nanoseconds on the trace's clock.
        public var start: Int64
        public var duration: Int64
        /// Ties it to the call that launched it; −1 where the trace has none.
        public var correlation: Int64
        /// Blocks, and threads of a block, in three directions; zeros where the trace has none.
        public var grid: SIMD4<Int32>
        public var block: SIMD4<Int32>
        public var registersPerThread: Int32
        public var sharedMemoryBytes: Int32

        public var end: Int64 { start + duration }
        public var range: Range<Int64> { start..<end }
    }

    /// A call of the CUDA runtime or driver that launches, copies, fills, waits or synchronises.
    public struct HostCall: Sendable {
        public var name: NameID
        /// The thread it ran on.
        public var thread: TraceLabel
        public var start: Int64
        public var duration: Int64
        public var correlation: Int64

        public var end: Int64 { start + duration }
    }

    /// A named stretch of a host thread.
    public struct Annotation: Sendable {
        public var name: NameID
        public var thread: TraceLabel
        public var start: Int64
        public var duration: Int64

        public var end: Int64 { start + duration }
    }

    public internal(set) var names = NameTable()
    public internal(set) var header = TraceReader.Header()
    /// Sorted by process, then thread.
    public internal(set) var streams: [Stream] = []
    /// Sorted by start.
    public internal(set) var operations: [Operation] = []
    /// Sorted by start.
    public internal(set) var calls: [HostCall] = []
    /// Sorted by start, outer ones first.
    public internal(set) var annotations: [Annotation] = []
    /// Whether operations are device work, and not host spans.
    public internal(set) var hasDeviceWork = false
    /// Events in the file; and those among them whose time is missing or no number.
    public internal(set) var eventCount = 0
    public internal(set) var untimedEventCount = 0
    /// Unpacked bytes of the file.
    public internal(set) var byteCount = 0

    init() {}

    /// Reads a file.
    ///
    /// - Throws: `missingInput`, `badData` with the byte offset, or `unavailable` (gzip without zlib).
    public init(path: String) throws(FathomError) {
        var reader = try TraceReader(path: path)
        var collector = TraceCollector()
        var event = TraceEvent()
        while try reader.next(&event) { collector.add(event, names: reader.names) }
        self = try collector.finish(names: reader.names, header: reader.header, path: path)
        byteCount = reader.byteCount
    }

    /// The time from the first start to the last end of an operation.
    public var span: Range<Int64> {
        let start = operations.first?.start ?? 0
        return start..<(operations.lazy.map(\.end).max() ?? start)
    }
}
