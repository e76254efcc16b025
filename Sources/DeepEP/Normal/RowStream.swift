// SPDX-License-Identifier: MIT

/// The sending end of a stream of rows into a ring of slots in the receiver's memory.
///
/// Row i goes to slot i mod capacity. A ring that holds the whole stream never turns over, so its receiver takes
/// nothing out and rows stay where they land.
struct RowSender: Sendable {
    /// Rows of the stream.
    let total: Int
    /// Slots of the ring, 1 or more.
    let capacity: Int
    private(set) var sent = 0
    private var released = 0

    init(total: Int, capacity: Int) {
        precondition(capacity >= 1 || total == 0)
        self.total = total
        self.capacity = capacity
    }

    var isDone: Bool { sent == total }
    /// Whether a slot is free for the next row.
    var hasRoom: Bool { sent < total && sent < released + capacity }
    /// The slot of the next row.
    var slot: Int { sent % capacity }

    /// The receiver has taken `count` rows in all.
    mutating func release(_ count: Int) { released = max(released, count) }

    /// Advances by one row.
    mutating func advance() { sent += 1 }

    /// The next rows that have neighbouring free slots, at most `limit`; empty if there is no room.
    mutating func take(limit: Int) -> Range<Int> {
        guard hasRoom else { return sent..<sent }
        let count = min(limit, total - sent, released + capacity - sent, capacity - slot)
        defer { sent += count }
        return sent..<sent + count
    }
}

/// The receiving end of a stream of rows.
struct RowReceiver: Sendable {
    let total: Int
    let capacity: Int
    /// Rows that have arrived, counted from the first.
    private(set) var arrived = 0
    /// Rows that are no longer needed in their slots.
    private(set) var taken = 0

    init(total: Int, capacity: Int) {
        self.total = total
        self.capacity = capacity
    }

    /// Whether slots are used more than once, so that rows have to be taken out.
    var turnsOver: Bool { capacity < total }

    mutating func arrive(_ count: Int) { arrived = min(max(arrived, count), total) }

    mutating func take(_ count: Int) { taken += count }

    /// The next arrived rows in neighbouring slots, not yet taken.
    var nextRun: Range<Int> {
        guard taken < arrived else { return taken..<taken }
        return taken..<min(arrived, taken + capacity - taken % capacity)
    }
}
