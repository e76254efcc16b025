// SPDX-License-Identifier: MIT

import Synchronization

/// One finished span. Times are nanoseconds of the monotonic clock.
struct SpanRecord: Sendable {
    var start: Int64
    var end: Int64
    var a: Int32
    var b: Int32
    var c: Int32
    var kind: UInt16
}

/// The last spans of one thread. Only that thread adds, so the lock is free until somebody collects.
final class SpanBuffer: Sendable {
    /// Spans that a thread keeps; 1.3 MB.
    static let capacity = 1 << 15

    private struct Ring {
        var records: [SpanRecord] = []
        /// Spans that were added in all.
        var count = 0
    }

    let threadID: Int
    let threadName: String
    private let ring = Mutex(Ring())

    init(threadID: Int, threadName: String) {
        self.threadID = threadID
        self.threadName = threadName
    }

    /// Whether no span was added since the buffer was emptied.
    var isEmpty: Bool { ring.withLock { $0.count == 0 } }

    func add(_ record: SpanRecord) {
        ring.withLock { ring in
            if ring.records.count < Self.capacity {
                if ring.records.isEmpty { ring.records.reserveCapacity(Self.capacity) }
                ring.records.append(record)
            } else {
                ring.records[ring.count & (Self.capacity - 1)] = record
            }
            ring.count += 1
        }
    }

    /// The spans that are there, oldest first, and how many others were overwritten. Empties the buffer.
    func drain() -> (records: [SpanRecord], dropped: Int) {
        ring.withLock { ring in
            defer { ring = Ring() }
            guard ring.count > Self.capacity else { return (ring.records, 0) }
            let oldest = ring.count & (Self.capacity - 1)
            return (Array(ring.records[oldest...] + ring.records[..<oldest]), ring.count - Self.capacity)
        }
    }
}
