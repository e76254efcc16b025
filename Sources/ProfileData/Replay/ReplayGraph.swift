// SPDX-License-Identifier: MIT

/// What each operation of a trace waits for, so that the trace can run again with other durations.
///
/// An operation starts after the one before it on its stream, after the call that launched it, and after operations on
/// other streams that events make it wait for. A trace names the calls that wait for events, but neither stream nor
/// event: the waiting stream is taken to be that of the next launch, and what it waits for is the last operation that
/// another stream finished before, among those launched before the call. Host calls follow each other; a pause that
/// ends when an operation ends is a wait for it.
///
/// What no dependency explains stays as a constant delay, so the unchanged trace keeps its times to the nanosecond.
struct ReplayGraph: Sendable {
    /// Delays up to this long are the device's own: between kernels, from an event, from a launch.
    static let deviceDelay: Int64 = 10_000
    /// A pause of the host at least this long may be a wait.
    static let hostPause: Int64 = 200_000
    /// A wait ends at most this long after what it waits for.
    static let hostReaction: Int64 = 100_000

    /// Something earlier that something waits for, and how long after it at the earliest.
    struct Edge: Sendable {
        var operation: Int32
        var delay: Int64
    }

    /// A call that launches operations.
    struct Host: Sendable {
        var call: Int32
        /// From the call before.
        var cost: Int64
        var wait: Edge?
    }

    /// In order of time.
    var hosts: [Host] = []
    /// For each operation its place in `hosts`; −1 without.
    var launch: [Int32]
    var launchDelay: [Int64]
    /// The one before on the stream, and others.
    var edges: [[Edge]]
    /// What no edge explains, in nanoseconds.
    var residual: [Int64]
    /// Waits of streams for each other that were found, by a call or by their times alone.
    var calledWaits = 0
    var inferredWaits = 0

    init(_ trace: Trace) {
        let operations = trace.operations
        launch = [Int32](repeating: -1, count: operations.count)
        launchDelay = [Int64](repeating: 0, count: operations.count)
        edges = [[Edge]](repeating: [], count: operations.count)
        residual = [Int64](repeating: 0, count: operations.count)
        addLaunches(trace)
        addStreamOrder(trace)
        addCalledWaits(trace)
        addInferredWaits(trace)
        for index in operations.indices { residual[index] = max(0, operations[index].start - earliest(index, trace)) }
    }

    /// When the edges let an operation start, on the trace's own times.
    private func earliest(_ index: Int, _ trace: Trace) -> Int64 {
        var time = Int64.min
        if launch[index] >= 0 {
            time = trace.calls[Int(hosts[Int(launch[index])].call)].start + launchDelay[index]
        }
        for edge in edges[index] { time = max(time, trace.operations[Int(edge.operation)].end + edge.delay) }
        return time == .min ? trace.operations[index].start : time
    }

    private static func delay(from end: Int64, to start: Int64) -> Int64 { min(start - end, deviceDelay) }

    private mutating func addStreamOrder(_ trace: Trace) {
        var last = [Int32](repeating: -1, count: trace.streams.count)
        for (index, operation) in trace.operations.enumerated() {
            let before = last[Int(operation.stream)]
            if before >= 0 {
                let delay = Self.delay(from: trace.operations[Int(before)].end, to: operation.start)
                edges[index].append(Edge(operation: before, delay: delay))
            }
            last[Int(operation.stream)] = Int32(index)
        }
    }

    // MARK: Host

    private mutating func addLaunches(_ trace: Trace) {
        let calls = trace.launchOfOperations
        var places: [Int32: Int32] = [:]
        for call in Set(calls.filter { $0 >= 0 }).sorted() {
            places[call] = Int32(hosts.count)
            let before = hosts.last.map { trace.calls[Int($0.call)].start }
            hosts.append(Host(call: call, cost: before.map { trace.calls[Int(call)].start - $0 } ?? 0))
        }
        for (index, call) in calls.enumerated() where call >= 0 {
            let lead = trace.operations[index].start - trace.calls[Int(call)].start
            // A device clock that runs ahead of the host's says nothing about the launch.
            guard lead >= 0, let place = places[call] else { continue }
            launch[index] = place
            launchDelay[index] = min(lead, Self.deviceDelay)
        }
        addHostWaits(trace)
    }

