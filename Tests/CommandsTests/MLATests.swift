// SPDX-License-Identifier: MIT

import Foundation
import Testing

@Suite("fathom mla", .timeLimit(.minutes(5)))
struct MLATests {
    @Test("bench measures every format and both directions of packed attention, as text and as JSON")
    func bench() async throws {
        let text = try await FathomProcess.run(["mla", "bench", "--smoke"])
        #expect(text.status == 0 && text.errors.isEmpty)
        for word in ["bf16", "fp16", "fp32", "v32", "of bound", "multiply-add", "forward", "backward"] {
            #expect(text.output.contains(word))
        }
        let outcome = try await FathomProcess.run(["mla", "bench", "--smoke", "--lengths", "drawn", "--json"])
        #expect(outcome.status == 0)
        let object = try #require(
            try JSONSerialization.jsonObject(with: Data(outcome.output.utf8)) as? [String: Any])
        let cases = try #require(object["decode"] as? [[String: Any]])
        // Drawn lengths and equal ones of the same total, in four formats.
        #expect(cases.count == 8)
        for item in cases {
            #expect((item["gigaflops"] as? Double ?? 0) > 0 && (item["ofBound"] as? Double ?? 0) > 0)
            #expect((item["speedOfEqual"] != nil) == (item["lengths"] as? String == "drawn"))
        }
        #expect((object["mha"] as? [Any])?.count == 2)
    }

    @Test("explain shows the items, the threads' costs and the memory")
    func explain() async throws {
        let command = ["mla", "explain", "--lengths", "32768,300,0", "--threads", "3", "--heads", "16"]
        let text = try await FathomProcess.run(command)
        #expect(text.status == 0 && text.output.contains("split") && text.output.contains("balance"))
        let outcome = try await FathomProcess.run(command + ["--json"])
        let object = try #require(
            try JSONSerialization.jsonObject(with: Data(outcome.output.utf8)) as? [String: Any])
        let items = try #require(object["items"] as? [[String: Any]])
        #expect(Set(items.compactMap { $0["request"] as? Int }) == [0, 1, 2])
        #expect((object["threadCosts"] as? [Int])?.count == 3)
        #expect((object["balance"] as? Double ?? 0) > 0.9)
    }

    @Test(
        "wrong options are usage and named",
        arguments: [
            (["explain", "--lengths", "5,x"], "5,x"), (["explain", "--lengths", "5", "--heads", "0"], "--heads"),
            (["explain", "--lengths", "5", "--heads", "5", "--key-heads", "2"], "5 query heads share 2 key heads"),
            (["bench", "--format", "fp8"], "fp8"), (["bench", "--lengths", "5,-1"], "-1"),
            (["bench", "--heads", "0"], "--heads"), (["bench", "--threads", "0"], "--threads"),
        ])
    func usage(arguments: [String], word: String) async throws {
        let outcome = try await FathomProcess.run(["mla"] + arguments)
        #expect(outcome.status == 64, "\(outcome)")
        #expect(outcome.errors.contains(word), "\(outcome.errors)")
    }
}
