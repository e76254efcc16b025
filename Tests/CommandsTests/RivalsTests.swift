// SPDX-License-Identifier: MIT

import Foundation
import TestSupport
import Testing

@Suite("Benchmarks/rivals", .timeLimit(.minutes(5)))
struct RivalsTests {
    @Test("run-rivals finds a figure of Fathom for every row, with no rival installed")
    func everyRow() async throws {
        let folder = try TemporaryFolder()
        // An environment without packages: what the script measures of others is left out.
        let environment = "\(folder.path)/environment/bin"
        try FileManager.default.createDirectory(atPath: environment, withIntermediateDirectories: true)
        try "#!/bin/sh\nexec python3 -S \"$@\"\n".write(
            toFile: "\(environment)/python", atomically: true, encoding: .utf8)
        try FileManager.default.setAttributes([.posixPermissions: 0o755], ofItemAtPath: "\(environment)/python")
        let record = "\(folder.path)/record.json"
        let script = "\(TestPaths.repository)/Benchmarks/rivals/run-rivals"
        let outcome = try await FathomProcess.shell(
            "\(script) --smoke --no-install --venv \(folder.path)/environment --fathom \(FathomProcess.path)"
                + " --json \(record)")
        #expect(outcome.status == 0, "\(outcome.errors)")
        let object = try #require(
            try JSONSerialization.jsonObject(with: Data(contentsOf: URL(filePath: record))) as? [String: Any])
        let rows = try #require(object["ratios"] as? [[String: Any]])
        let names = rows.compactMap { $0["what"] as? String }
        for name in [
            "fp32 m 16 n 64 k 256", "fp8 m 1 n 64 k 256", "mla decode bf16, 16 heads, 4096",
            "mha bf16, 2 heads, 64, causal, backward", "prefill", "decode, head fp8",
        ] {
            #expect(names.contains(name), "\(names)")
        }
        #expect(names.contains { $0.hasPrefix("eplb ") })
        for row in rows { #expect((row["fathom"] as? Double ?? 0) > 0, "\(row)") }
    }
}
