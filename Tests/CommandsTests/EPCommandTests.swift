// SPDX-License-Identifier: MIT

import Testing

@Suite("fathom ep", .timeLimit(.minutes(5)))
struct EPCommandTests {
    @Test(
        "a simulation replays byte for byte, with and without a death",
        arguments: [[], ["--death"], ["--mode", "low-latency"], ["--mode", "low-latency", "--death"]])
    func simulate(flags: [String]) async throws {
        let command = ["ep", "simulate", "--seed", "11", "--runs", "20", "--json"] + flags
        let first = try await FathomProcess.run(command)
        #expect(first.status == 0)
        #expect(first.output == (try await FathomProcess.run(command)).output)
        #expect(first.output.contains("\"runs\":20"))
    }

    @Test(
        "a check compares every format, on threads and on processes that a launcher starts", arguments: [false, true])
    func check(launched: Bool) async throws {
        let outcome = try await FathomProcess.run(
            launched
                ? ["launch", "--ranks", "3", "--", FathomProcess.path, "ep", "check", "--json"]
                : ["ep", "check", "--ranks", "3", "--json"])
        #expect(outcome.status == 0, "\(outcome)")
        #expect(outcome.output.contains("\"operations\":12") && outcome.output.contains("\"rankCount\":3"))
        #expect(outcome.output.contains("\"readsInPlace\":true"), "\(outcome)")
    }

    @Test("the bench measures every format and node count in its smoke mode", arguments: ["1", "2"])
    func bench(nodes: String) async throws {
        let outcome = try await FathomProcess.run(
            ["ep", "bench", "--smoke", "--ranks", "4", "--nodes", nodes, "--json"])
        #expect(outcome.status == 0, "\(outcome)")
        #expect(outcome.output.contains("memcpyGigabytesPerSecond"))
        #expect(outcome.output.contains("\"float8\":true"))
        #expect(outcome.output.contains("\"waitedForNanoseconds\":["))
    }

    @Test("the bench measures the low-latency way in its smoke mode, LogFMT too")
    func lowLatencyBench() async throws {
        let outcome = try await FathomProcess.run(
            ["ep", "bench", "--smoke", "--mode", "low-latency", "--formats", "bf16,fp8,logfmt", "--json"])
        #expect(outcome.status == 0, "\(outcome)")
        #expect(outcome.output.contains("\"logFMT\":true"))
        #expect(outcome.output.contains("\"dispatchFloorSeconds\":"))
    }

    @Test(
        "wrong arguments are usage, 64, and named",
        arguments: [
            (["check", "--top-k", "17"], "17"),
            (["simulate", "--runs", "0"], "--runs"), (["bench", "--ranks", "x"], "--ranks"),
            (["bench", "--formats", "fp4"], "fp4"), (["plan", "--ranks", "3", "--nodes", "2"], "--nodes"),
            (["bench", "--mode", "x"], "low-latency"), (["bench", "--formats", "logfmt"], "logfmt"),
            (["simulate", "--mode", "x"], "low-latency"),
            (["bench", "--smoke", "--top-k", "300"], "300"), (["plan", "--top-k", "300"], "300"),
        ])
    func usage(arguments: [String], word: String) async throws {
        let outcome = try await FathomProcess.run(["ep"] + arguments)
        #expect(outcome.status == 64, "\(outcome)")
        #expect(outcome.errors.contains(word), "\(outcome.errors)")
        #expect(outcome.output.isEmpty)
    }
}
