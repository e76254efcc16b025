// SPDX-License-Identifier: MIT

import DeepSeekModel
import Inference
import Logging
import MetricsTestKit
import Testing
import Tokenizers

/// The engine's first promise, held to the real arithmetic: the bundled model in block FP8, not a stand-in.
@Suite("Batch invariance of the bundled model", .timeLimit(.minutes(10)))
struct ModelInvarianceTests {
    private static let folder =
        #filePath.split(separator: "/").dropLast(3).map { "/" + $0 }.joined() + "/Models/fathom-tiny"

    /// The arithmetic; answers may differ from one to the other, and only so.
    enum Numbers: String, CaseIterable, Sendable {
        case standard, exactCache, exactActivations

        func options(threads: Int, cacheTokens: Int) -> DeepSeekExecutor.Options {
            var options = DeepSeekExecutor.Options()
            options.cacheType = self == .exactCache ? .float32 : .bfloat16
            options.quantizesActivations = self != .exactActivations
            options.threadCount = threads
            options.cacheTokens = cacheTokens
            return options
        }
    }

    /// A way to run the same requests.
    struct Setting: Sendable {
        var threads = 2
        var running = 64
        var batchTokens = 512
        var caches = true
        var cacheTokens = 8192
        /// Submit each request only when the one before has ended.
        var isSequential = false
        /// The cache is too small for all, so that some must give up their blocks.
        var preempts = false
    }

    /// Each request by itself, with one thread and nothing cached.
    private static let alone = Setting(threads: 1, caches: false, isSequential: true)

    private static let settings = [
        Setting(), Setting(threads: 1), Setting(threads: 3), Setting(caches: false),
        Setting(isSequential: true), Setting(threads: 1, running: 1, batchTokens: 1, caches: false),
        Setting(running: 5, batchTokens: 7), Setting(threads: 3, running: 12, batchTokens: 65, caches: false),
        Setting(running: 12, cacheTokens: 448, preempts: true),
        Setting(threads: 3, running: 12, batchTokens: 33, caches: false, cacheTokens: 384, preempts: true),
    ]

    /// What a client sees of an answer, to the bit.
    private struct Seen: Equatable {
        var tokens: [Int32] = []
        var text = ""
        var logprobs: [UInt32] = []
        var finish: FinishReason?
    }

    /// Twelve requests with shared beginnings longer than a block and all kinds of sampling.
    private static func requests(seed: UInt64) -> [GenerationRequest] {
        var random = TestRandom(seed: seed)
        let stem = random.tokens(200, below: 500)
        return (0..<12).map { index in
            let shared = stem.prefix(index % 3 == 0 ? 0 : random.int(60...200))
            let prompt = Array(shared) + random.tokens(random.int(1...90), below: 500)
            var request = makeRequest("\(index)", prompt, count: random.int(1...70), seed: UInt64(index)) {
                $0.temperature = [0, 0.7, 1, 1.6][index % 4]
                $0.topLogprobs = index % 2 == 0 ? 3 : nil
                if index % 3 == 1 { $0.topP = 0.9 }
                if index % 5 == 2 { $0.topK = 40 }
                if index % 4 == 3 { $0.minP = 0.02 }
                if index % 4 == 1 { $0.repetitionPenalty = 1.2 }
                if index % 6 == 5 { $0.frequencyPenalty = 0.5 }
                if index % 6 == 2 { $0.presencePenalty = -0.5 }
                if index % 5 == 0 { $0.stopStrings = ["1", "ab"] }
                if index % 7 == 3 { $0.logitBias = [80: 3, 90: -100] }
                $0.ignoresEndOfSequence = index % 2 == 1
            }
            request.priority = random.int(-1...1)
            return request
        }
    }

    private static func run(
        _ requests: [GenerationRequest], _ setting: Setting, _ numbers: Numbers
    ) async throws -> [Seen] {
        let logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
        let files = try ModelFolder.load(path: folder)
        let executor = try DeepSeekExecutor(
            folder: folder, options: numbers.options(threads: setting.threads, cacheTokens: setting.cacheTokens),
            logger: logger)
        var configuration = EngineConfiguration()
        configuration.maximumRunning = setting.running
        configuration.maximumBatchTokens = setting.batchTokens
        configuration.enablesPrefixCache = setting.caches
        let metrics = TestMetrics()
        let engine = InferenceEngine(
            executor: executor, endOfSequence: files.endOfSequence, configuration: configuration,
            logger: logger, metricsFactory: metrics,
            makeDecoder: { [tokenizer = files.tokenizer] in
                StreamingDecoder(tokenizer, skippingSpecialTokens: true)
            })
        defer { engine.stop() }
        var seen: [Seen] = []
        if setting.isSequential {
            engine.start()
            for request in requests { seen.append(try await read(engine.submit(request))) }
        } else {
            let streams = try requests.map { try engine.submit($0) }
            engine.start()
            for stream in streams { seen.append(try await read(stream)) }
        }
        #expect(engine.status.kvCacheUsage == 0 && engine.status.running == 0, "\(setting)")
        let preemptions = try metrics.expectCounter(
            "vllm:num_preemptions", [("model_name", configuration.modelName)])
        #expect(setting.preempts == (preemptions.totalValue > 0), "\(setting)")
        return seen
    }

    private static func read(_ stream: GenerationStream) async throws -> Seen {
        var seen = Seen()
        for try await event in stream {
            switch event {
            case .token(let id, let text, let logprob, let top):
                seen.tokens.append(id)
                seen.text += text
                if let logprob { seen.logprobs.append(logprob.bitPattern) }
                for entry in top { seen.logprobs += [UInt32(bitPattern: entry.token), entry.logprob.bitPattern] }
            case .finished(let result): seen.finish = result.finishReason
            }
        }
        return seen
    }

    @Test(
        "each request has the tokens, the text and the log-probabilities that it has alone",
        arguments: Numbers.allCases)
    func sameAnswers(numbers: Numbers) async throws {
        let requests = Self.requests(seed: 11)
        let expected = try await Self.run(requests, Self.alone, numbers)
        #expect(expected.allSatisfy { !$0.tokens.isEmpty && $0.finish != nil })
        #expect(Set(expected.flatMap(\.tokens)).count > 50, "answers too alike to tell one run from another")
        for setting in Self.settings {
            let seen = try await Self.run(requests, setting, numbers)
            for (request, (found, wanted)) in zip(requests, zip(seen, expected)) {
                #expect(found == wanted, "request \(request.id), \(setting)")
            }
        }
    }
}
