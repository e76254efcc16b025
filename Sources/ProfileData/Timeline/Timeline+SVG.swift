// SPDX-License-Identifier: MIT

/// The still picture.
extension Timeline {
    private static let left = 150.0
    private static let plotWidth = 1620.0
    private static let laneHeight = 64.0
    private static let bandHeight = 18.0
    private static let laneGap = 22.0
    private static let top = 150.0

    /// The picture as SVG, 1800 wide.
    public func svg() -> String {
        let lanes = lanes(shortest: length / Int64(Self.plotWidth * 2))
        let height = Self.top + Double(lanes.count) * (Self.laneHeight + Self.bandHeight + Self.laneGap) + 110
        var svg = """
            <svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 1800 \(Int(height))" width="1800" \
            height="\(Int(height))" font-family="Inter, 'Segoe UI', 'DejaVu Sans', sans-serif">
            <rect width="100%" height="100%" fill="#ffffff"/>
            <text x="30" y="44" font-size="24" font-weight="600" fill="#0f172a">\(Self.escaped(title))</text>

            """
        svg += figures()
        svg += ruler(bottom: height - 100)
        for (index, lane) in lanes.enumerated() {
            svg += draw(lane, y: Self.top + Double(index) * (Self.laneHeight + Self.bandHeight + Self.laneGap))
        }
        svg += exposures(bottom: height - 100)
        svg += legend(y: height - 66)
        return svg + "</svg>\n"
    }

    private func x(_ time: Int64) -> Double {
        Self.left + Double(time) / Double(length) * Self.plotWidth
    }

    private func number(_ value: Double) -> String { Self.decimal(value, places: 2) }

    private func figures() -> String {
        let communication = report.communication
        let figures = [
            ("span", Self.text(report.span)),
            ("something runs", percent(report.active, of: report.span)),
            ("computing", percent(report.computing, of: report.span)),
            ("communication", Self.text(communication.total)),
            ("hidden", percent(communication.hidden, of: communication.total)),
            ("exposed", Self.text(communication.exposed)),
        ]
        var svg = ""
        for (index, figure) in figures.enumerated() {
            let x = 30 + index * 190
            let color = figure.0 == "exposed" ? "#dc2626" : "#0f172a"
            svg += """
                <text x="\(x)" y="80" font-size="13" fill="#64748b">\(figure.0)</text>\
                <text x="\(x)" y="104" font-size="20" font-weight="600" fill="\(color)">\(figure.1)</text>

                """
        }
        return svg
    }

    private func percent(_ part: Int64, of whole: Int64) -> String {
        whole == 0 ? "–" : "\(Self.decimal(100 * Double(part) / Double(whole), places: 1)) %"
    }

    private func ruler(bottom: Double) -> String {
        let step = step(count: 14)
        var svg = ""
        var time: Int64 = 0
        while time <= length {
            let x = number(x(time))
            svg += """
                <line x1="\(x)" x2="\(x)" y1="\(Self.top - 14)" y2="\(bottom)" stroke="#e2e8f0"/>\
                <text x="\(x)" y="\(Self.top - 20)" font-size="12" fill="#64748b" text-anchor="middle">\
                \(mark(time))</text>

                """
            time += step
        }
        return svg
    }

    /// A time on the ruler.
    private func mark(_ time: Int64) -> String {
        guard time > 0 else { return "0" }
        let parts = Self.text(time).split(separator: " ")
        var number = parts[0]
        while number.contains("."), number.hasSuffix("0") || number.hasSuffix(".") {
            if number.removeLast() == "." { break }
        }
        return parts.count == 2 ? "\(number) \(parts[1])" : String(number)
    }

    /// Whether light text is read better on a class's colour.
    private static func isDark(_ kernelClass: KernelClass) -> Bool {
        switch kernelClass {
        case .weightGradientGemm, .groupedGemm, .attentionBackward, .rope, .layout, .collective: true
        default: false
        }
    }

