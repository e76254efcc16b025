// SPDX-License-Identifier: MIT

import Planner

/// Figures as people read them.
enum FigureTable {
    /// A group: a heading and aligned rows.
    static func text(_ groups: [FigureGroup]) -> String {
        // One table for all, so that columns align; headings are put between its lines.
        var table = Table([.left, .right, .left, .right, .right, .left, .left, .left])
        var headings: [Int: String] = [:]
        var row = 0
        for group in groups {
            headings[row] = group.title
            for figure in group.figures {
                table.add(
                    "  " + figure.name, number(figure.value), figure.unit,
                    figure.published.map(number) ?? "", figure.deviation.map { signedPercent($0) } ?? "",
                    verdict(figure), figure.basis.rawValue, figure.note)
                row += 1
            }
        }
        var lines: [String] = []
        for (index, line) in table.text.split(separator: "\n", omittingEmptySubsequences: false).enumerated() {
            if let heading = headings[index] { lines += (index == 0 ? [] : [""]) + [heading] }
            lines.append(String(line))
        }
        return lines.joined(separator: "\n")
    }

    /// Whether it agrees, in a word.
    static func verdict(_ figure: Figure) -> String {
        switch figure.isMet {
        case .some(true): "ok"
        case .some(false): "OFF"
        case .none: ""
        }
    }

    /// As many digits as a number deserves: all before the point, and four in all after it.
    static func number(_ value: Double) -> String {
        guard value.isFinite else { return "\(value)" }
        let size = value.magnitude
        if size >= 1e9 { return "\(Quantity.decimal(value / 1e9, places: size >= 1e11 ? 0 : 1)) B" }
        if size >= 1000 || value == value.rounded() { return Quantity.grouped(Int(value.rounded())) }
        return Quantity.decimal(value, places: size >= 100 ? 2 : size >= 10 ? 2 : size >= 1 ? 3 : 4)
    }

    /// A deviation with its sign.
    static func signedPercent(_ fraction: Double) -> String {
        let text = Quantity.decimal(fraction.magnitude * 100, places: 1)
        return (text == "0.0" ? "" : fraction < 0 ? "−" : "+") + text + " %"
    }
}
