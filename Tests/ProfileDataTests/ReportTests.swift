// SPDX-License-Identifier: MIT

import Platform
import ProfileData
import TestSupport
import Testing

@Suite("ProfileReport")
struct ReportTests {
    private func kernel(_ name: String, stream: Int, from start: Int, for duration: Int) -> String {
        """
        {"ph": "X", "cat": "kernel", "name": "\(name)", "pid": 0, "tid": \(stream), "ts": \(start), "dur": \(duration)}
        """
    }

    @Test("Hidden and exposed are of unions, and gaps have neighbours")
    func overlap() throws {
        let report = ProfileReport(
            try Trace(
                json: "["
                    + [
                        kernel("deep_ep::a::dispatch<1>()", stream: 2, from: 0, for: 30),
                        kernel("deep_ep::a::combine<1>()", stream: 3, from: 20, for: 30),
                        kernel("x::gemm_a<1>()", stream: 1, from: 10, for: 15),
                        kernel("x::gemm_b<1>()", stream: 1, from: 40, for: 30),
                    ].joined(separator: ",")))
        #expect(report.span == 70_000 && report.active == 70_000 && report.computeIdle == 25_000)
        #expect(report.communication.total == 50_000 && report.communication.hidden == 25_000)
        #expect(report.communication.gaps.map(\.duration) == [15_000, 10_000])
        #expect(report.communication.gaps.first?.before == "x::gemm_a")
        #expect(report.communication.gaps.first?.after == "x::gemm_b")
        #expect(report.communication.gaps.last?.before == "")
        #expect(report.streams.map(\.busy) == [45_000, 30_000, 30_000])
        #expect(report.streams.map(\.shared) == [25_000, 20_000, 20_000])
        #expect(report.phases == nil)
    }

    @Test("Low-latency transports on one stream are paired: send, computation, wait")
    func lowLatency() throws {
        let report = ProfileReport(
            try Trace(
                json: "["
                    + [
                        kernel("ep::dispatch_ll<1>()", stream: 7, from: 0, for: 10),
                        kernel("x::gemm<1>()", stream: 7, from: 10, for: 40),
                        kernel("ep::dispatch_ll<1>()", stream: 7, from: 50, for: 25),
                        kernel("ep::dispatch_ll<1>()", stream: 7, from: 80, for: 10),
                    ].joined(separator: ",")))
        let pair = try #require(report.sendWaitPairs.first)
        #expect(pair.count == 1 && pair.sending == 10_000 && pair.computedBetween == 40_000 && pair.waiting == 25_000)
    }

    @Test("Without device work a span owns the time that no span inside it has")
    func hostSpans() throws {
        let trace = try Trace(
            json: """
                [{"ph": "B", "name": "a", "pid": 1, "tid": 1, "ts": 0},
                 {"ph": "B", "name": "b", "pid": 1, "tid": 1, "ts": 10},
                 {"ph": "E", "pid": 1, "tid": 1, "ts": 15}, {"ph": "E", "pid": 1, "tid": 1, "ts": 30},
                 {"ph": "X", "name": "c", "pid": 1, "tid": 2, "ts": 5, "dur": 7},
                 {"ph": "E", "pid": 1, "tid": 9, "ts": 1},
                 {"ph": "M", "name": "thread_name", "pid": 1, "tid": 2, "args": {"name": "worker 2"}},
                 {"ph": "X", "name": "c", "pid": 1, "tid": 2, "ts": "x"},
                 {"ph": "B", "name": "d", "pid": 1, "tid": 1, "ts": 50}
                """)
        let report = ProfileReport(trace)
        #expect(report.streams.map(\.title) == ["thread 1", "worker 2"])
        #expect(report.kernels.map(\.name) == ["a", "c", "b"])
        #expect(report.kernels.map(\.total) == [25_000, 7000, 5000])
        #expect(trace.untimedEventCount == 1 && !trace.hasDeviceWork)
    }

    @Test("Times beyond all reason are counted and left out, so sums cannot overflow")
    func extremes() throws {
        let times = ["9223372036854775", "-9223372036854775", "4000000000000000", "1e14", "0", "3000000000000"]
        let events = times.flatMap { start in
            times.map { #"{"ph": "X", "cat": "kernel", "name": "gemm", "tid": 1, "ts": \#(start), "dur": \#($0)}"# }
        }
        let trace = try Trace(json: "[" + (events + events).joined(separator: ",") + "]")
        #expect(trace.untimedEventCount > 20 && trace.untimedEventCount < trace.eventCount)
        #expect(ProfileReport(trace).span >= 0)
        var question = WhatIf()
        question.speedups = [.denseGemm: 0.001]
        _ = try question.answer(trace)
        _ = Timeline(trace, title: "x").svg()
        _ = Timeline(trace, title: "x").html()
    }

    @Test("A trace in which nothing takes time is an error that says so")
    func empty() {
        expectFailure(.badData, naming: ["trace.json", "none is a kernel"]) { () throws(FathomError) in
            do { _ = try Trace(json: #"[{"ph": "i", "ts": 1}]"#) } catch let error as FathomError { throw error } catch
            {}
        }
    }

    @Test("Damaged gzip is an error, missing files and folders are too")
    func files() throws {
        expectFailure(.missingInput, naming: ["/nowhere/t.json"]) { () throws(FathomError) in
            _ = try Trace(path: "/nowhere/t.json")
        }
        expectFailure(.missingInput, naming: ["folder"]) { () throws(FathomError) in _ = try Trace(path: "/tmp") }
        try withTemporaryFolder { folder in
            let path = FilePaths.join(folder, "t.json.gz")
            try AtomicFileWriter.write([0x1F, 0x8B, 8, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9] as [UInt8], path: path)
            expectFailure(.badData, naming: ["gzip", path]) { () throws(FathomError) in _ = try Trace(path: path) }
        }
    }

    @Test("A cut gzip stream is an error, not half a trace", .enabled(if: TrainTrace.isThere))
    func cut() throws {
        try withTemporaryFolder { folder in
            let path = FilePaths.join(folder, "t.json.gz")
            try AtomicFileWriter.write(Array(try MappedFile.read(path: TrainTrace.path).prefix(100_000)), path: path)
            expectFailure(.badData, naming: ["cut"]) { () throws(FathomError) in _ = try Trace(path: path) }
        }
    }
}
