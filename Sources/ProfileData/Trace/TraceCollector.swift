// SPDX-License-Identifier: MIT

import Platform

/// Turns events into a `Trace`.
struct TraceCollector {
    /// Host spans that are kept while no device work has been seen.
    static let maximumHostSpans = 4 << 20
    /// Begun spans inside each other that wait for their end, on one thread.
    static let maximumOpenSpans = 1024
    /// Times, from the first event's on, and summed durations that are taken, in nanoseconds: 46 days, and what a
    /// replay at a thousandth of the speed makes of them still fits. Events beyond count as untimed.
    private static let maximumTime: Int64 = 4_000_000_000_000_000
    /// The latest start that is taken: 2096 where the clock began in 1970.
    private static let maximumStart: Int64 = 4_000_000_000_000_000_000

    private struct Track: Hashable {
        var process: TraceLabel
        var thread: TraceLabel
    }

    /// A span of a host thread.
    struct HostSpan {
        var name: NameID
        var track: Int32
        var start: Int64
        var end: Int64
    }

    private var trace = Trace()
    private var tracks: [Track: Int32] = [:]
    private var trackList: [Track] = []
    private var isUsed: [Bool] = []
    private var processNames: [TraceLabel: NameID] = [:]
    private var threadNames: [Track: NameID] = [:]
    private var openSpans: [Track: [TraceEvent]] = [:]
    private var hostSpans: [HostSpan] = []
    private var firstStart: Int64?
    private var totalDuration: Int64 = 0
    private var classes: [KernelClass?] = []
    private var usefulCalls: [Bool?] = []

    /// Takes an event.
    mutating func add(_ event: TraceEvent, names: @autoclosure () -> NameTable) {
        trace.eventCount += 1
        switch event.phase {
        case .complete: addComplete(event, names)
        case .begin:
            let track = Track(process: event.process, thread: event.thread)
            if openSpans[track, default: []].count < Self.maximumOpenSpans {
                openSpans[track, default: []].append(event)
            }
        case .end:
            let track = Track(process: event.process, thread: event.thread)
            guard var begun = openSpans[track]?.popLast() else { return }
            if let start = begun.start, let end = event.start, end >= start { begun.duration = end - start }
            addComplete(begun, names)
        case .metadata:
            guard let label = event.arguments.label else { return }
            if event.name == TraceWord.processName.id { processNames[event.process] = label }
            if event.name == TraceWord.threadName.id {
                threadNames[Track(process: event.process, thread: event.thread)] = label
            }
        default: break
        }
    }

    private mutating func addComplete(_ event: TraceEvent, _ names: () -> NameTable) {
        let duration = event.duration ?? 0
        guard let start = event.start, start.magnitude < Self.maximumStart.magnitude,
            (start - (firstStart ?? start)).magnitude < Self.maximumTime.magnitude, duration >= 0,
            duration < Self.maximumTime - totalDuration
        else {
            trace.untimedEventCount += 1
            return
        }
        firstStart = firstStart ?? start
        totalDuration += duration
        switch TraceWord(rawValue: event.category.index) {
        case .kernel, .kernelCapital: addOperation(event, start, duration, isKernel: true, names)
        case .memoryCopy, .memorySet: addOperation(event, start, duration, isKernel: false, names)
        case .runtime, .driver:
            guard isUseful(event.name, names) else { return }
            trace.calls.append(
                Trace.HostCall(
                    name: event.name, thread: event.thread, start: start, duration: duration,
                    correlation: event.arguments.correlation ?? -1))
        case .annotation:
            trace.annotations.append(
                Trace.Annotation(name: event.name, thread: event.thread, start: start, duration: duration))
        default:
            guard !trace.hasDeviceWork, hostSpans.count < Self.maximumHostSpans else { return }
            hostSpans.append(HostSpan(name: event.name, track: track(of: event), start: start, end: start + duration))
        }
    }

    private mutating func addOperation(
        _ event: TraceEvent, _ start: Int64, _ duration: Int64, isKernel: Bool, _ names: () -> NameTable
    ) {
        if !trace.hasDeviceWork {
            trace.hasDeviceWork = true
            hostSpans = []
        }
        let track = track(of: event)
        isUsed[Int(track)] = true
        let arguments = event.arguments
        trace.operations.append(
            Trace.Operation(
                name: event.name, kernelClass: isKernel ? kernelClass(event.name, names) : .other, isKernel: isKernel,
                stream: track, start: start, duration: duration, correlation: arguments.correlation ?? -1,
                grid: arguments.grid ?? .zero, block: arguments.block ?? .zero,
                registersPerThread: Int32(clamping: arguments.registersPerThread ?? 0),
                sharedMemoryBytes: Int32(clamping: arguments.sharedMemoryBytes ?? 0)))
    }

    private mutating func track(of event: TraceEvent) -> Int32 {
        let track = Track(process: event.process, thread: event.thread)
        if let index = tracks[track] { return index }
        let index = Int32(trackList.count)
        tracks[track] = index
        trackList.append(track)
        isUsed.append(false)
        return index
    }

