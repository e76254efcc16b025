// SPDX-License-Identifier: MIT

import Planner
import Platform
import TestSupport
import Testing

@Suite("Request traces")
struct TraceTests {
    private func trace(_ text: String) throws(FathomError) -> RequestTrace {
        try RequestTrace(jsonLines: Array(text.utf8), source: "trace.jsonl")
    }

    /// The published hour of conversations, which is not part of the tree.
    private static let path = FilePaths.join(
        FilePaths.parent(of: TestPaths.repository), "shared/traces/mooncake-conversation.jsonl.gz")

    private static let isThere: Bool = {
        let found = FilePaths.exists(path)
        if !found { print("SKIPPED: tests on the published request trace, because \(path) is not there") }
        return found
    }()

    @Test("the published trace has its hit rate under every size of the cache", .enabled(if: isThere))
    func published() throws {
        let unpacked = try ToolRun("gzip", ["-dc", Self.path])
        try #require(unpacked.status == 0)
        let trace = try RequestTrace(jsonLines: Array(unpacked.output.utf8), source: Self.path)
        #expect(trace.requests.count == 12_031)
        #expect(trace.inputTokens == 144_793_823 && trace.outputTokens == 4_122_048)
        let wanted: [(Int?, Double)] = [(nil, 37.4), (1000, 4.5), (10_000, 21.5), (50_000, 36.2), (100_000, 37.1)]
        for (blocks, percent) in wanted {
            let found = trace.traced(cacheBlocks: blocks).hitRate * 100
            #expect((found * 10).rounded() / 10 == percent, "\(blocks ?? -1): \(found)")
        }
    }

    @Test("a block is found only behind all before it, and the least recently used one is forgotten")
    func recency() throws {
        let text = [[1, 2], [3], [1, 2], [4], [3], [1, 9, 2]].enumerated().map { index, ids in
            "{\"timestamp\": \(index), \"input_length\": \(512 * ids.count), \"output_length\": 1, "
                + "\"hash_ids\": \(ids)}"
        }.joined(separator: "\n")
        let trace = try trace(text)
        var cache = PrefixCacheReplay(capacity: 3)
        let hits = trace.requests.map { cache.look(up: $0, blockTokens: 512) / 512 }
        // 4 pushes 3 out, 3 pushes 1 out; then 1 is gone, and 2 behind it does not count.
        #expect(hits == [0, 0, 2, 0, 0, 0])
        #expect(cache.heldBlocks == 3)
        var endless = PrefixCacheReplay(capacity: nil)
        #expect(trace.requests.map { endless.look(up: $0, blockTokens: 512) / 512 } == [0, 0, 2, 0, 1, 1])
    }

    @Test(
        "bad lines are named with file, line, field and unit",
        arguments: [
            ("{\"timestamp\": 0, \"input_length\": 0, \"output_length\": 1}", ["line 1", "input_length", "tokens"]),
            ("{\"timestamp\": -5, \"input_length\": 1, \"output_length\": 1}", ["timestamp", "milliseconds"]),
            ("{\"timestamp\": 0, \"input_length\": 9}", ["output_length", "missing"]),
            ("{\"timestamp\": 0, \"input_length\": 9, \"output_length\": 1, \"hash_ids\": [1, 2]}", ["2 blocks"]),
            ("\n{\"timestamp\": 0", ["line 2"]), ("", ["no requests"]),
            (
                """
                {"timestamp": 9, "input_length": 1, "output_length": 1}
                {"timestamp": 8, "input_length": 1, "output_length": 1}
                """, ["line 2", "8 ms", "9 ms"]
            ),
        ])
    func bad(text: String, words: [String]) {
        expectFailure(.badData, naming: ["trace.jsonl"] + words) { () throws(FathomError) in _ = try trace(text) }
    }
}
