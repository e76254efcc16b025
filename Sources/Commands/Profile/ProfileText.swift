// SPDX-License-Identifier: MIT

import Platform
import ProfileData

/// A report as text.
struct ProfileText {
    private let report: ProfileReport
    private let kernelCount: Int
    private let gapCount: Int

    init(_ report: ProfileReport, kernelCount: Int, gapCount: Int) {
        self.report = report
        self.kernelCount = kernelCount
        self.gapCount = gapCount
    }

    func text(file: String) -> String {
        [head(file), streams, communication, classes, phases, pairs, kernels].filter { !$0.isEmpty }
            .joined(separator: "\n\n")
    }

    /// Nanoseconds as microseconds, grouped.
    static func microseconds(_ nanoseconds: Int64) -> String {
        Quantity.grouped(Int((Double(nanoseconds) / 1000).rounded()))
    }

    static func percent(_ fraction: Double) -> String { "\(Quantity.decimal(fraction * 100, places: 1)) %" }

    private func time(_ nanoseconds: Int64) -> String { Self.microseconds(nanoseconds) }

    private func part(_ nanoseconds: Int64, of whole: Int64) -> String {
        whole == 0 ? "–" : Self.percent(Double(nanoseconds) / Double(whole))
    }

    private func head(_ file: String) -> String {
        var facts = [report.name.isEmpty ? file : FilePaths.name(of: report.name)]
        if let device = report.devices.first { facts.append("\(report.devices.count) × \(device)") }
        if let rank = report.rank, let size = report.worldSize { facts.append("rank \(rank) of \(size)") }
        facts.append("\(Quantity.grouped(report.eventCount)) events")
        return """
            \(facts.joined(separator: ", "))
            span \(time(report.span)) µs; something runs \(part(report.active, of: report.span)), \
            computation \(part(report.computing, of: report.span)) (idle \(time(report.computeIdle)) µs)
            """
    }

    private var streams: String {
        var table = Table([.left, .right, .right, .right, .right, .right, .left])
        table.add("stream", "kernels", "copies", "busy µs", "busy", "communicates", "")
        for stream in report.streams {
            let busy = report.span == 0 ? 0 : Double(stream.busy) / Double(report.span)
            table.add(
                stream.title, "\(stream.kernelCount)", "\(stream.copyCount)", time(stream.busy), Self.percent(busy),
                part(stream.communication, of: stream.busy), Bar.text(busy, width: 20))
        }
        return table.text
    }

    private var communication: String {
        let communication = report.communication
        guard communication.total > 0 else { return "" }
        var text = """
            communication \(time(communication.total)) µs: \(time(communication.hidden)) hidden = \
            \(Self.percent(communication.hiddenFraction)), \(time(communication.exposed)) exposed; \
            \(time(communication.notify)) of it notify and sync
            """
        guard gapCount > 0, !communication.gaps.isEmpty else { return text }
        var table = Table([.right, .right, .left, .left])
        table.add("exposed µs", "at µs", "kernel", "between")
        for gap in communication.gaps.prefix(gapCount) {
            let before = gap.before.isEmpty ? "the start" : gap.before
            let after = gap.after.isEmpty ? "the end" : gap.after
            table.add(time(gap.duration), time(gap.start), gap.kernel, "\(before) → \(after)")
        }
        text += "\n" + table.text
        let rest = communication.gaps.count - gapCount
        return rest > 0 ? text + "\n… and \(rest) shorter ones" : text
    }

    private var classes: String {
        var table = Table([.left, .right, .right, .right, .right, .left])
        table.add("class", "launches", "µs", "of its kind", "mean µs", "")
        for group in report.classes {
            table.add(
                group.name, "\(group.count)", time(group.total), Self.percent(group.fraction),
                Quantity.decimal(group.mean / 1000, places: 1), Bar.text(group.fraction, width: 20))
        }
        return table.text
    }

    private var phases: String {
        guard let schedule = report.phases else { return "" }
        func value(_ nanoseconds: Double) -> String { time(Int64(nanoseconds.rounded())) }
        var table = Table([.left, .right, .right, .right, .right, .right, .left])
        table.add("phase", "from µs", "to µs", "computes", "communicates", "exposed", "hidden behind")
        for phase in schedule.phases {
            table.add(
                phase.name, value(phase.start), value(phase.end), value(phase.compute), value(phase.communication),
                value(phase.exposed), phase.hiddenBehind.map { "\($0) \(value(phase.hiddenBehindTime))" } ?? "")
        }
        let turns = schedule.turns > 1 ? ", means of \(schedule.turns) turns" : ""
        return "schedule in launch order\(turns), from the first start of a turn\n" + table.text
    }

    private var pairs: String {
        guard !report.sendWaitPairs.isEmpty else { return "" }
        var table = Table([.left, .left, .right, .right, .right, .right])
        table.add("send and wait", "stream", "pairs", "send µs", "computed between", "wait µs")
        for pair in report.sendWaitPairs {
            table.add(
                pair.kernel, pair.stream, "\(pair.count)", time(pair.sending), time(pair.computedBetween),
                time(pair.waiting))
        }
        return table.text
    }

    private var kernels: String {
        guard kernelCount > 0 else { return "" }
        var table = Table([.right, .right, .right, .left])
        table.add("launches", "µs", "of its kind", "kernel")
        for group in report.kernels.prefix(kernelCount) {
            let name = group.name.count > 72 ? group.name.prefix(71) + "…" : Substring(group.name)
            table.add("\(group.count)", time(group.total), Self.percent(group.fraction), String(name))
        }
        let rest = report.kernels.count - kernelCount
        return table.text + (rest > 0 ? "\n… and \(rest) more names" : "")
    }
}
