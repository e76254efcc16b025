// SPDX-License-Identifier: MIT

import Foundation
import Platform
import TestSupport
import Testing

@Suite("fathom profile", .timeLimit(.minutes(5)))
struct ProfileCommandTests {
    private static let trace = FilePaths.join(
        FilePaths.parent(of: TestPaths.repository), "shared/profile-data/train.json.gz")
    private static let hasTrace: Bool = {
        let found = FilePaths.exists(trace)
        if !found { print("SKIPPED: tests on the training trace, because \(trace) is not there") }
        return found
    }()

    @Test("the training trace's report, for people and programs", .enabled(if: hasTrace))
    func report() async throws {
        let text = try await FathomProcess.run(["profile", "report", Self.trace])
        #expect(text.status == 0, "\(text.errors)")
        for words in ["span 129 012 µs", "113 440 µs: 109 263 hidden = 96.3 %", "32 756", "combine(B)"] {
            #expect(text.output.contains(words), "\(words)")
        }
        let json = try await FathomProcess.run(["profile", "report", Self.trace, "--json"])
        #expect(try json.object()["span"] as? Int == 129_012_000)
    }

    @Test("what-if says the new span and what it waits for", .enabled(if: hasTrace))
    func whatIf() async throws {
        let outcome = try await FathomProcess.run(["profile", "what-if", Self.trace, "--no-notify", "--json"])
        #expect(outcome.status == 0, "\(outcome.errors)")
        let object = try outcome.object()
        let before = try #require(object["before"] as? [String: Any])
        let after = try #require(object["after"] as? [String: Any])
        #expect(before["span"] as? Int == 129_012_000)
        #expect(try #require(after["span"] as? Int) < 129_012_000)
        #expect((after["critical"] as? [Any])?.isEmpty == false)
    }

    @Test("a command's own trace is reported, drawn and compared")
    func ownTrace() async throws {
        let folder = try TemporaryFolder()
        let file = FilePaths.join(folder.path, "run.json")
        let run = try await FathomProcess.run(["gemm", "bench", "--smoke", "--trace", file])
        #expect(run.status == 0, "\(run.errors)")
        #expect(run.errors.contains("spans of"))
        let report = try await FathomProcess.run(["profile", "report", file, "--json"])
        #expect(report.status == 0, "\(report.errors)")
        let kernels = try #require(try report.object()["kernels"] as? [[String: Any]])
        #expect(kernels.contains { $0["name"] as? String == "gemm" })
        for name in ["run.html", "run.svg"] {
            let picture = FilePaths.join(folder.path, name)
            let drawn = try await FathomProcess.run(["profile", "timeline", file, "-o", picture])
            #expect(drawn.status == 0, "\(drawn.errors)")
            #expect(FilePaths.exists(picture))
        }
        let compared = try await FathomProcess.run(["profile", "compare", file, file])
        #expect(compared.status == 0 && compared.output.contains("1.000"))
    }

    @Test(
        "bad input has its status and says what is legal",
        arguments: [
            (["report", "/nowhere.json"], 66, "/nowhere.json"), (["report", "/dev/null"], 65, "byte 0"),
            (["what-if", "x.json", "--faster", "attention"], 64, "attention=1.5"),
            (["what-if", "x.json", "--faster", "nothing=2"], 64, "--faster"),
            (["what-if", "x.json", "--sm-split", "1"], 64, "108/24"),
            (["timeline", "x.json", "-o", "x.png"], 64, ".svg"), (["report", "x.json", "--gaps", "-1"], 64, "--gaps"),
        ] as [([String], Int32, String)])
    func badInput(arguments: [String], status: Int32, words: String) async throws {
        let outcome = try await FathomProcess.run(["profile"] + arguments)
        #expect(outcome.status == status, "\(outcome.errors)")
        #expect(outcome.errors.contains(words), "\(outcome.errors)")
        #expect(outcome.output.isEmpty)
    }
}