    private mutating func kernelClass(_ name: NameID, _ names: () -> NameTable) -> KernelClass {
        let index = Int(name.index)
        while classes.count <= index { classes.append(nil) }
        if let known = classes[index] { return known }
        let kernelClass = KernelClass(kernelName: names()[name])
        classes[index] = kernelClass
        return kernelClass
    }

    /// Whether a runtime call orders device work; queries and attributes do not.
    private mutating func isUseful(_ name: NameID, _ names: () -> NameTable) -> Bool {
        let index = Int(name.index)
        while usefulCalls.count <= index { usefulCalls.append(nil) }
        if let known = usefulCalls[index] { return known }
        let text = names()[name]
        let useful = ["Launch", "Memcpy", "Memset", "Synchronize", "WaitEvent", "EventRecord"].contains {
            text.contains($0)
        }
        usefulCalls[index] = useful
        return useful
    }

    /// The trace of all events.
    ///
    /// - Throws: `badData` where nothing in it took time.
    consuming func finish(
        names: NameTable, header: TraceReader.Header, path: String
    ) throws(FathomError) -> Trace {
        trace.names = names
        trace.header = header
        if !trace.hasDeviceWork { takeHostSpans() }
        guard !trace.operations.isEmpty else {
            throw FathomError(
                .badData,
                "\(path): \(trace.eventCount) events, and none is a kernel, a copy or a span with start and duration"
            )
        }
        numberStreams()
        trace.operations.sort { ($0.start, $0.stream, $0.duration) < ($1.start, $1.stream, $1.duration) }
        trace.calls.sort { ($0.start, $0.correlation) < ($1.start, $1.correlation) }
        trace.annotations.sort { ($0.start, -$0.duration) < ($1.start, -$1.duration) }
        return trace
    }

    /// Turns spans into operations: pieces of time of the innermost span.
    private mutating func takeHostSpans() {
        hostSpans.sort { ($0.track, $0.start, -$0.end) < ($1.track, $1.start, -$1.end) }
        var open: [HostSpan] = []
        var time: Int64 = 0
        func piece(until end: Int64, _ body: (HostSpan, Range<Int64>) -> Void) {
            if let span = open.last, end > time { body(span, time..<end) }
        }
        var pieces: [(HostSpan, Range<Int64>)] = []
        func close(before start: Int64, track: Int32) {
            while let span = open.last, span.end <= start || span.track != track {
                piece(until: span.end) { pieces.append(($0, $1)) }
                time = max(time, span.end)
                open.removeLast()
            }
        }
        for span in hostSpans where span.end > span.start {
            close(before: span.start, track: span.track)
            piece(until: span.start) { pieces.append(($0, $1)) }
            time = span.start
            open.append(span)
        }
        close(before: .max, track: -1)
        hostSpans = []
        let names = trace.names
        for (span, range) in pieces {
            isUsed[Int(span.track)] = true
            trace.operations.append(
                Trace.Operation(
                    name: span.name, kernelClass: kernelClass(span.name, { names }), isKernel: true,
                    stream: span.track, start: range.lowerBound, duration: range.upperBound - range.lowerBound,
                    correlation: -1, grid: .zero, block: .zero, registersPerThread: 0, sharedMemoryBytes: 0))
        }
    }

    /// Puts the streams that have work in order.
    private mutating func numberStreams() {
        let used = trackList.indices.filter { isUsed[$0] }.sorted { a, b in
            let (a, b) = (trackList[a], trackList[b])
            return a.process == b.process
                ? key(a.thread) < key(b.thread) : key(a.process) < key(b.process)
        }
        var places = [Int32](repeating: 0, count: trackList.count)
        for (place, index) in used.enumerated() { places[index] = Int32(place) }
        for index in trace.operations.indices {
            trace.operations[index].stream = places[Int(trace.operations[index].stream)]
        }
        let processes = Set(used.map { trackList[$0].process }).count
        trace.streams = used.map { index in
            let track = trackList[index]
            let own = threadNames[track].map { trace.names[$0] }
            let word = trace.hasDeviceWork ? "stream" : "thread"
            var title = own.map(Self.trimmed) ?? "\(word) \(text(track.thread))"
            if processes > 1 {
                let process = processNames[track.process].map { trace.names[$0] + " " } ?? ""
                title = "\(process)\(text(track.process)), \(title)"
            }
            return Trace.Stream(process: track.process, thread: track.thread, title: title)
        }
    }

    private static func trimmed(_ text: String) -> String {
        text.split(separator: " ").joined(separator: " ")
    }

    private func text(_ label: TraceLabel) -> String {
        switch label {
        case .number(let number): "\(number)"
        case .name(let name): trace.names[name]
        }
    }

    /// Numbers by value, before names in the order of the alphabet.
    private func key(_ label: TraceLabel) -> (Int64, String) {
        switch label {
        case .number(let number): (number, "")
        case .name(let name): (.max, trace.names[name])
        }
    }
}
