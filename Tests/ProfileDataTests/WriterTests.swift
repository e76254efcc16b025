// SPDX-License-Identifier: MIT

import Platform
import ProfileData
import Telemetry
import TestSupport
import Testing

@Suite("ChromeTraceWriter")
struct WriterTests {
    private func write(_ path: String) throws {
        var writer = try ChromeTraceWriter(path: path, traceName: "a \"trace\"")
        try writer.nameProcess(0, "GPU 0")
        try writer.nameThread(7, of: 0, "stream 7")
        try writer.complete("layer", category: "user_annotation", process: 9, thread: 9, start: 0, duration: 9_000_001)
        try writer.complete("aten::mm", category: "cpu_op", process: 9, thread: 9, start: 500, duration: 7000)
        for index in 0..<3 {
            let time = Int64(index) * 1000 + 1
            try writer.launch(correlation: index, process: 9, thread: 9, start: time, duration: 10)
            try writer.kernel(
                .init(
                    index == 1 ? "deep_ep::x::dispatch<1>(int)" : "k\n<\(index)>", stream: 7 + index % 2,
                    start: time + 5000, duration: 2500, correlation: index, grid: (112, 2, 1), block: (384, 1, 1),
                    registersPerThread: 168, sharedMemoryBytes: 1 << 16))
            try writer.flow(.end, id: index, category: "ac2g", process: 0, thread: 7 + index % 2, time: time + 5000)
        }
        try writer.instant("mark", process: 9, thread: 9, time: -1500)
        try writer.counter("tokens", process: 9, time: 10, values: [("waiting", .integer(3))])
        try writer.finish()
    }

    @Test("What is written is read again, to the nanosecond")
    func roundTrip() throws {
        try withTemporaryFolder { folder in
            let path = FilePaths.join(folder, "t.json")
            try write(path)
            let trace = try Trace(path: path)
            #expect(trace.header.traceName == "a \"trace\"")
            #expect(trace.streams.map(\.title) == ["stream 7", "stream 8"])
            #expect(trace.operations.map(\.start) == [5001, 6001, 7001])
            #expect(trace.operations.map(\.duration) == [2500, 2500, 2500])
            #expect(trace.operations.first?.grid == SIMD4(112, 2, 1, 0))
            #expect(trace.operations.first?.registersPerThread == 168)
            #expect(trace.operations.first.map { trace.names[$0.name] } == "k\n<0>")
            #expect(trace.operations.map(\.kernelClass) == [.other, .dispatch, .other])
            #expect(trace.annotations.first?.duration == 9_000_001)
            #expect(ProfileReport(trace).phases?.phases.map(\.name) == ["layer"])
        }
    }

    @Test("The file keeps the format's rules: phases with their members, arrows with both ends inside events")
    func structure() throws {
        try withTemporaryFolder { folder in
            let path = FilePaths.join(folder, "t.json")
            try write(path)
            let document = try JSONValue(parsing: try MappedFile.read(path: path), sourcePath: path)
            guard case .object(let members) = document, case .array(let events)? = members["traceEvents"] else {
                Issue.record("no events")
                return
            }
            var arrows: [String: [JSONValue]] = [:]
            for case .object(let event) in events {
                guard case .string(let phase)? = event["ph"] else { continue }
                #expect(event["name"] != nil && event["pid"] != nil && event["tid"] != nil && event["ts"] != nil)
                switch phase {
                case "X": #expect(event["dur"] != nil && event["cat"] != nil)
                case "M", "C": #expect(event["args"] != nil)
                case "i": #expect(event["s"] != nil)
                case "s", "f":
                    #expect((event["bp"] == .string("e")) == (phase == "f"))
                    if let id = event["id"] { arrows[phase, default: []].append(id) }
                default: Issue.record("phase \(phase)")
                }
            }
            #expect(arrows["s"]?.count == 3 && arrows["s"] == arrows["f"])
        }
    }
}
