// SPDX-License-Identifier: MIT

import Platform
import ProfileData
import TestSupport
import Testing

@Suite("TraceReader")
struct ReaderTests {
    /// The events of `text`, read through a window of `windowBytes`.
    private func events(
        _ text: String, windowBytes: Int = 1 << 20
    ) throws -> (events: [TraceEvent], names: NameTable, header: TraceReader.Header) {
        try withTemporaryFolder { folder in
            let path = FilePaths.join(folder, "trace.json")
            try AtomicFileWriter.write(text, path: path)
            var reader = try TraceReader(path: path, windowBytes: windowBytes)
            var events: [TraceEvent] = []
            var event = TraceEvent()
            while try reader.next(&event) { events.append(event) }
            return (events, reader.names, reader.header)
        }
    }

    private static let document = """
        {"schemaVersion": 1, "displayTimeUnit": "ms",
         "deviceProperties": [{"id": 0, "name": "H", "numSms": 132}, {"id": 1, "name": "H", "numSms": 132}],
         "distributedInfo": {"backend": "nccl", "rank": 3, "world_size": 64},
         "traceEvents": [
          {"ph": "X", "cat": "kernel", "name": "k<1>", "pid": 0, "tid": 7, "ts": 1740461679470692.125, "dur": 52,
           "args": {"grid": [4096, 1, 2], "block": [128, 1, 1], "correlation": 44479, "stream": 7,
             "registers per thread": 31, "shared memory": 1024, "blocks per SM": 31.03, "x": {"y": [null, true]}}},
          {"ph": "i", "s": "g", "pid": "Traces", "tid": "T", "ts": "12.5", "name": "a\\"b\\u00e9\\ud83d\\ude00\\n"},
          {"ph": "M", "name": "thread_name", "pid": 0, "tid": 7, "args": {"name": "stream 7", "sort_index": 9}}
         ], "traceName": "t.json"}
        """

    @Test("Events, header and names are read as they are written, through any window")
    func document() throws {
        for windowBytes in [16, 17, 31, 64, 100, 1 << 20] {
            let (events, names, header) = try events(Self.document, windowBytes: windowBytes)
            try #require(events.count == 3)
            #expect(events[0].phase == .complete && names[events[0].name] == "k<1>")
            #expect(names[events[0].category] == "kernel")
            #expect(events[0].start == 1_740_461_679_470_692_125 && events[0].duration == 52_000)
            #expect(events[0].thread == .number(7))
            #expect(events[0].arguments.grid == SIMD4(4096, 1, 2, 0) && events[0].arguments.correlation == 44479)
            #expect(events[0].arguments.registersPerThread == 31 && events[0].arguments.sharedMemoryBytes == 1024)
            #expect(events[1].start == 12_500 && names[events[1].name] == "a\"b\u{E9}\u{1F600}\n")
            #expect(events[1].duration == nil)
            #expect(events[2].arguments.label.map { names[$0] } == "stream 7" && events[2].arguments.sortIndex == 9)
            #expect(header.traceName == "t.json" && header.rank == 3 && header.worldSize == 64)
            #expect(header.devices == ["H", "H"] && header.multiprocessors == 132)
        }
    }

    @Test(
        "What exporters write beyond the standard is read",
        arguments: [
            ("[]", 0), ("[", 0), (" [\n", 0), (#"[{"ph": "X", "ts": 1}"#, 1), (#"[{"ph": "X", "ts": 1},"#, 1),
            (#"[{"ph": "X", "ts": 1},]"#, 1), (#"[{"ph": "X", "ts": 1,},, ]"#, 1),
            (#"{"traceEvents": [{"ph": "X"}, {"ph": "B"}"#, 2), (#"{"traceEvents": [{"ph": "X"}]"#, 1),
            (#"{"traceEvents": [{"ph": "X", "ts": NaN, "dur": -Infinity, "args": {"a": NaN}}]}"#, 1),
            (#"{"a": 1, "traceEvents": [], "traceEvents": [{"ph": "E"}], "b": {"c": []}}"#, 1),
            ("[{\"ph\": \"X\", \"name\": \"a\tb\"}]", 1), ("\u{FEFF}[{\"ph\": \"X\"}]", 1),
            (#"[{"ph": "s", "id": "0x1f"}, {"ph": "t", "id": 31}, {"ph": "C", "args": {"n": 1}}, {}]"#, 4),
            (#"[{"args": [1], "pid": null, "tid": {"x": 1}, "name": 3}]"#, 1), (#"{"otherData": "x"}"#, 0),
        ])
    func tolerance(text: String, count: Int) throws {
        for windowBytes in [16, 1 << 20] {
            #expect(try events(text, windowBytes: windowBytes).events.count == count, "\(text)")
        }
    }

    @Test(
        "Anything else is an error that names the byte",
        arguments: [
            ("", "byte 0"), ("   ", "byte 3"), ("x", "byte 0"), (#"[{"ph": "X""#, "byte"), ("[1]", "byte 1"),
            (#"[{"ph": "XX"}]"#, "byte 12"), (#"[{"ph" "X"}]"#, "byte 7"), ("[] x", "byte 3"),
            (#"{"traceEvents": []} {}"#, "byte 20"), (#"[{"a": }]"#, "byte 7"), (#"[{a: 1}]"#, "byte 2"),
            (#"{"traceEvents": [{"ph": "X", "name": "cut"#, "byte 17"),
            ("[{\"a\": " + String(repeating: "[", count: 100) + "]", "64 levels"),
        ])
    func errors(text: String, words: String) throws {
        expectFailure(.badData, naming: ["trace.json", words]) { () throws(FathomError) in
            do { _ = try events(text) } catch let error as FathomError { throw error } catch {}
        }
    }

    @Test("Numbers are exact to the nanosecond and never overflow")
    func numbers() throws {
        let cases: [(String, Int64?)] = [
            ("1740461679470692.123", 1_740_461_679_470_692_123), ("-5", -5000), ("0.0005", 0), ("1e3", 1_000_000),
            ("1.5E0", 1500), ("\"7.25\"", 7250), ("9223372036854775807", nil), ("1e300", nil), ("true", nil),
            ("\"x\"", nil), ("123456789012345678", nil), ("1234567890123456", 1_234_567_890_123_456_000), ("-", nil),
        ]
        for (text, value) in cases {
            let result = try events("[{\"ts\": \(text)}]").events[0].start
            #expect(result == value, "\(text)")
        }
    }

    @Test("Damaged traces end in an error or in events, never in a crash")
    func fuzz() throws {
        var mutator = Mutator(seed: 11)
        let bytes = Array(Self.document.utf8)
        try withTemporaryFolder { folder in
            let path = FilePaths.join(folder, "trace.json")
            for round in 0..<500 {
                try AtomicFileWriter.write(mutator.mutate(bytes), path: path)
                do throws(FathomError) {
                    var reader = try TraceReader(path: path, windowBytes: round % 2 == 0 ? 16 : 1 << 12)
                    var event = TraceEvent()
                    var count = 0
                    while try reader.next(&event) { count += 1 }
                    #expect(count <= 10)
                } catch {
                    #expect(error.code == .badData && error.message.contains("byte"), "\(error)")
                }
            }
        }
    }
}
