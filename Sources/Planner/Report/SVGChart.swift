// SPDX-License-Identifier: MIT

/// A chart over the hours of a window, as SVG text: lines, steps, areas and bars on one vertical axis from 0.
struct SVGChart {
    /// How a series is drawn.
    enum Style {
        case line
        case steps
        case area
        case bars
    }

    /// Numbers over equal stretches of time, or points in time for steps.
    struct Series {
        var name: String
        /// A class of the page's style sheet, which gives the colour.
        var color: String
        var style: Style
        /// Hours since the beginning, and values.
        var points: [(hour: Double, value: Double)]
    }

    var hours: Double
    /// The hour of the day at the beginning.
    var firstHour: Int
    var unit: String
    var series: [Series]

    private static let (width, height) = (920.0, 260.0)
    private static let (left, right, top, bottom) = (56.0, 12.0, 14.0, 30.0)
    private static let ticks = 4

    private var most: Double {
        let largest = series.flatMap(\.points).map(\.value).max() ?? 1
        return Self.niceCeiling(max(largest, 1e-9))
    }

    /// The smallest of 1, 2, 2.5, 3, 4, 5, 6, 8 and 10 times a power of ten that is not below `value`.
    static func niceCeiling(_ value: Double) -> Double {
        var power = 1.0
        while power * 10 < value { power *= 10 }
        while power > value { power /= 10 }
        for step in [1, 1.2, 1.6, 2, 2.4, 3, 3.2, 4, 5, 6, 8] where step * power >= value * (1 - 1e-9) {
            return step * power
        }
        return 10 * power
    }

    private func x(_ hour: Double) -> Double {
        Self.left + hour / hours * (Self.width - Self.left - Self.right)
    }

    private func y(_ value: Double) -> Double {
        Self.height - Self.bottom - value / most * (Self.height - Self.top - Self.bottom)
    }

    /// The `svg` element.
    var text: String {
        var text = "<svg viewBox=\"0 0 \(Int(Self.width)) \(Int(Self.height))\" role=\"img\">"
        for tick in 0...Self.ticks {
            let value = most * Double(tick) / Double(Self.ticks)
            let at = Self.short(y(value))
            text += "<line class=\"grid\" x1=\"\(Int(Self.left))\" x2=\"\(Int(Self.width - Self.right))\" y1=\"\(at)\" "
            text += "y2=\"\(at)\"/><text class=\"tick\" text-anchor=\"end\" x=\"\(Int(Self.left) - 8)\" "
            text += "y=\"\(Self.short(y(value) + 4))\">\(Self.label(value))</text>"
        }
        for hour in stride(from: 0, through: Int(hours), by: hours > 12 ? 3 : 1) {
            let name = (firstHour + hour) % 24
            let anchor = Double(hour) == hours ? "end" : "middle"
            text += "<text class=\"tick\" text-anchor=\"\(anchor)\" x=\"\(Self.short(x(Double(hour))))\" "
            text += "y=\"\(Int(Self.height) - 10)\">\(name < 10 ? "0" : "")\(name):00</text>"
        }
        text += "<text class=\"tick\" x=\"\(Int(Self.left) + 4)\" y=\"\(Int(Self.top) + 2)\">\(unit)</text>"
        for one in series { text += draw(one) }
        return text + "</svg>"
    }

    private func draw(_ series: Series) -> String {
        guard let first = series.points.first, let last = series.points.last else { return "" }
        switch series.style {
        case .bars:
            let width = (x(hours) - x(0)) / Double(series.points.count)
            return series.points.map { hour, value in
                let title = "<title>\(PlanPage.escape(series.name)): \(Self.label(value)) \(unit)</title>"
                return "<rect class=\"\(series.color) bar\" x=\"\(Self.short(x(hour) + width * 0.12))\" "
                    + "y=\"\(Self.short(y(value)))\" width=\"\(Self.short(width * 0.76))\" "
                    + "height=\"\(Self.short(y(0) - y(value)))\" rx=\"2\">\(title)</rect>"
            }.joined()
        case .line, .area:
            var path = series.points.enumerated().map { index, point in
                "\(index == 0 ? "M" : "L")\(Self.short(x(point.hour))) \(Self.short(y(point.value)))"
            }.joined()
            if series.style == .area {
                path += "L\(Self.short(x(last.hour))) \(Self.short(y(0)))L\(Self.short(x(first.hour))) "
                path += "\(Self.short(y(0)))Z"
            }
            return element(series, path)
        case .steps:
            var path = "M\(Self.short(x(first.hour))) \(Self.short(y(first.value)))"
            for point in series.points.dropFirst() {
                path += "H\(Self.short(x(point.hour)))V\(Self.short(y(point.value)))"
            }
            return element(series, path + "H\(Self.short(x(hours)))")
        }
    }

    private func element(_ series: Series, _ path: String) -> String {
        "<path class=\"\(series.color) \(series.style == .area ? "fill" : "stroke")\" d=\"\(path)\">"
            + "<title>\(PlanPage.escape(series.name))</title></path>"
    }

    /// A coordinate with one decimal.
    static func short(_ value: Double) -> String {
        let tenths = Int((value * 10).rounded())
        return tenths % 10 == 0 ? "\(tenths / 10)" : "\(tenths < 0 ? "-" : "")\(abs(tenths) / 10).\(abs(tenths) % 10)"
    }

    /// A number on an axis.
    static func label(_ value: Double) -> String {
        if value >= 1e6 { return "\(short(value / 1e6))M" }
        if value >= 1e4 { return "\(short(value / 1e3))k" }
        return short(value)
    }
}
