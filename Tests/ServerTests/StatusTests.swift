// SPDX-License-Identifier: MIT

#if Server
import Glibc
import Platform
import Server
import Synchronization
import Telemetry
import Testing

@Suite("Probes, models, tokens, metrics and the page")
struct StatusTests {
    /// Holds a loader until it is opened.
    private final class Gate: Sendable {
        private let isOpen = Atomic(false)
        func open() { isOpen.store(true, ordering: .releasing) }
        func wait() {
            while !isOpen.load(ordering: .acquiring) { usleep(1000) }
        }
    }

    @Test("While the model loads, the server is alive, not ready, and answers 503 with Retry-After")
    func loading() async throws {
        let gate = Gate()
        let loader: @Sendable () throws -> ServedModel = {
            gate.wait()
            return try TestServer.model(FakeEngine())
        }
        try await TestServer.run(loader: loader, waitsUntilReady: false) { server in
            defer { gate.open() }
            #expect(try await server.get("/health").status == 200)
            let ready = try await server.get("/ready")
            #expect(ready.status == 503)
            #expect(try ready.member("status")?.string == "loading")
            let chat = try await server.post("/v1/chat/completions", TestServer.chat)
            #expect(chat.status == 503)
            #expect(chat.headers["retry-after"] == "2")
            #expect(try chat.member("error", "code")?.string == "model_loading")
            #expect(try await server.get("/v1/models").status == 503)
            gate.open()
            try await server.waitUntilReady()
            #expect(try await server.post("/v1/chat/completions", TestServer.chat).status == 200)
        }
    }

    @Test("A loader that fails ends the server with its error")
    func loaderFails() async throws {
        await #expect(throws: FathomError.self) {
            try await TestServer.run(
                loader: { throw FathomError(.missingInput, "no such folder") }, waitsUntilReady: false
            ) { server in
                _ = try? await server.waitUntilReady()
            }
        }
    }

    @Test("A stop while loading ends the server at once", .timeLimit(.minutes(10)))
    func stopWhileLoading() async throws {
        let gate = Gate()
        let loader: @Sendable () throws -> ServedModel = {
            gate.wait()
            return try TestServer.model(FakeEngine())
        }
        // Returns although the loader still waits at the gate; otherwise the time limit ends the test.
        try await TestServer.run(loader: loader, waitsUntilReady: false) { _ in }
        gate.open()
    }

    @Test("Models are listed and found by name")
    func models() async throws {
        var configuration = TestServer.configuration
        configuration.modelName = "deepseek-ai/Tiny"
        try await TestServer.run(configuration) { server in
            let list = try await server.get("/v1/models")
            #expect(try list.member("data", "0", "id")?.string == "deepseek-ai/Tiny")
            #expect(try list.member("data", "0", "max_model_len")?.integer == TestServer.contextLength)
            #expect(try await server.get("/v1/models/deepseek-ai/Tiny").status == 200)
            #expect(try await server.get("/v1/models/deepseek-ai%2FTiny").status == 200)
            let unknown = try await server.get("/v1/models/other")
            #expect(unknown.status == 404)
            #expect(try unknown.member("error", "code")?.string == "model_not_found")
        }
    }

    @Test("Tokenize and detokenize are inverse")
    func tokens() async throws {
        try await TestServer.run { server in
            let response = try await server.post(
                "/tokenize", #"{"prompt":"What is 2 + 2?","return_token_strs":true}"#)
            #expect(response.status == 200)
            let tokens = try #require(try response.member("tokens"))
            guard case .array(let ids) = tokens else { return }
            #expect(try response.member("count")?.integer == ids.count)
            #expect(try response.member("max_model_len")?.integer == TestServer.contextLength)
            guard case .array(let strings) = try response.member("token_strs") else {
                Issue.record("no token_strs in \(response.text)")
                return
            }
            #expect(strings.compactMap(\.string).joined() == "What is 2 + 2?")
            let body = JSONValue.object(["tokens": tokens]).serialized(compact: true)
            #expect(try await server.post("/detokenize", body).member("prompt")?.string == "What is 2 + 2?")
            let chat = try await server.post("/tokenize", #"{"messages":[{"role":"user","content":"Hi"}]}"#)
            #expect(try chat.member("count")?.integer ?? 0 > 1)
        }
    }

    @Test("Metrics are Prometheus text with routes as labels, never paths")
    func metrics() async throws {
        try await TestServer.run { server in
            _ = try await server.get("/somewhere/else")
            _ = try await server.post("/v1/chat/completions", TestServer.chat)
            let expected =
                #"http_server_requests_total{method="POST",route="/v1/chat/completions",status="200"} 1"#
            #expect(await eventually { server.metrics.prometheusText().contains(expected) })
            let response = try await server.get("/metrics")
            #expect(response.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8")
            #expect(response.text.contains(#"vllm:request_params_n_count{model_name="fathom-tiny"} 1"#))
            #expect(response.text.contains("# TYPE http_server_request_duration_seconds histogram"))
            #expect(!response.text.contains("somewhere"))
        }
    }

    @Test("The page is one file under a policy that lets it load nothing else")
    func page() async throws {
        try await TestServer.run { server in
            let response = try await server.get("/")
            #expect(response.status == 200)
            #expect(response.headers["content-type"] == "text/html; charset=utf-8")
            #expect(response.headers["cache-control"] == "no-store")
            let policy = try #require(response.headers["content-security-policy"])
            #expect(policy.contains("default-src 'none'") && policy.contains("connect-src 'self'"))
            #expect(!policy.contains("http"))
            #expect(response.text.hasPrefix("<!doctype html>"))
            #expect(response.text.matches(of: /(src|href)="(?!data:)/).isEmpty)
            #expect(!response.text.contains("innerHTML"))
        }
    }

    @Test("HEAD is GET without the body")
    func head() async throws {
        try await TestServer.run { server in
            for path in ["/", "/health", "/v1/models"] {
                let response = try await server.request("HEAD", path)
                #expect(response.status == 200)
                #expect(response.body.isEmpty)
                #expect(Int(response.headers["content-length"] ?? "") ?? 0 > 0)
            }
        }
    }

    @Test("Request ids are taken over where they are harmless, and made up otherwise")
    func requestIDs() async throws {
        try await TestServer.run { server in
            #expect(
                try await server.get("/health", headers: ["X-Request-Id: a.B-1_"]).headers["x-request-id"]
                    == "a.B-1_")
            for id in ["a b", "\"", String(repeating: "a", count: 129), ""] {
                let made = try #require(
                    try await server.get("/health", headers: ["X-Request-Id: \(id)"]).headers["x-request-id"])
                #expect(made.count == 32 && made != id)
            }
            let chat = try await server.post(
                "/v1/chat/completions", TestServer.chat, headers: ["X-Request-Id: me"])
            #expect(try chat.member("id")?.string == "chatcmpl-me")
        }
    }
}
#endif
