// SPDX-License-Identifier: MIT

import DeepSeekModel
import Platform
import Telemetry

extension BenchGenerate {
    /// Rounds of each kind.
    private static let overheadRounds = 9

    /// The same prompt and answer with and without recording, in turn: what else the machine does falls on both.
    func overhead() throws -> TraceOverhead {
        let (folder, executor) = try load()
        let prompt = prompt(executor)
        let rounds = smoke ? 1 : Self.overheadRounds
        var times: [Bool: (prefill: [Double], step: [Double])] = [true: ([], []), false: ([], [])]
        var spans = 0
        // The first turn reads the weights from disk and is not counted.
        _ = try round(executor, prompt)
        for index in 0..<rounds {
            // Who goes first changes, too.
            for records in index % 2 == 0 ? [false, true] : [true, false] {
                if records { Spans.start() }
                let (prefill, steps) = try round(executor, prompt)
                if records { spans = Spans.cancel() }
                times[records]?.prefill.append(prefill)
                times[records]?.step += steps
            }
        }
        func middle(_ records: Bool) -> (prefill: Double, step: Double) {
            (median(times[records]?.prefill ?? []), median(times[records]?.step ?? []))
        }
        let (off, on) = (middle(false), middle(true))
        return TraceOverhead(
            model: FilePaths.name(of: folder), threads: executor.threadCount, promptTokens: promptCount,
            outputTokens: answerCount, rounds: rounds, spansPerRound: spans, prefillSeconds: off.prefill,
            prefillSecondsTraced: on.prefill, stepSeconds: off.step, stepSecondsTraced: on.step)
    }

    /// Seconds of a prompt, and of each step of an answer.
    private func round(
        _ executor: DeepSeekExecutor, _ prompt: [Int32]
    ) throws(FathomError) -> (prefill: Double, steps: [Double]) {
        let blocks = (promptCount + answerCount + executor.blockSize - 1) / executor.blockSize
        let table = (0..<Int32(blocks)).map { $0 }
        let clock = ContinuousClock()
        var start = clock.now
        var logits = try executor.forward([SequenceChunk(tokens: prompt, firstPosition: 0, blockTable: table)])
        let prefill = start.duration(to: clock.now).seconds
        var steps: [Double] = []
        for position in promptCount..<promptCount + answerCount {
            let next = largest(logits)
            start = clock.now
            logits = try executor.forward([
                SequenceChunk(tokens: [next], firstPosition: position, blockTable: table)
            ])
            steps.append(start.duration(to: clock.now).seconds)
        }
        return (prefill, steps)
    }
}

/// What recording spans costs: medians, in seconds.
struct TraceOverhead: Report {
    var model: String
    var threads: Int
    var promptTokens: Int
    var outputTokens: Int
    var rounds: Int
    var spansPerRound: Int
    var prefillSeconds: Double
    var prefillSecondsTraced: Double
    var stepSeconds: Double
    var stepSecondsTraced: Double

    /// How much more time it takes with recording, as a part.
    private func more(_ plain: Double, _ traced: Double) -> String {
        let part = traced / plain - 1
        return (part < 0 ? "−" : "+") + Quantity.decimal(part.magnitude * 100, places: 2) + " %"
    }

    var text: String {
        func milliseconds(_ seconds: Double) -> String { Quantity.decimal(seconds * 1000, places: 3) }
        var table = Table([.left, .right, .right, .right])
        table.add("", "plain ms", "recording ms", "")
        table.add(
            "prefill of \(promptTokens)", milliseconds(prefillSeconds), milliseconds(prefillSecondsTraced),
            more(prefillSeconds, prefillSecondsTraced))
        table.add(
            "decode step", milliseconds(stepSeconds), milliseconds(stepSecondsTraced),
            more(stepSeconds, stepSecondsTraced))
        return """
            \(model), \(threads) threads, \(rounds) rounds of each in turn, medians; \
            \(Quantity.grouped(spansPerRound)) spans a round

            \(table.text)
            """
    }
}
