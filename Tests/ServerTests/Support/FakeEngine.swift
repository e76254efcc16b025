// SPDX-License-Identifier: MIT

#if Server
import Inference
import Platform
import Server
import Synchronization

/// An engine that says what a test told it to, and remembers what it was asked.
final class FakeEngine: TextGenerationEngine {
    struct Script: Sendable {
        /// The texts of the tokens, in order.
        var pieces = ["Think", "ing", "</think>", "\n\n", "Hello", " world"]
        /// No token comes until a `change` opens this.
        var isHeld = false
        /// Milliseconds before each token.
        var delayMilliseconds = 0
        /// Milliseconds before the first token, as if the request was queued.
        var queueMilliseconds = 0
        /// After the pieces, wait for a cancellation instead of finishing.
        var hangs = false
        var finishReason = FinishReason.stop
        var stopString: String?
        var cachedTokens = 0
        /// What `generate` throws instead.
        var refusal: FathomError?
        /// What the stream throws after the pieces.
        var failure: FathomError?
        var load = EngineLoad(running: 1, waiting: 2, estimatedWaitSeconds: 6.2)
    }

    struct Record: Sendable {
        var requests: [GenerationRequest] = []
        var cancelled: Set<String> = []
        var drained = false
        fileprivate var live: [String: AsyncThrowingStream<GenerationEvent, any Error>.Continuation] = [:]
        fileprivate var isDraining = false
    }

    private let script: Mutex<Script>
    private let record = Mutex(Record())

    init(_ script: Script = Script()) {
        self.script = Mutex(script)
    }

    var seen: Record { record.withLock { $0 } }
    var liveCount: Int { record.withLock { $0.live.count } }
    func change(_ body: (inout Script) -> Void) { script.withLock { body(&$0) } }

    var load: EngineLoad { script.withLock { $0.load } }

    func generate(_ request: GenerationRequest) throws(FathomError) -> GenerationEvents {
        let script = script.withLock { $0 }
        if let refusal = script.refusal { throw refusal }
        let (stream, continuation) = AsyncThrowingStream.makeStream(of: GenerationEvent.self)
        let isDraining = record.withLock { record in
            if record.isDraining { return true }
            record.requests.append(request)
            record.live[request.id] = continuation
            return false
        }
        if isDraining { throw FathomError(.unavailable, "the engine is draining") }
        let speaker = Task { await self.speak(script, request) }
        continuation.onTermination = { _ in speaker.cancel() }
        return stream
    }

    private func speak(_ script: Script, _ request: GenerationRequest) async {
        try? await Task.sleep(for: .milliseconds(script.queueMilliseconds))
        while self.script.withLock({ $0.isHeld }), !Task.isCancelled { try? await Task.sleep(for: .milliseconds(5)) }
        for (index, piece) in script.pieces.enumerated() {
            if script.delayMilliseconds > 0 {
                try? await Task.sleep(for: .milliseconds(script.delayMilliseconds))
            }
            let id = Int32(10 + index)
            let top = request.sampling.topLogprobs.map { count in
                (0..<count).map { TokenLogprob(token: Int32(10 + $0), logprob: -Float($0)) }
            }
            yield(
                .token(
                    id: id, text: piece, logprob: request.sampling.topLogprobs == nil ? nil : -0.5,
                    topLogprobs: top ?? []), request.id)
        }
        if let failure = script.failure { return end(request.id, throwing: failure) }
        if script.hangs { return }
        yield(
            .finished(
                GenerationResult(
                    finishReason: script.finishReason, stopString: script.stopString,
                    promptTokens: request.prompt.count, cachedTokens: script.cachedTokens,
                    completionTokens: script.pieces.count)), request.id)
        end(request.id)
    }

    private func yield(_ event: GenerationEvent, _ id: String) {
        _ = record.withLock { $0.live[id] }?.yield(event)
    }

    private func end(_ id: String, throwing error: FathomError? = nil) {
        record.withLock { $0.live.removeValue(forKey: id) }?.finish(throwing: error)
    }

    func cancel(_ id: String) {
        let continuation = record.withLock { record in
            guard let continuation = record.live.removeValue(forKey: id) else {
                return nil as AsyncThrowingStream<GenerationEvent, any Error>.Continuation?
            }
            record.cancelled.insert(id)
            return continuation
        }
        continuation?.yield(
            .finished(
                GenerationResult(
                    finishReason: .cancelled, promptTokens: 0, cachedTokens: 0, completionTokens: 0)))
        continuation?.finish()
    }

    func drain(timeoutMilliseconds: Int) async {
        record.withLock { $0.isDraining = true }
        let deadline = ContinuousClock.now + .milliseconds(timeoutMilliseconds)
        while liveCount > 0, ContinuousClock.now < deadline { try? await Task.sleep(for: .milliseconds(5)) }
        for id in record.withLock({ Array($0.live.keys) }) { cancel(id) }
        record.withLock { $0.drained = true }
    }
}
#endif
