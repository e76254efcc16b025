// SPDX-License-Identifier: MIT

import Inference
import Testing

@Suite("Answers", .timeLimit(.minutes(10)))
struct AnswerTests {
    /// All events of a request, alone on an engine.
    private func run(
        _ request: GenerationRequest, endOfSequence: Set<Int32> = []
    ) async throws -> (
        tokens: [Int32], texts: [String], logprobs: [Float?], tops: [Int], result: GenerationResult
    ) {
        let engine = makeEngine(FakeExecutor(), endOfSequence: endOfSequence)
        var (tokens, texts, logprobs, tops) = ([Int32](), [String](), [Float?](), [Int]())
        for try await event in try engine.submit(request) {
            switch event {
            case .token(let id, let text, let logprob, let top):
                tokens.append(id)
                texts.append(text)
                logprobs.append(logprob)
                tops.append(top.count)
            case .finished(let result): return (tokens, texts, logprobs, tops, result)
            }
        }
        throw CancellationError()
    }

    private func text(_ tokens: [Int32]) -> String { tokens.map(ToyTextDecoder.text).joined() }

    @Test("shows all text of an answer that ends by length, held-back text included")
    func wholeText() async throws {
        let plain = try await run(makeRequest("a", [3], count: 40))
        #expect(plain.texts.joined() == text(plain.tokens) && plain.result.finishReason == .length)
        let held = try await run(
            makeRequest("a", [3], count: 40) { $0.stopStrings = ["abcabcabcX", "é é é Z"] })
        #expect(held.tokens == plain.tokens && held.texts.joined() == text(plain.tokens))
        #expect(held.texts != plain.texts, "some text was held back for a while")
    }

    @Test("ends before the first stop string, wherever it falls in the tokens", arguments: [1, 2, 3, 5, 8])
    func stopStrings(length: Int) async throws {
        let whole = text(try await run(makeRequest("a", [5], count: 60)).tokens)
        let characters = Array(whole)
        for start in stride(from: 0, to: characters.count - length, by: 3) {
            let stop = String(characters[start..<start + length])
            let answer = try await run(makeRequest("a", [5], count: 60) { $0.stopStrings = [stop] })
            let end = try #require(whole.firstRange(of: stop)?.lowerBound)
            #expect(answer.texts.joined() == String(whole[..<end]), "stop \"\(stop)\"")
            #expect(answer.result.finishReason == .stop && answer.result.stopString == stop)
            #expect(answer.result.completionTokens == answer.tokens.count)
        }
    }

    @Test("ends with end-of-sequence and stop tokens, which have no text")
    func stopTokens() async throws {
        let free = try await run(makeRequest("a", [4], count: 60))
        let end = free.tokens[10]
        let first = try #require(free.tokens.firstIndex(of: end))
        for answer in [
            try await run(makeRequest("a", [4], count: 60), endOfSequence: [end]),
            try await run(makeRequest("a", [4], count: 60) { $0.stopTokens = [end] }),
        ] {
            #expect(answer.tokens == Array(free.tokens[...first]) && answer.result.finishReason == .stop)
            #expect(answer.texts.joined() == text(Array(free.tokens[..<first])))
        }
        let ignoring = makeRequest("a", [4], count: 60) { $0.ignoresEndOfSequence = true }
        #expect(try await run(ignoring, endOfSequence: [end]).tokens == free.tokens)
    }

    @Test("does not end before the minimum", arguments: [1, 5, 20])
    func minimum(count: Int) async throws {
        let ends = Set(Int32(0)..<40)
        let request = makeRequest("a", [4], count: 60) { $0.minimumTokens = count }
        let answer = try await run(request, endOfSequence: ends)
        #expect(answer.tokens.prefix(count).allSatisfy { !ends.contains($0) })
        let last = try #require(answer.tokens.last)
        #expect(answer.tokens.count > count && ends.contains(last))
        let stops = makeRequest("a", [4], count: 60) {
            $0.minimumTokens = count
            $0.stopStrings = ["a", "b", "c", "é", " "]
        }
        #expect(try await run(stops).tokens.count == count + 1)
    }

    @Test("carry log-probabilities only where asked for")
    func logprobs() async throws {
        let without = try await run(makeRequest("a", [4], count: 5))
        #expect(without.logprobs.allSatisfy { $0 == nil } && without.tops.allSatisfy { $0 == 0 })
        let chosen = try await run(makeRequest("a", [4], count: 5) { $0.topLogprobs = 0 })
        #expect(chosen.logprobs.allSatisfy { ($0 ?? 1) <= 0 } && chosen.tops.allSatisfy { $0 == 0 })
        let top = try await run(makeRequest("a", [4], count: 5) { $0.topLogprobs = 3 })
        #expect(top.logprobs == chosen.logprobs && top.tops.allSatisfy { $0 == 3 })
        #expect(top.tokens == without.tokens)
    }

    @Test("differ between seeds and repeat with the same one")
    func seeds() async throws {
        let answers = try await [UInt64(1), 2, 1].asyncMap { seed in
            try await run(makeRequest("a", [4], count: 20, seed: seed)).tokens
        }
        #expect(answers[0] == answers[2] && answers[0] != answers[1])
    }
}

extension Sequence {
    fileprivate func asyncMap<Result>(_ body: (Element) async throws -> Result) async rethrows -> [Result] {
        var results: [Result] = []
        for element in self { results.append(try await body(element)) }
        return results
    }
}
