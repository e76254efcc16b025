// SPDX-License-Identifier: MIT

import Platform
import Telemetry
import TestSupport
import Testing

#if canImport(Glibc)
import Glibc
#endif

extension SpanKind {
    fileprivate static let outer = SpanKind("outer", category: "test", numbers: ["m", "n"])
    fileprivate static let across = SpanKind("across", category: "test", numbers: ["n"], overlaps: true)
    fileprivate static let inner = SpanKind("inner", category: "test")
}

/// One tracer for the process, so one test at a time; tests of other suites may add spans of theirs.
@Suite("Spans", .serialized)
struct SpanTests {
    private func finish(_ body: (JSONValue, Spans.Summary) throws -> Void) throws {
        try withTemporaryFolder { folder in
            let path = FilePaths.join(folder, "t.json")
            let summary = try Spans.finish(path: path, processName: "test \"1\"")
            try body(try JSONValue(parsing: try MappedFile.read(path: path), sourcePath: path), summary)
        }
    }

    private func events(_ document: JSONValue, _ phase: String) -> [[String: JSONValue]] {
        guard case .object(let members) = document, case .array(let events)? = members["traceEvents"] else { return [] }
        return events.compactMap { event in
            if case .object(let members) = event, members["ph"] == .string(phase) { members } else { nil }
        }
    }

    /// The spans of this suite's kinds.
    private func spans(_ document: JSONValue) -> [[String: JSONValue]] {
        events(document, "X").filter { $0["cat"] == .string("test") }
    }

    @Test("Spans nest, carry their numbers, and are written with names of process and thread")
    func nesting() throws {
        Spans.start()
        let start = Spans.begin()
        Spans.measure(.inner) {}
        Spans.end(start, .outer, 7, 1 << 40)
        try finish { document, summary in
            #expect(summary.spanCount >= 2 && summary.threadCount >= 1 && summary.nanosecondsPerSpan > 0)
            let spans = spans(document)
            #expect(spans.compactMap { $0["name"] } == [.string("inner"), .string("outer")])
            #expect(spans.last?["args"] == .object(["m": .integer(7), "n": .integer(Int(Int32.max))]))
            let names = events(document, "M").compactMap { $0["name"] }
            #expect(names.contains(.string("process_name")) && names.contains(.string("thread_name")))
        }
    }

    @Test("Off, nothing is recorded; a span that began before is left out")
    func off() throws {
        let before = Spans.begin()
        #expect(!Spans.isRecording)
        Spans.start()
        Spans.end(before, .outer)
        try finish { document, _ in #expect(spans(document).isEmpty) }
        Spans.measure(.inner) {}
        Spans.start()
        try finish { document, _ in #expect(spans(document).isEmpty) }
    }

    @Test("A thread keeps its last spans and the others are counted")
    func bound() throws {
        Spans.start()
        let kept = 1 << 15
        for index in 0..<kept + 100 { Spans.measure(.outer, index) {} }
        try finish { document, summary in
            #expect(spans(document).count == kept && summary.droppedCount >= 100)
            guard case .object(let arguments)? = spans(document).first?["args"] else {
                Issue.record("no arguments")
                return
            }
            #expect(arguments["m"] == .integer(100))
        }
    }

    @Test("Threads record at once, while another collects")
    func threads() async throws {
        Spans.start()
        await withTaskGroup(of: Void.self) { group in
            for _ in 0..<4 {
                group.addTask { for index in 0..<1000 { Spans.measure(.outer, index) {} } }
            }
        }
        try finish { document, _ in #expect(spans(document).count == 4000) }
    }

    @Test("A file that cannot be written is an error and nothing is left")
    func unwritable() {
        Spans.start()
        expectFailure(.io, naming: ["/nowhere/t.json"]) { () throws(FathomError) in
            _ = try Spans.finish(path: "/nowhere/t.json", processName: "x")
        }
        #expect(!Spans.isRecording)
    }

    @Test("Spans that lie across each other are intervals of their own, each with its number")
    func overlapping() throws {
        Spans.start()
        let (first, second) = (Spans.begin(), Spans.begin())
        Spans.end(first, .across, 1)
        Spans.end(second, .across, 2)
        try finish { document, summary in
            #expect(summary.spanCount >= 2 && spans(document).isEmpty)
            let begins = events(document, "b").filter { $0["cat"] == .string("test") }
            let ends = events(document, "e").filter { $0["cat"] == .string("test") }
            #expect(begins.compactMap { $0["args"] } == [.object(["n": .integer(1)]), .object(["n": .integer(2)])])
            #expect(begins.map { $0["id2"] } == ends.map { $0["id2"] } && begins[0]["id2"] != begins[1]["id2"])
        }
    }

    @Test("What was recorded can be forgotten, and is counted")
    func cancelled() throws {
        Spans.start()
        for _ in 0..<5 { Spans.measure(.inner) {} }
        #expect(Spans.cancel() >= 5 && !Spans.isRecording)
        Spans.start()
        try finish { document, _ in #expect(spans(document).isEmpty) }
    }

    @Test("The file of another process of the same clock is taken over, span by span; one that is none is refused")
    func merging() throws {
        try withTemporaryFolder { folder in
            let (other, whole) = (FilePaths.join(folder, "t.json.rank1"), FilePaths.join(folder, "t.json"))
            Spans.start()
            for _ in 0..<3 { Spans.measure(.inner) {} }
            let own = try Spans.finish(path: other, processName: "rank 1", place: .init(rank: 1))
            Spans.start()
            Spans.measure(.inner) {}
            let summary = try Spans.finish(
                path: whole, processName: "rank 0", place: .init(rank: 0), merging: [other])
            #expect(summary.mergedCount == own.spanCount && own.spanCount >= 3)
            let document = try JSONValue(parsing: try MappedFile.read(path: whole), sourcePath: whole)
            #expect(spans(document).count == 4)
            let names = events(document, "M").filter { $0["name"] == .string("process_name") }
            #expect(names.map { $0["args"] } == ["rank 0", "rank 1"].map { .object(["name": .string($0)]) })
            try AtomicFileWriter.write("{\"traceEvents\":[]}", path: other)
            expectFailure(.badData, naming: [other]) { () throws(FathomError) in
                Spans.start()
                _ = try Spans.finish(path: whole, processName: "rank 0", merging: [other])
            }
        }
    }
}
