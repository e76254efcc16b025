// SPDX-License-Identifier: MIT

import ArgumentParser
import Platform
import ProfileData

/// Two runs beside each other.
struct ProfileCompare: ParsableCommand, TracedCommand {
    static let configuration = CommandConfiguration(
        commandName: "compare",
        abstract: "Set two traces beside each other, class by class.",
        discussion: """
            EXAMPLES
              fathom profile compare before.json after.json
              fathom profile compare before.json.gz after.json.gz --json
            """)

    @Argument(help: "The trace to compare with.", completion: .file())
    var before: String

    @Argument(help: "The trace that is compared.", completion: .file())
    var after: String

    @OptionGroup var output: OutputOptions

    @OptionGroup var tracing: TraceOptions

    func run() throws {
        let comparison = Comparison(
            ProfileReport(try Trace(path: before)), ProfileReport(try Trace(path: after)))
        try Output.render(comparison, asJSON: output.json)
    }
}

/// Rows of two values in nanoseconds.
struct Comparison: Report {
    struct Row: Encodable {
        var name: String
        var before: Int64
        var after: Int64
        var countBefore: Int?
        var countAfter: Int?
    }

    var rows: [Row]
    var hiddenFractionBefore: Double
    var hiddenFractionAfter: Double

    init(_ before: ProfileReport, _ after: ProfileReport) {
        rows = [
            Row(name: "span", before: before.span, after: after.span),
            Row(name: "something runs", before: before.active, after: after.active),
            Row(name: "computation", before: before.computing, after: after.computing),
            Row(name: "communication", before: before.communication.total, after: after.communication.total),
            Row(name: "exposed", before: before.communication.exposed, after: after.communication.exposed),
        ]
        hiddenFractionBefore = before.communication.hiddenFraction
        hiddenFractionAfter = after.communication.hiddenFraction
        let names = before.classes.map(\.name) + after.classes.map(\.name)
        var seen: Set<String> = []
        for name in names where seen.insert(name).inserted {
            let old = before.classes.first { $0.name == name }
            let new = after.classes.first { $0.name == name }
            rows.append(
                Row(
                    name: name, before: old?.total ?? 0, after: new?.total ?? 0, countBefore: old?.count ?? 0,
                    countAfter: new?.count ?? 0))
        }
    }

    var text: String {
        var table = Table([.left, .right, .right, .right, .right, .left])
        table.add("", "before µs", "after µs", "difference", "ratio", "launches")
        for row in rows {
            let difference = row.after - row.before
            let ratio = row.before == 0 ? "–" : Quantity.decimal(Double(row.after) / Double(row.before), places: 3)
            let counts = row.countBefore.map { old in
                old == row.countAfter ? "\(old)" : "\(old) → \(row.countAfter ?? 0)"
            }
            table.add(
                row.name, ProfileText.microseconds(row.before), ProfileText.microseconds(row.after),
                (difference > 0 ? "+" : "") + ProfileText.microseconds(difference), ratio, counts ?? "")
        }
        return table.text + "\nhidden: \(ProfileText.percent(hiddenFractionBefore)) → "
            + ProfileText.percent(hiddenFractionAfter)
    }
}
