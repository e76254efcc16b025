// SPDX-License-Identifier: MIT

/// One self-contained page about a simulated day: curves, and every figure beside the published one.
public struct PlanPage: Sendable {
    /// A drawing with its heading.
    struct Section {
        var title: String
        var note: String
        var chart: SVGChart
    }

    var title: String
    var subtitle: String
    /// Large numbers at the top: name, value, and a line below.
    var cards: [(name: String, value: String, note: String)]
    var sections: [Section]
    var groups: [FigureGroup]

    /// The page as HTML.
    public var html: String {
        var text = "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">"
        text += "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">"
        text += "<title>\(Self.escape(title))</title><style>\(Self.style)</style></head><body><main>"
        text += "<header><h1>\(Self.escape(title))</h1><p>\(Self.escape(subtitle))</p></header><div class=\"cards\">"
        for card in cards {
            text +=
                "<div class=\"card\"><span>\(Self.escape(card.name))</span><strong>\(Self.escape(card.value))</strong>"
            text += "<small>\(Self.escape(card.note))</small></div>"
        }
        text += "</div>"
        for section in sections { text += Self.figure(section) }
        text += "<section><h2>Every figure</h2><p class=\"legend\">"
        for basis in Figure.Basis.allCases {
            text += "<span><b class=\"badge \(Self.color(basis))\">\(basis.rawValue)</b> \(Self.meaning(basis))</span>"
        }
        text += "</p>"
        for group in groups { text += Self.table(group) }
        return text + "</section></main></body></html>\n"
    }

    private static func figure(_ section: Section) -> String {
        let legend = section.chart.series.map { "<span><i class=\"\($0.color)\"></i>\(escape($0.name))</span>" }
            .joined()
        return "<section><h2>\(escape(section.title))</h2><p>\(escape(section.note))</p>"
            + "<p class=\"legend\">\(legend)</p>\(section.chart.text)</section>"
    }

    private static func table(_ group: FigureGroup) -> String {
        var text =
            "<h3>\(escape(group.title))</h3><table><thead><tr><th>figure</th><th class=\"n\">value</th><th>unit</th>"
        text +=
            "<th class=\"n\">published</th><th class=\"n\">off by</th><th></th><th>basis</th><th>from</th></tr></thead>"
        for figure in group.figures {
            let mark =
                switch figure.isMet {
                case .some(true): "<b class=\"good\">✓</b>"
                case .some(false): "<b class=\"off\">✗</b>"
                case .none: ""
                }
            text += "<tr><td>\(escape(figure.name))</td><td class=\"n\">\(number(figure.value))</td>"
            text += "<td>\(escape(figure.unit))</td><td class=\"n\">\(figure.published.map(number) ?? "")</td>"
            text += "<td class=\"n\">\(figure.deviation.map(percent) ?? "")</td><td>\(mark)</td>"
            text += "<td><b class=\"badge \(color(figure.basis))\">\(figure.basis.rawValue)</b></td>"
            text += "<td class=\"note\">\(escape(figure.note))</td></tr>"
        }
        return text + "</table>"
    }

    private static func color(_ basis: Figure.Basis) -> String {
        switch basis {
        case .input: "grey"
        case .closedForm: "blue"
        case .predicted: "violet"
        case .simulated: "green"
        case .calibrated: "amber"
        }
    }

    private static func meaning(_ basis: Figure.Basis) -> String {
        switch basis {
        case .input: "given"
        case .closedForm: "arithmetic on inputs"
        case .predicted: "from shapes, peaks and kernel tables"
        case .simulated: "from the simulated day"
        case .calibrated: "an input was chosen to give it: predicts nothing"
        }
    }

    /// A number as people read it.
    static func number(_ value: Double) -> String {
        let size = value.magnitude
        guard value.isFinite else { return "\(value)" }
        if size >= 1e9 { return "\(places(value / 1e9, size >= 1e11 ? 0 : 1)) B" }
        if size >= 1000 || value == value.rounded() {
            var digits = String(Int(size.rounded()))
            var groups: [String] = []
            while digits.count > 3 {
                groups.insert(String(digits.suffix(3)), at: 0)
                digits.removeLast(3)
            }
            return (value < 0 ? "−" : "") + ([digits] + groups).joined(separator: "\u{202F}")
        }
        return places(value, size >= 10 ? 2 : size >= 1 ? 3 : 4)
    }

