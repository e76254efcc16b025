// SPDX-License-Identifier: MIT

#if Server
import Inference
import NIOCore
import Platform
import Server
import Testing

@Suite("Clients that leave, stall or send too much")
struct ConnectionTests {
    private static func bytes(_ body: String, path: String = "/v1/chat/completions") -> [UInt8] {
        TestServer.bytes("POST", path, headers: ["Content-Type: application/json"], body: Array(body.utf8))
    }

    @Test("A client that leaves cancels its requests, streaming or not", arguments: [true, false])
    func disconnect(streams: Bool) async throws {
        var script = FakeEngine.Script()
        script.hangs = true
        let engine = FakeEngine(script)
        try await TestServer.run(engine: engine) { server in
            let body = #"{"stream":\#(streams),"n":2,"messages":[{"role":"user","content":"Hi"}]}"#
            async let client: Void = RawHTTP.hangUp(
                port: server.port, after: streams ? "Hello" : "", Self.bytes(body))
            #expect(await eventually { engine.seen.requests.count == 2 })
            try await client
            #expect(await eventually { engine.seen.cancelled.count == 2 })
            #expect(engine.liveCount == 0)
            #expect(try await server.get("/health").status == 200)
        }
    }

    @Test("A client that leaves a queued stream cancels it before the first token")
    func disconnectWhileQueued() async throws {
        var script = FakeEngine.Script()
        script.queueMilliseconds = 60_000
        let engine = FakeEngine(script)
        var configuration = TestServer.configuration
        configuration.keepAliveMilliseconds = 30
        try await TestServer.run(configuration, engine: engine) { server in
            // The comment lines show that the connection is alive while nothing is generated.
            try await RawHTTP.hangUp(
                port: server.port, after: ": keep-alive", Self.bytes(TestServer.streamedChat))
            #expect(await eventually { engine.liveCount == 0 && engine.seen.cancelled.count == 1 })
        }
    }

    @Test("A connection serves several requests in turn")
    func keepAlive() async throws {
        try await TestServer.run { server in
            let first = Array(
                ("POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
                    + "Content-Length: \(TestServer.chat.utf8.count)\r\n\r\n" + TestServer.chat).utf8)
            let last = TestServer.bytes("GET", "/health", headers: [], body: nil)
            let received = try await RawHTTP.collect(
                port: server.port, [first, last], pauseMilliseconds: 100)
            let text = String(decoding: received, as: UTF8.self)
            #expect(text.matches(of: /HTTP\/1.1 200 OK/).count == 2)
            #expect(text.contains("Hello world") && text.hasSuffix(#"{"status":"ok"}"#))
        }
    }

