// SPDX-License-Identifier: MIT

import Platform

/// The page in which one zooms.
extension Timeline {
    /// One page with everything in it.
    public func html() -> String {
        let perLane = Int64(max(1, Self.maximumBoxes / max(1, trace.streams.count)))
        let shortest = trace.operations.count <= Self.maximumBoxes ? 0 : length / perLane
        let page = String(decoding: PackageResources.timeline_html, as: UTF8.self)
        return page.replacing("/*DATA*/", with: json(lanes(shortest: shortest)))
    }

    /// The data of the page. Times in nanoseconds.
    private func json(_ lanes: [Lane]) -> String {
        var names: [NameID: Int] = [:]
        var nameList: [String] = []
        var text = "{\"title\":\(quoted(title)),\"span\":\(report.span),\"lanes\":["
        for (index, lane) in lanes.enumerated() {
            if index > 0 { text += "," }
            text +=
                "{\"title\":\(quoted(lane.title)),\"busy\":\(Self.decimal(lane.busyFraction, places: 5)),\"boxes\":["
            for (place, box) in lane.boxes.enumerated() {
                let name =
                    names[box.name]
                    ?? {
                        nameList.append(trace.names[box.name])
                        names[box.name] = nameList.count - 1
                        return nameList.count - 1
                    }()
                let kernelClass = KernelClass.allCases.firstIndex(of: box.kernelClass) ?? 0
                text +=
                    "\(place > 0 ? "," : "")[\(box.start),\(box.duration),\(kernelClass),\(name),\(box.count),"
                    + "\(box.grid)]"
            }
            text += "],\"bands\":["
            text += lane.bands.map { "[\($0.start),\($0.end),\(quoted($0.name))]" }.joined(separator: ",") + "]}"
        }
        text += "],\"names\":[" + nameList.map(quoted).joined(separator: ",") + "],\"short\":["
        text += nameList.map { quoted(KernelName($0).short) }.joined(separator: ",") + "],\"classes\":["
        let totals = classes
        text += KernelClass.allCases.map { kernelClass in
            let total = totals.first { $0.kernelClass == kernelClass }?.total ?? 0
            return
                "{\"title\":\(quoted(kernelClass.title)),\"color\":\"\(Self.color(kernelClass))\",\"total\":\(total),"
                + "\"communication\":\(kernelClass.isCommunication)}"
        }.joined(separator: ",")
        let communication = report.communication
        text += "],\"gaps\":["
        text += communication.gaps.prefix(Self.maximumBoxes / 10).map {
            "[\($0.start),\($0.duration),\(quoted($0.kernel)),\(quoted($0.before)),\(quoted($0.after))]"
        }.joined(separator: ",")
        return text + "],\"active\":\(report.active),\"computing\":\(report.computing),"
            + "\"communication\":\(communication.total),\"hidden\":\(communication.hidden),"
            + "\"exposed\":\(communication.exposed)}"
    }

    /// A text in JSON that may stand inside a page's script.
    private func quoted(_ text: String) -> String {
        var result = ""
        JSONValue.writeString(text, into: &result)
        return result.replacing("<", with: "\\u003c").replacing("\u{2028}", with: "\\u2028")
            .replacing("\u{2029}", with: "\\u2029")
    }
}