    static func percent(_ fraction: Double) -> String {
        let text = places(fraction.magnitude * 100, 1)
        return (text == "0.0" ? "" : fraction < 0 ? "−" : "+") + text + " %"
    }

    /// A number with a fixed count of decimals.
    static func places(_ value: Double, _ count: Int) -> String {
        var scale = 1
        for _ in 0..<count { scale *= 10 }
        let whole = Int((value.magnitude * Double(scale)).rounded())
        let sign = value < 0 && whole > 0 ? "−" : ""
        guard count > 0 else { return "\(sign)\(whole)" }
        let rest = String(whole % scale)
        return "\(sign)\(whole / scale)." + String(repeating: "0", count: count - rest.count) + rest
    }

    static func escape(_ text: String) -> String {
        var result = ""
        for character in text {
            switch character {
            case "&": result += "&amp;"
            case "<": result += "&lt;"
            case ">": result += "&gt;"
            case "\"": result += "&quot;"
            default: result.append(character)
            }
        }
        return result
    }

    private static let style = """
        :root{--bg:#f6f7f9;--paper:#fff;--ink:#1c2430;--soft:#667085;--line:#e4e7ec;--blue:#2f6fed;--green:#12956b;\
        --amber:#d97706;--violet:#7c4dda;--grey:#98a2b3;--red:#d1353f}
        @media(prefers-color-scheme:dark){:root{--bg:#0f141b;--paper:#171e28;--ink:#e6eaf0;--soft:#93a0b4;\
        --line:#2a3443;--blue:#6b9bff;--green:#3ecf9a;--amber:#f5a742;--violet:#b08cff;--grey:#71809a;--red:#ff6b74}}
        *{box-sizing:border-box}body{margin:0;background:var(--bg);color:var(--ink);\
        font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif}
        main{max-width:1040px;margin:0 auto;padding:32px 20px 64px}\
        header p,section>p{color:var(--soft);margin:4px 0 12px}
        h1{font-size:28px;margin:0;letter-spacing:-.02em}h2{font-size:18px;margin:0}
        h3{font-size:14px;margin:28px 0 6px}
        .cards{display:grid;grid-template-columns:repeat(auto-fit,minmax(145px,1fr));gap:12px;margin:22px 0}
        .card,section{background:var(--paper);border:1px solid var(--line);border-radius:12px;padding:16px 18px}
        section{margin:16px 0;overflow-x:auto}.card span,.card small{display:block;color:var(--soft);font-size:13px}
        .card strong{display:block;font-size:25px;letter-spacing:-.02em;font-variant-numeric:tabular-nums}
        svg{width:100%;height:auto;display:block}.grid{stroke:var(--line)}
        .tick{fill:var(--soft);font-size:11px;font-variant-numeric:tabular-nums}
        .stroke{fill:none;stroke:currentColor;stroke-width:2.2;stroke-linejoin:round}
        .fill{fill:currentColor;opacity:.16;stroke:none}.bar{fill:currentColor;opacity:.75}
        .blue{color:var(--blue)}.green{color:var(--green)}.amber{color:var(--amber)}.violet{color:var(--violet)}
        .grey{color:var(--grey)}.red{color:var(--red)}
        .legend span{margin-right:18px;font-size:13px;color:var(--soft);white-space:nowrap}
        .legend i{display:inline-block;width:12px;height:12px;border-radius:3px;background:currentColor;\
        margin-right:6px;vertical-align:-1px}
        table{border-collapse:collapse;width:100%;font-size:13.5px}th{font-weight:500;color:var(--soft);text-align:left}
        th,td{padding:5px 8px;border-bottom:1px solid var(--line);vertical-align:top}.n{text-align:right;\
        font-variant-numeric:tabular-nums;white-space:nowrap}.note{color:var(--soft)}
        .badge{font-size:11.5px;font-weight:600;border:1px solid currentColor;border-radius:999px;padding:1px 8px;\
        white-space:nowrap}.good{color:var(--green)}.off{color:var(--red)}
        """
}
