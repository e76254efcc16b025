// SPDX-License-Identifier: MIT

import ArgumentParser
import Platform
import ProfileData

/// How long a run would take were something else.
struct ProfileWhatIf: ParsableCommand, TracedCommand {
    static let configuration = CommandConfiguration(
        commandName: "what-if",
        abstract: "Run a trace again with faster kernels, another split of multiprocessors, or no notify kernels.",
        discussion: """
            Streams, launches, and waits for events and for the host keep their order and delays; durations change. A \
            trace does not say which event a stream waits for; that is inferred, and what nothing explains stays a \
            delay. The unchanged trace keeps its times exactly.

            Classes: \(KernelClass.allCases.map(\.rawValue).joined(separator: ", ")); attention, gemm, compute and \
            communication stand for several.

            EXAMPLES
              fathom profile what-if train.json.gz --faster attention=1.5 --faster combine=0.8
              fathom profile what-if train.json.gz --sm-split 108/24 --no-notify --json
            """)

    @Argument(help: "The trace: JSON, plain or gzip.", completion: .file())
    var file: String

    @Option(help: ArgumentHelp("A class, and how many times faster it becomes. May be repeated.", valueName: "class=n"))
    var faster: [String] = []

    @Option(
        help: ArgumentHelp(
            "Multiprocessors for computation and for communication; products, attention and transports go with them.",
            valueName: "a/b"))
    var smSplit: String?

    @Flag(help: "Kernels that only exchange counts and wait take no time.")
    var noNotify = false

    @OptionGroup var output: OutputOptions

    @OptionGroup var tracing: TraceOptions

    func validate() throws { _ = try question() }

    func run() throws {
        let trace = try Trace(path: file)
        let answer = try question().answer(trace)
        try Output.render(WhatIfText(answer, split: WhatIf.split(of: trace)), asJSON: output.json)
    }

    private func question() throws -> WhatIf {
        var question = WhatIf()
        question.dropsNotify = noNotify
        for text in faster {
            let parts = text.split(separator: "=", omittingEmptySubsequences: false)
            guard parts.count == 2, let classes = KernelClass.named(String(parts[0])), let factor = Double(parts[1]),
                factor >= 0.001, factor <= 1e6
            else {
                throw ValidationError(
                    "--faster is \(text); legal is a class, = and a number from 0.001 to 1000000, as in attention=1.5")
            }
            for kernelClass in classes { question.speedups[kernelClass] = factor }
        }
        if let smSplit {
            let parts = smSplit.split(separator: "/", omittingEmptySubsequences: false).map { Int($0) }
            guard parts.count == 2, let compute = parts[0], let communication = parts[1], compute > 0, communication > 0
            else { throw ValidationError("--sm-split is \(smSplit); legal are two counts, as in 108/24") }
            question.split = .init(compute: compute, communication: communication)
        }
        return question
    }
}

/// The answer for people and programs. Times in nanoseconds.
private struct WhatIfText: Report {
    struct State: Encodable {
        var span: Int64
        var communication: Int64
        var exposed: Int64
        var hiddenFraction: Double
        /// Where the time from start to end goes.
        var critical: [Replay.CriticalPart]

        init(_ outcome: Replay.Outcome) {
            let report = ProfileReport(outcome.trace)
            span = report.span
            communication = report.communication.total
            exposed = report.communication.exposed
            hiddenFraction = report.communication.hiddenFraction
            critical = outcome.critical
        }
    }

    var before: State
    var after: State
    var speedup: Double
    /// Multiprocessors of computation and communication that the trace shows.
    var traceSplit: [Int]?
    var calledWaits: Int
    var inferredWaits: Int
    var unexplained: Int64

    init(_ answer: WhatIf.Answer, split: WhatIf.Split?) {
        before = State(answer.before)
        after = State(answer.after)
        speedup = after.span == 0 ? 1 : Double(before.span) / Double(after.span)
        traceSplit = split.map { [$0.compute, $0.communication] }
        (calledWaits, inferredWaits, unexplained) = (answer.calledWaits, answer.inferredWaits, answer.unexplained)
    }

    var text: String {
        func time(_ value: Int64) -> String { ProfileText.microseconds(value) }
        var table = Table([.left, .right, .right])
        table.add("", "before µs", "after µs")
        table.add("span", time(before.span), time(after.span))
        table.add("communication", time(before.communication), time(after.communication))
        table.add("exposed", time(before.exposed), time(after.exposed))
        table.add(
            "hidden", ProfileText.percent(before.hiddenFraction), ProfileText.percent(after.hiddenFraction))
        var chain = Table([.left, .right, .right, .right])
        chain.add("what the end waits for", "before µs", "after µs", "of the span")
        var names = after.critical.map(\.name)
        names += before.critical.map(\.name).filter { !names.contains($0) }
        for name in names {
            let old = before.critical.first { $0.name == name }
            let new = after.critical.first { $0.name == name }
            chain.add(name, time(old?.time ?? 0), time(new?.time ?? 0), ProfileText.percent(new?.fraction ?? 0))
        }
        let split = traceSplit.map { ", multiprocessors \($0[0])/\($0[1]) in the trace" } ?? ""
        return """
            \(Quantity.decimal(speedup, places: 3))× as fast
            \(table.text)

            \(chain.text)

            waits between streams: \(calledWaits) from calls in the trace; \(inferredWaits) inferred from times, as a \
            trace does not say which event a stream waits for; \(time(unexplained)) µs that nothing explains stay \
            delays\(split)
            """
    }
}