    @Test("A client that asks whether to go on is told so before it sends the body")
    func expectContinue() async throws {
        try await TestServer.run { server in
            let head =
                "POST /tokenize HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
                + "Content-Type: application/json\r\n"
                + "Expect: 100-continue\r\nContent-Length: 14\r\n\r\n"
            let received = try await RawHTTP.collect(
                port: server.port, [Array(head.utf8), Array(#"{"prompt":"a"}"#.utf8)], pauseMilliseconds: 100)
            let text = String(decoding: received, as: UTF8.self)
            #expect(text.hasPrefix("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n"), "\(text)")
        }
    }

    @Test("A body over the limit is 413, whether its length is announced or not")
    func largeBody() async throws {
        try await TestServer.run { server in
            let size = TestServer.configuration.maximumBodyBytes + 1
            let announced = try await server.request(
                "POST", "/v1/chat/completions", headers: ["Content-Type: application/json"],
                body: Array(repeating: 0x20, count: size))
            #expect(announced.status == 413)
            #expect(try announced.member("error", "code")?.string == "request_too_large")
            let head =
                "POST /tokenize HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
                + "Content-Type: application/json\r\n"
                + "Transfer-Encoding: chunked\r\n\r\n"
            let chunk = Array("8000\r\n".utf8) + Array(repeating: 0x20, count: 0x8000) + Array("\r\n".utf8)
            let chunks = Array(repeating: chunk, count: 9)
            let received = try await RawHTTP.collect(
                port: server.port, [Array(head.utf8)] + chunks + [Array("0\r\n\r\n".utf8)])
            #expect(RawResponse(parsing: received)?.status == 413)
        }
    }

    @Test("Headers that are too large or too many are 431, and nonsense is 400, as JSON")
    func badHeads() async throws {
        try await TestServer.run { server in
            let large = "X-Large: " + String(repeating: "a", count: 64 << 10)
            let many = (0..<200).map { "X-\($0): 1" }
            for headers in [[large], many] {
                let response = try await server.get("/health", headers: headers)
                #expect(response.status == 431)
                #expect(try response.member("error", "code")?.string == "headers_too_large")
            }
            for nonsense in [
                "\u{0}\u{1}\u{2}\r\n\r\n", "GET\r\n\r\n", "GET / HTTP/9\r\n\r\n",
                "POST / HTTP/1.1\r\nA b\r\n\r\n",
            ] {
                let response = try await RawHTTP.exchange(port: server.port, Array(nonsense.utf8))
                #expect(response.status == 400, "\(nonsense)")
                #expect(try response.member("error", "code")?.string == "malformed_http")
            }
            #expect(try await server.get("/health").status == 200)
        }
    }

    @Test("A client that trickles its headers is cut off")
    func slowHeaders() async throws {
        var configuration = TestServer.configuration
        configuration.idleTimeoutMilliseconds = 500
        try await TestServer.run(configuration) { server in
            let head =
                Array(repeating: Array("GET / HTTP/1.1\r\nX-A: ".utf8), count: 1)
                + Array(repeating: Array("a".utf8), count: 100)
            _ = try? await RawHTTP.collect(port: server.port, head, pauseMilliseconds: 50)
            // A busy machine may take longer than the idle limit for this one too.
            #expect(await eventually { (try? await server.get("/health").status) == 200 })
        }
    }

    @Test("A client that trickles its body gets a 408")
    func slowBody() async throws {
        var configuration = TestServer.configuration
        configuration.requestReadTimeoutMilliseconds = 500
        try await TestServer.run(configuration) { server in
            // It stops sending while the server still lingers, so that no reset takes the answer away.
            let body =
                [
                    Array(
                        ("POST /tokenize HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
                            + "Content-Length: 999\r\n\r\n")
                            .utf8)
                ] + Array(repeating: Array(" ".utf8), count: 20)
            let received = try await RawHTTP.collect(port: server.port, body, pauseMilliseconds: 50)
            let response = RawResponse(parsing: received)
            #expect(response?.status == 408)
            #expect(try response?.member("error", "code")?.string == "request_timeout")
            #expect(try await server.get("/health").status == 200)
        }
    }

    @Test("A client that does not read its stream is cut off and its request cancelled")
    func stalledReader() async throws {
        var script = FakeEngine.Script()
        script.pieces = Array(repeating: String(repeating: "word ", count: 20_000), count: 200)
        script.hangs = true
        let engine = FakeEngine(script)
        var configuration = TestServer.configuration
        configuration.writeStallTimeoutMilliseconds = 300
        try await TestServer.run(configuration, engine: engine) { server in
            let channel = try await RawHTTP.connect(port: server.port)
            try await channel.executeThenClose { _, outbound in
                try await outbound.write(ByteBuffer(bytes: Self.bytes(TestServer.streamedChat)))
                #expect(await eventually { engine.seen.cancelled.count == 1 })
            }
        }
    }

    @Test("Connections beyond the bound wait until one closes")
    func maximumConnections() async throws {
        var configuration = TestServer.configuration
        configuration.maximumConnections = 1
        try await TestServer.run(configuration) { server in
            let holder = try await RawHTTP.connect(port: server.port)
            try await holder.executeThenClose { _, _ in
                try await Task.sleep(for: .milliseconds(50))
                await #expect(throws: RawHTTP.TimedOut.self) {
                    try await RawHTTP.exchange(
                        port: server.port, TestServer.bytes("GET", "/health", headers: [], body: nil),
                        timeoutSeconds: 1)
                }
            }
            #expect(try await server.get("/health").status == 200)
        }
    }
}
#endif