    private func draw(_ lane: Lane, y: Double) -> String {
        let boxTop = y + Self.bandHeight
        var svg = """
            <text x="30" y="\(number(boxTop + 30))" font-size="15" font-weight="600" fill="#0f172a">\
            \(Self.escaped(String(lane.title.prefix(16))))</text>\
            <text x="30" y="\(number(boxTop + 49))" font-size="12" fill="#64748b">\
            busy \(Self.decimal(lane.busyFraction * 100, places: 1)) %</text>\
            <rect x="\(Self.left)" y="\(number(boxTop))" width="\(Self.plotWidth)" height="\(Self.laneHeight)" \
            fill="#f8fafc"/>

            """
        for band in lane.bands {
            let width = x(band.end) - x(band.start)
            guard width > 1.5 else { continue }
            svg += """
                <rect x="\(number(x(band.start)))" y="\(number(y))" width="\(number(width - 1))" height="14" rx="2" \
                fill="#eef2ff"/>
                """
            let fits = Int(width / 6.6)
            if band.name.count <= fits {
                svg += """
                    <text x="\(number(x(band.start) + width / 2))" y="\(number(y + 11))" font-size="10.5" \
                    fill="#4338ca" text-anchor="middle">\(Self.escaped(band.name))</text>
                    """
            }
        }
        for box in lane.boxes {
            let width = max(0.3, x(box.start + box.duration) - x(box.start))
            svg += """
                <rect x="\(number(x(box.start)))" y="\(number(boxTop))" width="\(number(width))" \
                height="\(Self.laneHeight)" fill="\(Self.color(box.kernelClass))"\
                \(width > 4 ? " stroke=\"#ffffff\" stroke-width=\"0.6\"" : "")/>
                """
            // Only wide boxes have room for a name.
            let label = width > 20 ? KernelName(trace.names[box.name]).short : ""
            if box.count == 1, !label.isEmpty, width > Double(label.count) * 6.4 + 6 {
                let ink = Self.isDark(box.kernelClass) ? "#f8fafc" : "#0f172a"
                svg += """
                    <text x="\(number(x(box.start) + width / 2))" y="\(number(boxTop + 36))" font-size="11" \
                    fill="\(ink)" text-anchor="middle">\(Self.escaped(label))</text>
                    """
            }
        }
        return svg + "\n"
    }

    private func exposures(bottom: Double) -> String {
        var svg = ""
        for (index, gap) in report.communication.gaps.prefix(Self.maximumBoxes / 100).enumerated() {
            let width = x(gap.start + gap.duration) - x(gap.start)
            guard width >= 0.05 else { continue }
            svg += """
                <rect x="\(number(x(gap.start)))" y="\(Self.top - 12)" width="\(number(width))" \
                height="\(number(bottom - Self.top + 12))" fill="#dc2626" fill-opacity="0.13"/>\
                <rect x="\(number(x(gap.start)))" y="\(Self.top - 12)" width="\(number(width))" height="6" \
                fill="#dc2626"/>
                """
            if index < 3, width > 3 {
                svg += """
                    <text x="\(number(x(gap.start) + width / 2))" y="\(number(bottom + 14))" font-size="11" \
                    fill="#dc2626" text-anchor="middle">\(Self.text(gap.duration)) exposed</text>
                    """
            }
        }
        return svg + "\n"
    }

    private func legend(y: Double) -> String {
        var svg = ""
        let perRow = 7
        for (index, entry) in classes.enumerated() {
            let x = 30 + Double(index % perRow) * 250
            let y = y + Double(index / perRow) * 28
            svg += """
                <rect x="\(number(x))" y="\(number(y - 11))" width="14" height="14" rx="3" \
                fill="\(Self.color(entry.kernelClass))"/>\
                <text x="\(number(x + 21))" y="\(number(y + 1))" font-size="12.5" fill="#334155">\
                \(entry.kernelClass.title) · \(Self.text(entry.total))</text>

                """
        }
        return svg
    }
}
