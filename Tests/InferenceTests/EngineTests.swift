// SPDX-License-Identifier: MIT

import Dispatch
import Inference
import MetricsTestKit
import Platform
import Testing

@Suite("The engine", .timeLimit(.minutes(10)))
struct EngineTests {
    @Test("frees everything at once when a request is cancelled, even while a step computes it")
    func cancelFrees() async throws {
        let gate = openGate(3)
        let executor = FakeExecutor(gate: gate)
        let engine = makeEngine(executor)
        let stream = try engine.submit(makeRequest("a", [1, 2, 3, 4, 5], count: 50))
        let waiting = try engine.submit(makeRequest("b", [1, 2], count: 5))
        #expect(await eventually { executor.stepCount == 3 && engine.status.kvCacheUsage > 0 })
        engine.cancel("a")
        engine.cancel("b")
        let status = engine.status
        #expect(status.kvCacheUsage == 0 && status.running == 0 && status.waiting == 0)
        let answer = try await stream.collect()
        #expect(answer.result.finishReason == .cancelled && answer.tokens.count <= 3)
        #expect(try await waiting.collect().result.finishReason == .cancelled)
        gate.signal()
        let next = makeRequest("a", [9], count: 2)
        let again = try engine.submit(next)
        for _ in 0..<4 { gate.signal() }
        #expect(try await again.collect().tokens == executor.expectedTokens(next))
        #expect(executor.violations.isEmpty)
    }

    @Test("cancels a request whose iterator or stream is dropped or whose reading task is cancelled")
    func dropping() async throws {
        let gate = openGate(1000)
        let engine = makeEngine(FakeExecutor(blockCount: 256, gate: gate))
        let long = makeRequest("a", [1], count: 500)

        let kept = try engine.submit(long)
        for try await _ in kept { break }
        #expect(await eventually { engine.status.running + engine.status.waiting == 0 }, "iterator dropped")
        withExtendedLifetime(kept) {}

        _ = try engine.submit(long)
        #expect(await eventually { engine.status.running + engine.status.waiting == 0 }, "stream dropped")

        let stream = try engine.submit(long)
        let task = Task { for try await _ in stream {} }
        task.cancel()
        try await task.value
        #expect(await eventually { engine.status.running + engine.status.waiting == 0 }, "task cancelled")
        for _ in 0..<1000 { gate.signal() }
    }

