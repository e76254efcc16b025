// SPDX-License-Identifier: MIT

public import Platform

/// Writes a Chrome trace with the schema of PyTorch's profiler, which Perfetto and chrome://tracing open.
///
/// Times are nanoseconds of any clock; the file has microseconds with three decimal places. Nothing is there until
/// `finish`.
public struct ChromeTraceWriter: ~Copyable {
    /// A kernel of a device, with what the profiler says of one.
    public struct Kernel: Sendable {
        public var name: String
        public var device: Int
        public var stream: Int
        public var start: Int64
        public var duration: Int64
        /// Ties it to the call that launched it.
        public var correlation: Int
        public var grid: (Int, Int, Int)
        public var block: (Int, Int, Int)
        public var registersPerThread: Int
        public var sharedMemoryBytes: Int

        /// A kernel of one block of one thread, unless said otherwise.
        public init(
            _ name: String, device: Int = 0, stream: Int, start: Int64, duration: Int64, correlation: Int,
            grid: (Int, Int, Int) = (1, 1, 1), block: (Int, Int, Int) = (1, 1, 1), registersPerThread: Int = 0,
            sharedMemoryBytes: Int = 0
        ) {
            (self.name, self.device, self.stream) = (name, device, stream)
            (self.start, self.duration, self.correlation) = (start, duration, correlation)
            (self.grid, self.block) = (grid, block)
            (self.registersPerThread, self.sharedMemoryBytes) = (registersPerThread, sharedMemoryBytes)
        }
    }

    /// One end of an arrow.
    public enum FlowEnd: String, Sendable {
        case start = "s"
        case step = "t"
        case end = "f"
    }

    /// Text is handed to the file in pieces of this size.
    private static let pieceBytes = 1 << 20

    private var file: AtomicFileWriter
    private var text = ""
    private var isFirst = true
    private let traceName: String

    /// Begins a file.
    public init(path: String, traceName: String) throws(FathomError) {
        file = try AtomicFileWriter(path: path)
        self.traceName = traceName
        text = Self.beginning
    }

    private static let beginning = "{\"schemaVersion\":1,\"displayTimeUnit\":\"ms\",\"traceEvents\":["
    private static let end = "\n],\"traceName\":"

    // MARK: Names

    /// Names a process, or a device.
    public mutating func nameProcess(_ process: Int, _ name: String) throws(FathomError) {
        try metadata("process_name", process: process, thread: 0, [("name", .string(name))])
    }

    /// Where a process stands among others, smaller numbers first, and a word beside its name.
    public mutating func placeProcess(_ process: Int, at index: Int, label: String) throws(FathomError) {
        try metadata("process_sort_index", process: process, thread: 0, [("sort_index", .integer(index))])
        try metadata("process_labels", process: process, thread: 0, [("labels", .string(label))])
    }

    /// Names a thread, or a stream, and sorts threads by their numbers.
    public mutating func nameThread(_ thread: Int, of process: Int, _ name: String) throws(FathomError) {
        try metadata("thread_name", process: process, thread: thread, [("name", .string(name))])
        try metadata("thread_sort_index", process: process, thread: thread, [("sort_index", .integer(thread))])
    }

    private mutating func metadata(
        _ name: String, process: Int, thread: Int, _ arguments: [(String, JSONValue)]
    ) throws(FathomError) {
        begin("M", name, category: nil, process, thread, 0)
        try end(arguments)
    }

    // MARK: Events

    /// Something that took time.
    public mutating func complete(
        _ name: String, category: String, process: Int, thread: Int, start: Int64, duration: Int64,
        arguments: [(String, JSONValue)] = []
    ) throws(FathomError) {
        precondition(duration >= 0, "a span ends after its start")
        begin("X", name, category: category, process, thread, start)
        text += ",\"dur\":"
        writeTime(duration)
        try end(arguments)
    }

    /// Something that took time beside others of its process, on no thread; `id` tells it from those of its name.
    public mutating func interval(
        _ name: String, category: String, process: Int, id: Int, start: Int64, duration: Int64,
        arguments: [(String, JSONValue)] = []
    ) throws(FathomError) {
        precondition(duration >= 0, "a span ends after its start")
        for (phase, time) in [("b", start), ("e", start + duration)] {
            begin(phase, name, category: category, process, 0, time)
            text += ",\"id2\":{\"local\":\"\(id)\"}"
            try end(phase == "b" ? arguments : [])
        }
    }

