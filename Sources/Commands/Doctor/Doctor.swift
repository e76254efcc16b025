// SPDX-License-Identifier: MIT

import ArgumentParser
import Platform

/// Says what this machine offers and what is missing.
struct Doctor: ParsableCommand, TracedCommand {
    static let configuration = CommandConfiguration(
        abstract: "Say what this machine offers and what is missing.",
        discussion: """
            Ends with status 69 where something that Fathom needs is missing, 0 otherwise.

            EXAMPLES
              fathom doctor
              fathom doctor --json
            """)

    @OptionGroup var model: ModelOptions
    @OptionGroup var output: OutputOptions

    @Option(help: ArgumentHelp("The port that fathom serve would listen on.", valueName: "n"))
    var port: UInt16 = 8080

    @OptionGroup var tracing: TraceOptions

    func run() throws {
        let report = Diagnosis(
            checks: MachineChecks.all() + [modelCheck(), portCheck()] + GPUChecks.all() + OptionalTools.checks())
        try Output.render(report, asJSON: output.json)
        if let failure = report.checks.first(where: { $0.state == .missing }) {
            throw FathomError(.unavailable, "\(failure.name): \(failure.finding)")
        }
    }
}

/// One thing that was looked at.
struct Check: Encodable {
    /// How it stands.
    enum State: String, Encodable {
        /// There, and as it should be.
        case ok
        /// Works, and something could be better; the advice says how.
        case note
        /// Fathom cannot do its work without it.
        case missing
    }

    var name: String
    var state: State
    var finding: String
    /// What to do, where there is something to do.
    var advice: String?
}

/// All checks, as a table for people.
struct Diagnosis: Report {
    var checks: [Check]

    var text: String {
        var table = Table([.left, .left, .left])
        for check in checks {
            let mark =
                switch check.state {
                case .ok: "ok"
                case .note: "note"
                case .missing: "MISSING"
                }
            table.add(check.name, mark, check.finding + (check.advice.map { ". \($0)" } ?? ""))
        }
        return table.text
    }
}
