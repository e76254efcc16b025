// SPDX-License-Identifier: MIT

public import Platform
import Synchronization

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#elseif canImport(Darwin)
import Darwin
#endif

extension Spans {
    /// One of several processes that record the same run.
    public struct Place: Sendable {
        public var rank: Int
        /// The clock that the times are of: files of the same clock may lie in one picture.
        public var clock: String

        /// - Parameter rank: of this process.
        public init(rank: Int) {
            self.rank = rank
            clock = Spans.clockName
        }
    }

    /// Names the monotonic clock of this machine since it started: the same for all processes on it.
    public static var clockName: String {
        Machine.bootName ?? "process \(getpid())"
    }

    /// What a span costs, in nanoseconds.
    private static func measureCost() -> Double {
        let buffer = SpanBuffer(threadID: 0, threadName: "")
        let count = SpanBuffer.capacity
        let start = now()
        for _ in 0..<count {
            buffer.add(SpanRecord(start: now(), end: now(), a: 0, b: 0, c: 0, kind: 0))
        }
        return Double(now() - start) / Double(count)
    }

    /// Stops recording and writes what was recorded to `path`, as a Chrome trace.
    ///
    /// - Parameters:
    ///   - place: which of several processes this one is; nil for the only one.
    ///   - others: files of processes of the same clock, which are taken over.
    /// - Throws: `io`; the recorded spans are gone then, too.
    public static func finish(
        path: String, processName: String, place: Place? = nil, merging others: [String] = []
    ) throws(FathomError) -> Summary {
        isOn.store(false, ordering: .sequentiallyConsistent)
        let duration = now() - startTime.load(ordering: .relaxed)
        let process = Int(getpid())
        var writer = try ChromeTraceWriter(path: path, traceName: FilePaths.name(of: path))
        try writer.nameProcess(process, processName)
        if let place { try writer.placeProcess(process, at: place.rank, label: "clock \(place.clock)") }
        var summary = Summary(
            spanCount: 0, threadCount: 0, droppedCount: dropped.load(ordering: .relaxed),
            nanosecondsPerSpan: measureCost(), duration: duration)
        for buffer in buffers.withLock({ $0 }) {
            try write(buffer, of: process, to: &writer, &summary)
        }
        for other in others { summary.mergedCount += try writer.append(eventsOf: other) }
        try writer.finish()
        return summary
    }

    private static func write(
        _ buffer: SpanBuffer, of process: Int, to writer: inout ChromeTraceWriter, _ summary: inout Summary
    ) throws(FathomError) {
        let kinds = SpanKind.all
        let (records, overwritten) = buffer.drain()
        summary.droppedCount += overwritten
        guard !records.isEmpty else { return }
        summary.threadCount += 1
        summary.spanCount += records.count
        try writer.nameThread(buffer.threadID, of: process, buffer.threadName)
        for (index, record) in records.enumerated() {
            let kind = kinds[Int(record.kind)]
            let arguments = zip(kind.numbers, [record.a, record.b, record.c]).map {
                ($0, JSONValue.integer(Int($1)))
            }
            let duration = max(0, record.end - record.start)
            if kind.overlaps {
                try writer.interval(
                    kind.name, category: kind.category, process: process,
                    id: buffer.threadID * SpanBuffer.capacity + index, start: record.start, duration: duration,
                    arguments: arguments)
            } else {
                try writer.complete(
                    kind.name, category: kind.category, process: process, thread: buffer.threadID, start: record.start,
                    duration: duration, arguments: arguments)
            }
        }
    }
}