    /// A kernel on a stream of a device.
    public mutating func kernel(_ kernel: Kernel) throws(FathomError) {
        func triple(_ value: (Int, Int, Int)) -> JSONValue {
            .array([.integer(value.0), .integer(value.1), .integer(value.2)])
        }
        try complete(
            kernel.name, category: "kernel", process: kernel.device, thread: kernel.stream, start: kernel.start,
            duration: kernel.duration,
            arguments: [
                ("device", .integer(kernel.device)), ("stream", .integer(kernel.stream)),
                ("correlation", .integer(kernel.correlation)), ("grid", triple(kernel.grid)),
                ("block", triple(kernel.block)), ("registers per thread", .integer(kernel.registersPerThread)),
                ("shared memory", .integer(kernel.sharedMemoryBytes)),
            ])
    }

    /// The call that launches a kernel, and the arrow from it.
    public mutating func launch(
        correlation: Int, process: Int, thread: Int, start: Int64, duration: Int64
    ) throws(FathomError) {
        try complete(
            "cudaLaunchKernel", category: "cuda_runtime", process: process, thread: thread, start: start,
            duration: duration, arguments: [("correlation", .integer(correlation))])
        try flow(.start, id: correlation, category: "ac2g", process: process, thread: thread, time: start)
    }

    /// An end of an arrow, bound to the event around it.
    public mutating func flow(
        _ part: FlowEnd, id: Int, category: String, process: Int, thread: Int, time: Int64
    ) throws(FathomError) {
        begin(part.rawValue, category, category: category, process, thread, time)
        text += ",\"id\":\(id)"
        if part == .end { text += ",\"bp\":\"e\"" }
        try end([])
    }

    /// A moment.
    public mutating func instant(_ name: String, process: Int, thread: Int, time: Int64) throws(FathomError) {
        begin("i", name, category: nil, process, thread, time)
        text += ",\"s\":\"t\""
        try end([])
    }

    /// Values that change over time, drawn as areas.
    public mutating func counter(
        _ name: String, process: Int, time: Int64, values: [(String, JSONValue)]
    ) throws(FathomError) {
        begin("C", name, category: nil, process, 0, time)
        try end(values)
    }

    /// Puts the file in its place. Call it once, last.
    public mutating func finish() throws(FathomError) {
        text += Self.end
        JSONValue.writeString(traceName, into: &text)
        text += "}\n"
        try file.write(text)
        text = ""
        try file.commit()
    }

    /// Takes over the events of a file that such a writer has written, as they stand.
    ///
    /// - Returns: how many of them are spans.
    /// - Throws: `missingInput` for no such file, `badData` for one that was written otherwise, `io`.
    public mutating func append(eventsOf path: String) throws(FathomError) -> Int {
        let bytes = try MappedFile.read(path: path)
        let (first, last) = (Array(Self.beginning.utf8), Array(Self.end.utf8))
        // The name behind the events is text without line ends.
        guard bytes.starts(with: first), let tail = bytes.dropLast().lastIndex(of: UInt8(ascii: "\n")),
            bytes[tail...].starts(with: last)
        else { throw FathomError(.badData, "\(path) is no trace that Fathom wrote") }
        let events = bytes[first.count..<tail]
        guard !events.isEmpty else { return 0 }
        if !isFirst { text += "," }
        isFirst = false
        try file.write(text)
        text = ""
        try file.write(Array(events))
        // Each event is a line.
        let mark = Array("{\"ph\":\"X\"".utf8)
        return events.split(separator: UInt8(ascii: "\n")).count { $0.starts(with: mark) }
    }

    // MARK: Text

    private mutating func begin(
        _ phase: String, _ name: String, category: String?, _ process: Int, _ thread: Int, _ time: Int64
    ) {
        text += isFirst ? "\n{\"ph\":\"" : ",\n{\"ph\":\""
        isFirst = false
        text += phase
        if let category {
            text += "\",\"cat\":"
            JSONValue.writeString(category, into: &text)
            text += ",\"name\":"
        } else {
            text += "\",\"name\":"
        }
        JSONValue.writeString(name, into: &text)
        text += ",\"pid\":\(process),\"tid\":\(thread),\"ts\":"
        writeTime(time)
    }

    private mutating func end(_ arguments: [(String, JSONValue)]) throws(FathomError) {
        if !arguments.isEmpty {
            text += ",\"args\":{"
            for (index, (name, value)) in arguments.enumerated() {
                if index > 0 { text += "," }
                JSONValue.writeString(name, into: &text)
                text += ":" + value.serialized(compact: true)
            }
            text += "}"
        }
        text += "}"
        guard text.utf8.count >= Self.pieceBytes else { return }
        try file.write(text)
        text = ""
    }

    /// Nanoseconds as microseconds, exactly.
    private mutating func writeTime(_ nanoseconds: Int64) {
        let fraction = nanoseconds.magnitude % 1000
        if nanoseconds < 0 { text += "-" }
        text += "\(nanoseconds.magnitude / 1000)"
        if fraction != 0 { text += "." + (fraction < 10 ? "00" : fraction < 100 ? "0" : "") + "\(fraction)" }
    }
}
