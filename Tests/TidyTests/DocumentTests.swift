// SPDX-License-Identifier: MIT

import Testing

@Suite("Documentation is tidy")
struct DocumentTests {
    /// Modules whose one file says everything: the C header and the executable.
    static let withoutPage: Set<String> = ["CFathom", "CUCX", "fathom"]

    /// Requirements that swift-metrics explains.
    static let requirementsOfOthers: Set<String> = [
        "makeCounter", "makeFloatingPointCounter", "makeMeter", "makeRecorder", "makeTimer", "destroyCounter",
        "destroyFloatingPointCounter", "destroyMeter", "destroyRecorder", "destroyTimer",
    ]

    @Test("every module has its landing page")
    func landingPages() {
        let missing = SourceTree.modules.filter {
            !Self.withoutPage.contains($0) && !SourceTree.paths.contains("Sources/\($0)/\($0).docc/\($0).md")
        }
        #expect(missing.isEmpty, "no Sources/<module>/<module>.docc/<module>.md for \(missing)")
    }

    @Test("public and package declarations are documented")
    func declarations() throws {
        let sources = try SourceTree.swiftFiles(under: "Sources")
        let own = sources.reduce(into: Set<String>()) {
            $0.formUnion(DocumentationRules.documentedRequirements(in: $1))
        }
        let requirements = own.union(Self.requirementsOfOthers)
        let findings = sources.flatMap { DocumentationRules.undocumented(in: $0, requirements: requirements) }
        #expect(findings.isEmpty, "\(findings.listing)")
    }

    @Test("no link is dead")
    func links() throws {
        let known = Set(SourceTree.paths)
        let documents = try markdown()
        let anchors = Dictionary(uniqueKeysWithValues: documents.map { ($0.path, $0.anchors) })
        var findings: [Finding] = []
        for document in documents {
            for link in document.links {
                let target = document.resolved(link)
                if !known.contains(target), !known.contains(where: { $0.hasPrefix(target + "/") }) {
                    findings.append(
                        Finding(
                            path: document.path, line: link.line,
                            message: "link to \(target), which is not there"))
                } else if let anchor = link.anchor, anchors[target]?.contains(anchor) != true {
                    findings.append(
                        Finding(
                            path: document.path, line: link.line,
                            message: "\(target) has no heading #\(anchor)"))
                }
            }
        }
        #expect(findings.isEmpty, "\(findings.listing)")
    }

    @Test("every page in docs is linked from another page")
    func orphans() throws {
        let linked = Set(try markdown().flatMap { document in document.links.map(document.resolved) })
        let orphans = SourceTree.paths(under: "docs", suffix: ".md").filter { !linked.contains($0) }
        #expect(orphans.isEmpty, "\(orphans)")
    }

    @Test("every test that the mapping names exists")
    func mapping() throws {
        let tests = try SourceTree.swiftFiles(under: "Tests").flatMap(\.lines).joined(separator: "\n")
        var findings: [Finding] = []
        let lines = try SourceTree.text("docs/mapping.md").split(
            separator: "\n", omittingEmptySubsequences: false)
        for (number, line) in lines.enumerated() where line.hasPrefix("|") {
            for match in line.matches(of: /`(\w+Tests)\/(\w+)`/) {
                let path = "Tests/\(match.output.1)/"
                let isThere =
                    SourceTree.paths.contains { $0.hasPrefix(path) }
                    && tests.contains("struct \(match.output.2)")
                if !isThere {
                    findings.append(
                        Finding(
                            path: "docs/mapping.md", line: number + 1,
                            message: "no suite \(match.output.2) in \(match.output.1)"))
                }
            }
        }
        #expect(findings.isEmpty, "\(findings.listing)")
    }

    private func markdown() throws -> [Markdown] {
        try SourceTree.paths(suffix: ".md").map { Markdown(path: $0, text: try SourceTree.text($0)) }
    }
}