    @Test("refuses what exceeds the waiting queue, duplicate names and bad fields")
    func refusals() throws {
        let engine = makeEngine(FakeExecutor(), starts: false) { $0.maximumWaiting = 2 }
        let streams = try ["a", "b"].map { try engine.submit(makeRequest($0, [1], count: 1)) }
        let full = #expect(throws: FathomError.self) { try engine.submit(makeRequest("c", [1], count: 1)) }
        #expect(full?.code == .unavailable)
        engine.cancel("b")
        let twice = #expect(throws: FathomError.self) { try engine.submit(makeRequest("a", [1], count: 1)) }
        #expect(twice?.code == .usage)
        let bad = #expect(throws: FathomError.self) {
            try engine.submit(makeRequest("d", [1], count: 1) { $0.topP = 2 })
        }
        #expect(bad?.code == .usage && bad?.message.contains("`top_p`") == true)
        // The cache holds 256 tokens, less than the context.
        let long = #expect(throws: FathomError.self) { try engine.submit(makeRequest("d", [1], count: 256)) }
        #expect(long?.code == .usage && long?.message.contains("`max_tokens`") == true)
        withExtendedLifetime(streams) {}
    }

    @Test("drains: takes nothing new, finishes what runs, and cancels the rest at the deadline")
    func drain() async throws {
        let engine = makeEngine(FakeExecutor())
        let stream = try engine.submit(makeRequest("a", [1], count: 50))
        await engine.drain(timeoutMilliseconds: 10_000)
        #expect(try await stream.collect().tokens.count == 50)
        let refused = #expect(throws: FathomError.self) { try engine.submit(makeRequest("b", [1], count: 1)) }
        #expect(refused?.code == .unavailable && engine.status.isDraining && engine.status.isHealthy)

        let gate = openGate(1)
        let slow = makeEngine(FakeExecutor(gate: gate))
        let cut = try slow.submit(makeRequest("a", [1], count: 50))
        await slow.drain(timeoutMilliseconds: 30)
        #expect(try await cut.collect().result.finishReason == .cancelled)
        for _ in 0..<100 { gate.signal() }
    }

    @Test("stop ends every request and the engine is no longer healthy")
    func stop() async throws {
        let engine = makeEngine(FakeExecutor(), starts: false)
        let stream = try engine.submit(makeRequest("a", [1], count: 50))
        engine.stop()
        #expect(try await stream.collect().result.finishReason == .cancelled)
        #expect(!engine.status.isHealthy)
        #expect(throws: FathomError.self) { try engine.submit(makeRequest("b", [1], count: 1)) }
    }

    @Test("ends a request whose reader falls too far behind, and no other")
    func slowReader() async throws {
        let executor = FakeExecutor()
        let engine = makeEngine(executor) { $0.maximumUnreadEvents = 8 }
        let unread = try engine.submit(makeRequest("slow", [1], count: 100))
        #expect(await eventually { engine.status.running + engine.status.waiting == 0 })
        let exact = try engine.submit(makeRequest("exact", [1], count: 7))
        #expect(await eventually { engine.status.running + engine.status.waiting == 0 })
        #expect(try await exact.collect().tokens.count == 7, "seven tokens and the result make eight events")
        var count = 0
        let error = await #expect(throws: FathomError.self) {
            for try await _ in unread { count += 1 }
        }
        #expect(count == 8 && error?.code == .unavailable && error?.message.contains("8 events") == true)
    }

    @Test("fails only the request that the model cannot compute")
    func poison() async throws {
        let executor = FakeExecutor(vocabularySize: 61, poison: 60)
        let engine = makeEngine(executor, starts: false)
        let ban: (inout SamplingParameters) -> Void = { $0.logitBias[60] = -100 }
        let requests = (0..<4).map { makeRequest("\($0)", [Int32($0), 1], count: 10, ban) }
        let good = try requests.map { ($0, try engine.submit($0)) }
        let bad = try engine.submit(makeRequest("bad", [1, 60], count: 10, ban))
        engine.start()
        let error = await #expect(throws: FathomError.self) { try await bad.collect() }
        #expect(error?.code == .internal)
        for (request, stream) in good {
            #expect(try await stream.collect().tokens == executor.expectedTokens(request))
        }
        #expect(engine.status.isHealthy && engine.status.kvCacheUsage == 0)
    }

    @Test("calls itself unhealthy after failures in a row, until a step succeeds")
    func unhealthy() async throws {
        let executor = FakeExecutor()
        let engine = makeEngine(executor) { $0.failuresUntilUnhealthy = 3 }
        executor.failNext(3)
        for index in 0..<3 {
            #expect(engine.status.isHealthy)
            let stream = try engine.submit(makeRequest("\(index)", [1], count: 3))
            await #expect(throws: FathomError.self) { try await stream.collect() }
        }
        #expect(await eventually { !engine.status.isHealthy })
        let request = makeRequest("after", [1], count: 3)
        #expect(try await engine.submit(request).collect().tokens == executor.expectedTokens(request))
        #expect(await eventually { engine.status.isHealthy })
    }

    @Test("records vLLM's metrics")
    func metrics() async throws {
        let metrics = TestMetrics()
        let engine = makeEngine(FakeExecutor(), endOfSequence: [], metrics: metrics)
        let labels = [("model_name", "fathom")]
        _ = try await engine.submit(makeRequest("a", Array(0..<9), count: 5)).collect()
        _ = try await engine.submit(makeRequest("b", Array(0..<9), count: 1)).collect()
        #expect(await eventually { metrics.counterTotal(label: "vllm:generation_tokens") == 6 })
        let expected: [(String, Int64)] = [
            ("prompt_tokens", 18), ("generation_tokens", 6), ("prefix_cache_queries", 18),
            ("prefix_cache_hits", 8),
            ("num_preemptions", 0),
        ]
        for (name, total) in expected {
            #expect(metrics.counterTotal(label: "vllm:" + name, dimensions: labels) == total, "\(name)")
        }
        let length = labels + [("finished_reason", "length")]
        #expect(metrics.counterTotal(label: "vllm:request_success", dimensions: length) == 2)
        for (name, count) in [
            ("time_to_first_token_seconds", 2), ("inter_token_latency_seconds", 4),
            ("e2e_request_latency_seconds", 2),
            ("request_queue_time_seconds", 2), ("request_prefill_time_seconds", 2),
            ("request_decode_time_seconds", 2), ("request_prompt_tokens", 2),
            ("request_generation_tokens", 2),
            ("iteration_tokens_total", 6),
        ] {
            let recorder = try metrics.expectRecorder("vllm:" + name, labels)
            #expect(recorder.values.count == count && recorder.values.allSatisfy { $0 >= 0 }, "\(name)")
        }
        for name in ["num_requests_running", "num_requests_waiting", "kv_cache_usage_perc"] {
            #expect(try metrics.expectGauge("vllm:" + name, labels).lastValue == 0)
        }
    }

    @Test("estimates the wait from what is queued")
    func estimatedWait() async throws {
        let engine = makeEngine(FakeExecutor(blockCount: 512)) { $0.maximumRunning = 1 }
        #expect(engine.status.estimatedWaitSeconds == 0)
        _ = try await engine.submit(makeRequest("a", Array(0..<50), count: 20)).collect()
        let streams = try (0..<6).map { try engine.submit(makeRequest("\($0)", [Int32($0), 2], count: 300)) }
        #expect(engine.status.estimatedWaitSeconds > 0)
        withExtendedLifetime(streams) {}
    }
}
