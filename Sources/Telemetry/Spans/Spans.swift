// SPDX-License-Identifier: MIT

import Synchronization

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#elseif canImport(Darwin)
import Darwin
#endif

/// The tracer of the house: where the time of this process goes.
///
/// Off by default, at the cost of one load and one branch. On, a span costs two readings of the clock and one record in
/// a buffer of its thread, which keeps the last ones; what was overwritten is counted. `finish` writes all as a Chrome
/// trace.
///
///     let start = Spans.begin()
///     defer { Spans.end(start, .gemm, m, n, k) }
///
/// Inner loops use this and not swift-distributed-tracing's API: its spans are existentials with a lock, a context and
/// attributes in dictionaries, microseconds where a product takes ten.
public enum Spans {
    /// Threads with buffers of their own; spans of further ones are dropped and counted.
    public static let maximumThreads = 256

    /// When a span began; nothing while the tracer is off.
    public struct Start: Sendable {
        /// Nanoseconds of the monotonic clock; 0 is off.
        @usableFromInline
        let time: Int64

        @usableFromInline
        init(time: Int64) { self.time = time }
    }

    /// What `finish` wrote.
    public struct Summary: Sendable {
        public var spanCount: Int
        /// Spans of other processes, whose files were taken over.
        public var mergedCount = 0
        public var threadCount: Int
        /// Spans that were overwritten, or came from more than `maximumThreads` threads.
        public var droppedCount: Int
        /// What one span costs, measured when recording ends, in nanoseconds.
        public var nanosecondsPerSpan: Double
        /// From `start` to `finish`, in nanoseconds.
        public var duration: Int64

        /// The time of all spans, dropped ones too, as a part of the recording's on one thread.
        public var overhead: Double {
            duration == 0 ? 0 : nanosecondsPerSpan * Double(spanCount + droppedCount) / Double(duration)
        }
    }

    static let isOn = Atomic<Bool>(false)
    static let dropped = Atomic<Int>(0)
    static let startTime = Atomic<Int64>(0)
    static let buffers = Mutex<[SpanBuffer]>([])

    /// Whether spans are recorded.
    public static var isRecording: Bool { isOn.load(ordering: .relaxed) }

    /// Stops recording, and forgets what was recorded.
    ///
    /// - Returns: how many spans that were.
    @discardableResult
    public static func cancel() -> Int {
        isOn.store(false, ordering: .sequentiallyConsistent)
        return buffers.withLock { $0 }.reduce(0) { count, buffer in
            let (records, overwritten) = buffer.drain()
            return count + records.count + overwritten
        }
    }

    /// Whether no span was recorded since recording started.
    public static var isEmpty: Bool { buffers.withLock { $0 }.allSatisfy(\.isEmpty) }

    /// Starts recording; spans that began before are left out.
    public static func start() {
        _ = threadBuffer()
        for buffer in buffers.withLock({ $0 }) { _ = buffer.drain() }
        dropped.store(0, ordering: .relaxed)
        startTime.store(now(), ordering: .relaxed)
        isOn.store(true, ordering: .releasing)
    }

    /// The beginning of a span.
    @inlinable
    public static func begin() -> Start {
        isRecording ? startNow() : Start(time: 0)
    }

    /// The end of a span, with the numbers that its kind has names for; kind and numbers are computed only while spans
    /// are recorded.
    @inlinable
    public static func end(
        _ start: Start, _ kind: @autoclosure () -> SpanKind, _ a: @autoclosure () -> Int = 0,
        _ b: @autoclosure () -> Int = 0, _ c: @autoclosure () -> Int = 0
    ) {
        if start.time != 0 { record(start, kind(), a(), b(), c()) }
    }

    /// The span of what `body` does.
    @inlinable
    public static func measure<Result: ~Copyable, Failure: Error>(
        _ kind: @autoclosure () -> SpanKind, _ a: @autoclosure () -> Int = 0, _ b: @autoclosure () -> Int = 0,
        _ body: () throws(Failure) -> Result
    ) throws(Failure) -> Result {
        let start = begin()
        defer { if start.time != 0 { record(start, kind(), a(), b(), 0) } }
        return try body()
    }

    /// Nanoseconds of the monotonic clock.
    static func now() -> Int64 {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return Int64(time.tv_sec) * 1_000_000_000 + Int64(time.tv_nsec)
    }

    @usableFromInline
    static func startNow() -> Start { Start(time: now()) }

    @usableFromInline
    static func record(_ start: Start, _ kind: SpanKind, _ a: Int, _ b: Int, _ c: Int) {
        guard isOn.load(ordering: .relaxed) else { return }
        guard let buffer = threadBuffer() else {
            dropped.wrappingAdd(1, ordering: .relaxed)
            return
        }
        buffer.add(
            SpanRecord(
                start: start.time, end: now(), a: Int32(clamping: a), b: Int32(clamping: b), c: Int32(clamping: c),
                kind: kind.id))
    }

    // MARK: Threads

    private static let key: pthread_key_t = {
        var key = pthread_key_t()
        let status = pthread_key_create(&key, nil)
        precondition(status == 0, "the system has a thread-specific key left")
        return key
    }()

    /// This thread's buffer; nil where there are too many threads.
    private static func threadBuffer() -> SpanBuffer? {
        // SAFETY: the pointer is to a buffer that `buffers` keeps for the life of the process.
        if let pointer = pthread_getspecific(key) {
            return Unmanaged<SpanBuffer>.fromOpaque(pointer).takeUnretainedValue()
        }
        let buffer: SpanBuffer? = buffers.withLock { buffers in
            guard buffers.count < maximumThreads else { return nil }
            // The thread that starts the first recording comes first.
            let name = buffers.isEmpty ? "main" : "thread \(buffers.count)"
            let buffer = SpanBuffer(threadID: buffers.count, threadName: name)
            buffers.append(buffer)
            return buffer
        }
        guard let buffer else { return nil }
        // SAFETY: `buffers` keeps it, as above.
        pthread_setspecific(key, Unmanaged.passUnretained(buffer).toOpaque())
        return buffer
    }
}
