// SPDX-License-Identifier: MIT

/// A trace run again: its streams, launches and waits with other durations.
public struct Replay: Sendable {
    /// Where the time from the first start to the last end went, along the chain of what waited for what.
    public struct CriticalPart: Sendable, Encodable {
        /// A class of kernels, or `launches and host`, or `delays`.
        public var name: String
        /// Nanoseconds, and part of the chain.
        public var time: Int64
        public var fraction: Double
    }

    /// What each operation waits for.
    let graph: ReplayGraph
    let trace: Trace
    /// Operations and launches by their time; launches are −1 − index.
    private let order: [Int]

    /// Finds out what the operations of `trace` wait for.
    public init(_ trace: Trace) {
        self.trace = trace
        let graph = ReplayGraph(trace)
        self.graph = graph
        let hosts = graph.hosts.indices.map { (trace.calls[Int(graph.hosts[$0].call)].start, 0, -1 - $0) }
        let operations = trace.operations.indices.map { (trace.operations[$0].start, 1, $0) }
        order = (hosts + operations).sorted { a, b in
            a.0 != b.0 ? a.0 < b.0 : a.1 != b.1 ? a.1 < b.1 : a.1 == 0 ? a.2 > b.2 : a.2 < b.2
        }.map(\.2)
    }

    /// Waits of streams for each other: by a call that waits for an event, and by their times alone.
    public var waitCounts: (called: Int, inferred: Int) { (graph.calledWaits, graph.inferredWaits) }

    /// Nanoseconds before starts that nothing in the trace explains, summed; they stay what they are.
    public var unexplained: Int64 { graph.residual.reduce(0, &+) }

    /// What a run gave.
    public struct Outcome: Sendable {
        /// The trace with its new times.
        public var trace: Trace
        /// Longest first.
        public var critical: [CriticalPart]
    }

    /// Runs with the given durations, in nanoseconds.
    public func run(duration: (Trace.Operation) -> Int64) -> Outcome {
        var start = [Int64](repeating: 0, count: trace.operations.count)
        var end = start
        var hostTime = [Int64](repeating: 0, count: graph.hosts.count)
        /// What decided: an operation, or −1 − launch, or nil for the first.
        var cause = [Int?](repeating: nil, count: trace.operations.count)
        var hostCause = [Int?](repeating: nil, count: graph.hosts.count)
        for item in order {
            if item < 0 {
                let place = -1 - item
                let host = graph.hosts[place]
                hostTime[place] = place == 0 ? trace.calls[Int(host.call)].start : hostTime[place - 1] + host.cost
                hostCause[place] = place == 0 ? nil : -1 - (place - 1)
                if let wait = host.wait, end[Int(wait.operation)] + wait.delay > hostTime[place] {
                    hostTime[place] = end[Int(wait.operation)] + wait.delay
                    hostCause[place] = Int(wait.operation)
                }
                continue
            }
            var time = Int64.min
            if graph.launch[item] >= 0 {
                time = hostTime[Int(graph.launch[item])] + graph.launchDelay[item]
                cause[item] = -1 - Int(graph.launch[item])
            }
            for edge in graph.edges[item] where end[Int(edge.operation)] + edge.delay > time {
                time = end[Int(edge.operation)] + edge.delay
                cause[item] = Int(edge.operation)
            }
            start[item] = (time == .min ? trace.operations[item].start : time) + graph.residual[item]
            end[item] = start[item] + max(0, duration(trace.operations[item]))
        }
        var result = trace
        for index in start.indices {
            result.operations[index].start = start[index]
            result.operations[index].duration = end[index] - start[index]
        }
        let critical = critical(start, end, hostTime, cause, hostCause)
        result.operations.sort { ($0.start, $0.stream, $0.duration) < ($1.start, $1.stream, $1.duration) }
        return Outcome(trace: result, critical: critical)
    }

    /// Follows the causes back from the last end.
    private func critical(
        _ start: [Int64], _ end: [Int64], _ hostTime: [Int64], _ cause: [Int?], _ hostCause: [Int?]
    ) -> [CriticalPart] {
        guard let last = end.indices.max(by: { (end[$0], $0) < (end[$1], $1) }) else { return [] }
        var sums: [String: Int64] = [:]
        var item: Int? = last
        var time = end[last]
        let first = start.min() ?? 0
        while let current = item, time > first {
            let (begin, next): (Int64, Int?) =
                current >= 0 ? (start[current], cause[current]) : (hostTime[-1 - current], hostCause[-1 - current])
            let name = current >= 0 ? trace.operations[current].kernelClass.title : "launches and host"
            sums[name, default: 0] += max(0, time - max(first, begin))
            time = min(time, max(first, begin))
            // From the cause's end, or from a launch, to this start.
            if let next {
                let end = next >= 0 ? end[next] : hostTime[-1 - next]
                let gap = max(0, time - max(first, end))
                let name = next >= 0 && current >= 0 ? "delays" : "launches and host"
                sums[name, default: 0] += gap
                time -= gap
            }
            item = next
        }
        let total = sums.values.reduce(0, +)
        return sums.filter { $0.value > 0 }.map { name, time in
            CriticalPart(name: name, time: time, fraction: total == 0 ? 0 : Double(time) / Double(total))
        }.sorted { ($0.time, $1.name) > ($1.time, $0.name) }
    }
}