    /// Finds what the host waited for in its pauses.
    private mutating func addHostWaits(_ trace: Trace) {
        let byEnd = trace.operations.indices.sorted {
            (trace.operations[$0].end, $0) < (trace.operations[$1].end, $1)
        }
        for place in hosts.indices.dropFirst() where hosts[place].cost >= Self.hostPause {
            let time = trace.calls[Int(hosts[place].call)].start
            var candidate = byEnd.firstIndexSorted { trace.operations[$0].end > time } - 1
            while candidate >= 0, time - trace.operations[byEnd[candidate]].end <= Self.hostReaction {
                let operation = byEnd[candidate]
                if launch[operation] >= 0, launch[operation] < place {
                    let delay = time - trace.operations[operation].end
                    hosts[place].wait = Edge(operation: Int32(operation), delay: delay)
                    hosts[place].cost = min(hosts[place].cost, Self.hostReaction)
                    break
                }
                candidate -= 1
            }
        }
    }

    // MARK: Other streams

    private mutating func addCalledWaits(_ trace: Trace) {
        guard trace.streams.count > 1 else { return }
        let waits = trace.calls.filter { trace.names[$0.name].contains("WaitEvent") }.map(\.start)
        let launched = launch.indices.filter { launch[$0] >= 0 }.sorted { launch[$0] < launch[$1] }
        let launchTimes = launched.map { trace.calls[Int(hosts[Int(launch[$0])].call)].start }
        let lanes = Self.lanes(trace)
        var waiters: [Int: [Int64]] = [:]
        for time in waits {
            let next = launchTimes.firstIndexSorted { $0 >= time }
            if next < launched.count { waiters[launched[next], default: []].append(time) }
        }
        for (index, times) in waiters.sorted(by: { $0.key < $1.key }) {
            var sources: [Int] = []
            for lane in lanes.indices where lane != Int(trace.operations[index].stream) {
                if let source = source(for: index, in: lanes[lane], launchedBefore: times.max() ?? 0, trace) {
                    sources.append(source)
                }
            }
            sources.sort { (trace.operations[$0].end, $0) > (trace.operations[$1].end, $1) }
            for source in sources.prefix(times.count) {
                addEdge(from: source, to: index, trace)
                calledWaits += 1
            }
        }
    }

    /// Waits that no call explains, but that end when an operation on another stream does.
    private mutating func addInferredWaits(_ trace: Trace) {
        guard trace.streams.count > 1 else { return }
        let lanes = Self.lanes(trace)
        for (index, operation) in trace.operations.enumerated() {
            guard launch[index] >= 0, operation.start - earliest(index, trace) > Self.deviceDelay else { continue }
            let called = trace.calls[Int(hosts[Int(launch[index])].call)].start
            let sources = lanes.indices.filter { $0 != Int(operation.stream) }.compactMap {
                source(for: index, in: lanes[$0], launchedBefore: called, trace)
            }
            guard let last = sources.max(by: { trace.operations[$0].end < trace.operations[$1].end }),
                operation.start - trace.operations[last].end <= Self.deviceDelay
            else { continue }
            addEdge(from: last, to: index, trace)
            inferredWaits += 1
        }
    }

    private mutating func addEdge(from source: Int, to index: Int, _ trace: Trace) {
        let delay = Self.delay(from: trace.operations[source].end, to: trace.operations[index].start)
        edges[index].append(Edge(operation: Int32(source), delay: delay))
    }

    private static func lanes(_ trace: Trace) -> [[Int]] {
        var lanes = [[Int]](repeating: [], count: trace.streams.count)
        for (index, operation) in trace.operations.enumerated() { lanes[Int(operation.stream)].append(index) }
        return lanes
    }

    /// The last operation of `lane` that ended before `index` started, and was launched before a time.
    private func source(for index: Int, in lane: [Int], launchedBefore time: Int64, _ trace: Trace) -> Int? {
        let start = trace.operations[index].start
        var place = lane.firstIndexSorted { trace.operations[$0].start >= start } - 1
        while place >= 0 {
            let candidate = lane[place]
            place -= 1
            guard trace.operations[candidate].end <= start, candidate < index else { continue }
            guard launch[candidate] >= 0 else { return nil }
            if trace.calls[Int(hosts[Int(launch[candidate])].call)].start <= time { return candidate }
        }
        return nil
    }
}
