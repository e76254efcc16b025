// SPDX-License-Identifier: MIT

/// What is going to happen, in order of virtual time; what happens at the same time keeps the order of scheduling.
///
/// A binary heap: scheduling and taking cost log₂(count) steps.
public struct VirtualTimeQueue<Event: Sendable>: Sendable {
    private struct Entry: Sendable {
        var time: Int
        var order: Int
        var event: Event

        static func < (a: Entry, b: Entry) -> Bool { (a.time, a.order) < (b.time, b.order) }
    }

    private var heap: [Entry] = []
    private var scheduled = 0
    /// The time of the event that was taken last, in nanoseconds.
    public private(set) var now = 0

    public init() {}

    public var isEmpty: Bool { heap.isEmpty }

    /// Events that have not happened yet.
    public var count: Int { heap.count }

    /// Puts an event at `time`, or now if that has passed.
    public mutating func schedule(_ event: Event, at time: Int) {
        heap.append(Entry(time: max(time, now), order: scheduled, event: event))
        scheduled += 1
        var child = heap.count - 1
        while child > 0, heap[child] < heap[(child - 1) / 2] {
            heap.swapAt(child, (child - 1) / 2)
            child = (child - 1) / 2
        }
    }

    /// Takes the next event and moves the time to it.
    public mutating func next() -> Event? {
        guard let first = heap.first else { return nil }
        let last = heap.removeLast()
        if !heap.isEmpty {
            heap[0] = last
            sink()
        }
        now = first.time
        return first.event
    }

    private mutating func sink() {
        var parent = 0
        while true {
            var least = parent
            for child in [2 * parent + 1, 2 * parent + 2] where child < heap.count && heap[child] < heap[least] {
                least = child
            }
            guard least != parent else { return }
            heap.swapAt(least, parent)
            parent = least
        }
    }
}
