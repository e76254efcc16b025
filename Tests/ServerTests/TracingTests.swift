// SPDX-License-Identifier: MIT

#if Server
import InMemoryTracing
import Instrumentation
import Server
import TestSupport
import Testing
import Tracing

/// The tracer of this process: one can be bootstrapped once.
private let tracer: InMemoryTracer = {
    let tracer = InMemoryTracer()
    InstrumentationSystem.bootstrap(tracer)
    return tracer
}()

@Suite("Requests as spans of swift-distributed-tracing", .serialized, .timeLimit(.minutes(2)))
struct TracingTests {
    /// The finished spans whose caller named `trace`; those of other suites' requests name none.
    private static func spans(of trace: String, count: Int) async throws -> [FinishedInMemorySpan] {
        for _ in 0..<1000 {
            let found = tracer.finishedSpans.filter { $0.traceID == trace }
            if found.count >= count { return found }
            try await Task.sleep(for: .milliseconds(10))
        }
        return tracer.finishedSpans.filter { $0.traceID == trace }
    }

    @Test("a request is a server span, the child of its caller's, with route and status")
    func requests() async throws {
        _ = tracer
        // As the tracer's own propagation spells what W3C's calls traceparent.
        let caller = [
            "\(InMemoryTracer.traceIDKey): caller-1", "\(InMemoryTracer.spanIDKey): span-7",
        ]
        try await TestServer.run { server in
            let answer = try await server.post("/v1/chat/completions", TestServer.chat, headers: caller)
            let none = try await server.get("/nowhere", headers: caller)
            #expect(answer.status == 200 && none.status == 404)
        }
        let spans = try await Self.spans(of: "caller-1", count: 2)
        #expect(spans.count == 2 && spans.allSatisfy { $0.parentSpanID == "span-7" && $0.kind == .server })
        let statuses = spans.map {
            "\($0.operationName) \($0.attributes["http.response.status_code"].map { "\($0)" } ?? "")"
        }
        #expect(statuses.contains { $0.contains("/v1/chat/completions") && $0.contains("200") }, "\(statuses)")
        #expect(statuses.contains { $0.contains("404") }, "\(statuses)")
        let methods = spans.map { $0.attributes["http.request.method"].map { "\($0)" } ?? "" }
        #expect(methods.contains { $0.contains("POST") } && methods.contains { $0.contains("GET") }, "\(methods)")
    }
}
#endif
