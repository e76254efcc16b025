// SPDX-License-Identifier: MIT

import DeepSeekModel
import Platform
import Telemetry

extension BenchGenerate {
    /// Rounds of each kind.
    private static let overheadRounds = 9

    /// The same prompts and steps with and without recording, in turn: every other step records, so that what else the
    /// machine does falls on both.
    func overhead() throws -> TraceOverhead {
        let (folder, executor) = try load()
        let prompt = prompt(executor)
        let rounds = smoke ? 1 : Self.overheadRounds
        var (prefills, steps) = (Times(), Times())
        // The first turn reads the weights from disk and is not counted.
        _ = try round(executor, prompt, records: false)
        for index in 0..<2 * rounds {
            // Pairs of rounds, of which the first one and the other record by turns.
            let times = try round(executor, prompt, records: (index / 2 + index) % 2 == 1)
            prefills.add(times.prefills)
            steps.add(times.steps)
        }
        return TraceOverhead(
            model: FilePaths.name(of: folder), threads: executor.threadCount, promptTokens: promptCount,
            outputTokens: answerCount, rounds: rounds, spansPerStep: steps.spans / max(1, steps.traced.count),
            prefillSeconds: median(prefills.plain), prefillSecondsTraced: median(prefills.traced),
            stepSeconds: median(steps.plain), stepSecondsTraced: median(steps.traced))
    }

    /// Seconds with and without recording.
    private struct Times {
        var plain: [Double] = []
        var traced: [Double] = []
        var spans = 0

        mutating func add(_ other: Times) {
            plain += other.plain
            traced += other.traced
            spans += other.spans
        }
    }

    /// A prompt, and the steps of an answer, of which every other one records.
    private func round(
        _ executor: DeepSeekExecutor, _ prompt: [Int32], records: Bool
    ) throws(FathomError) -> (prefills: Times, steps: Times) {
        let blocks = (promptCount + answerCount + executor.blockSize - 1) / executor.blockSize
        let table = (0..<Int32(blocks)).map { $0 }
        let clock = ContinuousClock()
        func forward(
            _ tokens: [Int32], at position: Int, records: Bool, _ times: inout Times
        ) throws(FathomError) -> LogitsMatrix {
            if records { Spans.start() }
            let start = clock.now
            let logits = try executor.forward([
                SequenceChunk(tokens: tokens, firstPosition: position, blockTable: table)
            ])
            let seconds = start.duration(to: clock.now).seconds
            if records {
                times.spans += Spans.cancel()
                times.traced.append(seconds)
            } else {
                times.plain.append(seconds)
            }
            return logits
        }
        var (prefills, steps) = (Times(), Times())
        var logits = try forward(prompt, at: 0, records: records, &prefills)
        for position in promptCount..<promptCount + answerCount {
            logits = try forward(
                [largest(logits)], at: position, records: records == ((position - promptCount) % 2 == 0), &steps)
        }
        return (prefills, steps)
    }
}

/// What recording spans costs: medians, in seconds.
struct TraceOverhead: Report {
    var model: String
    var threads: Int
    var promptTokens: Int
    var outputTokens: Int
    var rounds: Int
    var spansPerStep: Int
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
            \(Quantity.grouped(spansPerStep)) spans a decode step

            \(table.text)
            """
    }
}
