// SPDX-License-Identifier: MIT

import Platform
import ProfileData
import TestSupport
import Testing

@Suite("Timeline")
struct TimelineTests {
    private func trace() throws -> Trace {
        try Trace(
            json: """
                [{"ph": "X", "cat": "kernel", "name": "ep::dispatch<a & \\"b\\">()</script>", "pid": 0, "tid": 1,
                  "ts": 0, "dur": 10},
                 {"ph": "X", "cat": "kernel", "name": "gemm", "pid": 0, "tid": 2, "ts": 10, "dur": 5}]
                """)
    }

    @Test("The page holds everything, and no text of a trace ends its script")
    func html() throws {
        let page = Timeline(try trace(), title: "a </script> b").html()
        #expect(page.contains(#""span":15000"#))
        #expect(!page.contains("http://") && !page.contains("https://"))
        #expect(page.components(of: "</script>") == 2)
        #expect(!page.contains("/*DATA*/"))
        let start = try #require(page.firstRange(of: "type=\"application/json\">"))
        let rest = page[start.upperBound...]
        let end = try #require(rest.firstRange(of: "</script>"))
        _ = try JSONValue(parsing: Array(rest[..<end.lowerBound].utf8), sourcePath: "data")
    }

    @Test("The picture is balanced XML with escaped texts")
    func svg() throws {
        let svg = Timeline(try trace(), title: "a <b> & \"c\"").svg()
        #expect(svg.contains("a &lt;b&gt; &amp; &quot;c&quot;"))
        #expect(svg.components(of: "<text") == svg.components(of: "</text>"))
        #expect(svg.hasPrefix("<svg xmlns=") && svg.hasSuffix("</svg>\n"))
        #expect(svg.contains("exposed"))
    }
}

extension String {
    /// How often `part` occurs.
    fileprivate func components(of part: String) -> Int { ranges(of: part).count }
}
