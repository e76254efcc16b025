// SPDX-License-Identifier: MIT

#if Server
import NIOCore
import Platform
import Server
import Testing

// A stop that never comes is what these tests would show; the limit is far beyond any load of the machine.
@Suite("Stopping", .timeLimit(.minutes(10)))
struct DrainTests {
    @Test("While it drains, the server is not ready, takes nothing new, and finishes what runs")
    func finishesRunning() async throws {
        var script = FakeEngine.Script()
        script.isHeld = true
        let engine = FakeEngine(script)
        var configuration = TestServer.configuration
        configuration.drainTimeoutMilliseconds = 60_000
        try await TestServer.run(configuration, engine: engine) { server in
            async let running = server.post("/v1/chat/completions", TestServer.streamedChat)
            async let whole = server.post("/v1/chat/completions", TestServer.chat)
            #expect(await eventually { engine.liveCount == 2 })
            await server.server.stop()
            #expect(await eventually { (try? await server.get("/ready").status) == 503 })
            #expect(try await server.get("/ready").member("status")?.string == "draining")
            #expect(try await server.get("/health").status == 200)
            let refused = try await server.post("/v1/chat/completions", TestServer.chat)
            #expect(refused.status == 503)
            #expect(try refused.member("error", "code")?.string == "shutting_down")
            engine.change { $0.isHeld = false }
            let stream = try await running
            #expect(stream.text.hasSuffix("data: [DONE]\n\n"))
            #expect(stream.text.contains(#""finish_reason":"stop""#))
            #expect(try await whole.status == 200)
        }
        #expect(engine.seen.drained)
        #expect(engine.seen.cancelled.isEmpty)
    }

    @Test("What still runs at the deadline is cut with a last error event, or a 503")
    func cutsAtDeadline() async throws {
        var script = FakeEngine.Script()
        script.hangs = true
        let engine = FakeEngine(script)
        var configuration = TestServer.configuration
        configuration.drainTimeoutMilliseconds = 200
        configuration.flushTimeoutMilliseconds = 60_000
        try await TestServer.run(configuration, engine: engine) { server in
            async let stream = server.post("/v1/chat/completions", TestServer.streamedChat)
            async let whole = server.post("/v1/chat/completions", TestServer.chat)
            #expect(await eventually { engine.liveCount == 2 })
            await server.server.stop()
            let events = try await stream.events()
            #expect(events.last?["error"]?["code"]?.string == "shutting_down")
            let answer = try await whole
            #expect(answer.status == 503)
            #expect(try answer.member("error", "code")?.string == "shutting_down")
        }
        #expect(engine.seen.cancelled.count == 2)
    }

    @Test("A client that does not read cannot keep the server from ending")
    func stalledClient() async throws {
        var script = FakeEngine.Script()
        script.pieces = Array(repeating: String(repeating: "word ", count: 20_000), count: 200)
        script.hangs = true
        let engine = FakeEngine(script)
        var configuration = TestServer.configuration
        configuration.drainTimeoutMilliseconds = 100
        configuration.flushTimeoutMilliseconds = 500
        let (closings, closer) = AsyncStream.makeStream(of: Void.self)
        try await withThrowingTaskGroup(of: Void.self) { group in
            let (ports, port) = AsyncStream.makeStream(of: Int.self)
            group.addTask {
                guard let number = await ports.first(where: { _ in true }) else { return }
                let channel = try await RawHTTP.connect(port: number)
                try await channel.executeThenClose { _, outbound in
                    let bytes = TestServer.bytes(
                        "POST", "/v1/chat/completions", headers: ["Content-Type: application/json"],
                        body: Array(TestServer.streamedChat.utf8))
                    try await outbound.write(ByteBuffer(bytes: bytes))
                    _ = await closings.first { _ in true }
                }
            }
            try await TestServer.run(configuration, engine: engine) { server in
                port.yield(server.port)
                #expect(await eventually { engine.liveCount == 1 })
                try await Task.sleep(for: .milliseconds(300))
            }
            closer.finish()
            try? await group.waitForAll()
        }
    }

    @Test("A port that is taken is an error that names it")
    func portTaken() async throws {
        try await TestServer.run { server in
            var configuration = TestServer.configuration
            configuration.port = server.port
            do {
                try await TestServer.run(configuration) { _ in }
                Issue.record("two servers share port \(server.port)")
            } catch let error as FathomError {
                #expect(error.message.contains("\(server.port)"))
            }
        }
    }
}
#endif
