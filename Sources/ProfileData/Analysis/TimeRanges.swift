// SPDX-License-Identifier: MIT

/// Stretches of time, sorted and disjoint, in nanoseconds.
public struct TimeRanges: Sendable, Equatable {
    public private(set) var ranges: [Range<Int64>] = []

    /// The union of stretches in any order; empty ones are left out.
    public init(_ unsorted: some Sequence<Range<Int64>>) {
        for range in unsorted.filter({ !$0.isEmpty }).sorted(by: { $0.lowerBound < $1.lowerBound }) {
            if let last = ranges.last, range.lowerBound <= last.upperBound {
                ranges[ranges.count - 1] = last.lowerBound..<max(last.upperBound, range.upperBound)
            } else {
                ranges.append(range)
            }
        }
    }

    private init(disjoint: [Range<Int64>]) { ranges = disjoint }

    /// How long they are together.
    public var total: Int64 { ranges.reduce(0) { $0 + ($1.upperBound - $1.lowerBound) } }

    /// What both cover.
    public func intersection(_ other: TimeRanges) -> TimeRanges {
        var result: [Range<Int64>] = []
        var (i, j) = (0, 0)
        while i < ranges.count, j < other.ranges.count {
            let both = ranges[i].clamped(to: other.ranges[j])
            if !both.isEmpty { result.append(both) }
            if ranges[i].upperBound < other.ranges[j].upperBound { i += 1 } else { j += 1 }
        }
        return TimeRanges(disjoint: result)
    }

    /// What this covers and `other` does not.
    public func subtracting(_ other: TimeRanges) -> TimeRanges {
        var result: [Range<Int64>] = []
        var j = 0
        for range in ranges {
            var start = range.lowerBound
            while j < other.ranges.count, other.ranges[j].upperBound <= start { j += 1 }
            var k = j
            while k < other.ranges.count, other.ranges[k].lowerBound < range.upperBound {
                if other.ranges[k].lowerBound > start { result.append(start..<other.ranges[k].lowerBound) }
                start = max(start, other.ranges[k].upperBound)
                k += 1
            }
            if start < range.upperBound { result.append(start..<range.upperBound) }
        }
        return TimeRanges(disjoint: result)
    }
}
