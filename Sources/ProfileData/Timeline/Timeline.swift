// SPDX-License-Identifier: MIT

/// A trace as a picture: streams as lanes, classes as colours, phases above them, exposed communication marked.
///
/// As an SVG it is a picture; as HTML one file, without anything from elsewhere, in which one zooms.
public struct Timeline: Sendable {
    /// Boxes of one picture at most; shorter work is drawn together where there is more.
    static let maximumBoxes = 200_000

    /// Work that is drawn as one box.
    struct Box {
        /// From the span's start, in nanoseconds.
        var start: Int64
        var duration: Int64
        var kernelClass: KernelClass
        var name: NameID
        /// Operations in it.
        var count: Int
        var grid: Int32
    }

    /// Consecutive work of one annotation on a stream.
    struct Band {
        var start: Int64
        var end: Int64
        var name: String
    }

    struct Lane {
        var title: String
        var busyFraction: Double
        var boxes: [Box]
        var bands: [Band]
    }

    let trace: Trace
    let report: ProfileReport
    let title: String

    /// A picture of a trace; `title` stands above it.
    public init(_ trace: Trace, title: String) {
        self.trace = trace
        self.title = title
        report = ProfileReport(trace)
    }

    /// The span in nanoseconds; at least one.
    var length: Int64 { max(1, report.span) }

    /// The lanes; boxes shorter than `shortest` nanoseconds are joined to their neighbours.
    func lanes(shortest: Int64) -> [Lane] {
        let origin = trace.span.lowerBound
        let phases = trace.phaseOfOperations
        var lanes = report.streams.map { use in
            Lane(
                title: use.title, busyFraction: Double(use.busy) / Double(length), boxes: [], bands: [])
        }
        var lastPhase = [Int32](repeating: -2, count: lanes.count)
        for (index, operation) in trace.operations.enumerated() {
            let stream = Int(operation.stream)
            let box = Box(
                start: operation.start - origin, duration: operation.duration, kernelClass: operation.kernelClass,
                name: operation.name, count: 1, grid: operation.grid.x)
            Self.add(box, to: &lanes[stream].boxes, shortest: shortest)
            if phases[index] >= 0 {
                let end = box.start + box.duration
                if lastPhase[stream] == phases[index] {
                    lanes[stream].bands[lanes[stream].bands.count - 1].end = end
                } else {
                    let name = trace.names[trace.annotations[Int(phases[index])].name]
                    lanes[stream].bands.append(Band(start: box.start, end: end, name: name))
                }
            }
            lastPhase[stream] = phases[index]
        }
        return lanes
    }

    /// Adds a box, or joins it to the last one where both are short and near each other.
    private static func add(_ box: Box, to boxes: inout [Box], shortest: Int64) {
        guard let last = boxes.last, last.duration < shortest, box.duration < shortest,
            box.start - (last.start + last.duration) < shortest
        else { return boxes.append(box) }
        var joined = box.duration > last.duration ? box : last
        joined.start = last.start
        joined.duration = max(last.duration, box.start + box.duration - last.start)
        joined.count = last.count + 1
        boxes[boxes.count - 1] = joined
    }

    /// The classes that occur, in the order of `KernelClass`, with their summed time.
    var classes: [(kernelClass: KernelClass, total: Int64)] {
        KernelClass.allCases.compactMap { kernelClass in
            report.classes.first { $0.kernelClass == kernelClass.rawValue }.map { (kernelClass, $0.total) }
        }
    }

    /// Warm colours communicate, cool ones compute.
    static func color(_ kernelClass: KernelClass) -> String {
        switch kernelClass {
        case .dispatch: "#f59e0b"
        case .combine: "#ea580c"
        case .notify: "#fcd34d"
        case .layout: "#a16207"
        case .collective: "#be123c"
        case .weightGradientGemm: "#1e40af"
        case .groupedGemm: "#2563eb"
        case .denseGemm: "#60a5fa"
        case .attentionForward: "#34d399"
        case .attentionBackward: "#059669"
        case .cast: "#94a3b8"
        case .permute: "#a78bfa"
        case .norm: "#d8b4fe"
        case .swiglu: "#22d3ee"
        case .rope: "#0e7490"
        case .other: "#cbd5e1"
        }
    }

    /// Nanoseconds as text with a unit that suits them.
    static func text(_ nanoseconds: Int64) -> String {
        let (value, unit): (Double, String) =
            switch nanoseconds.magnitude {
            case 0..<1_000_000: (Double(nanoseconds) / 1e3, "µs")
            case 1_000_000..<10_000_000_000: (Double(nanoseconds) / 1e6, "ms")
            default: (Double(nanoseconds) / 1e9, "s")
            }
        return "\(decimal(value, places: value.magnitude < 100 ? 2 : 1)) \(unit)"
    }

    static func decimal(_ value: Double, places: Int) -> String {
        var scale = 1.0
        for _ in 0..<places { scale *= 10 }
        let scaled = Int64((value.magnitude * scale).rounded())
        let sign = value < 0 && scaled > 0 ? "-" : ""
        guard places > 0 else { return "\(sign)\(scaled)" }
        let digits = "\(scaled % Int64(scale))"
        let zeros = String(repeating: "0", count: places - digits.count)
        return "\(sign)\(scaled / Int64(scale)).\(zeros)\(digits)"
    }

    /// Text inside XML.
    static func escaped(_ text: String) -> String {
        var result = ""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "&": result += "&amp;"
            case "<": result += "&lt;"
            case ">": result += "&gt;"
            case "\"": result += "&quot;"
            case _ where scalar.value < 0x20: result += " "
            default: result.unicodeScalars.append(scalar)
            }
        }
        return result
    }

    /// The step of a ruler with about `count` marks, in nanoseconds: 1, 2 or 5 of a power of ten.
    func step(count: Int) -> Int64 {
        var step: Int64 = 1
        while step < Int64.max / 20 {
            for factor in [1, 2, 5] as [Int64] where length / (step * factor) <= Int64(count) { return step * factor }
            step *= 10
        }
        return step
    }
}
