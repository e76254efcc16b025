// SPDX-License-Identifier: MIT

import Foundation
import Platform
import TestSupport
import Testing

@Suite("--trace", .timeLimit(.minutes(10)))
struct TraceTests {
    /// The events of a trace.
    private static func events(_ path: String) throws -> [[String: Any]] {
        let object = try JSONSerialization.jsonObject(with: Data(contentsOf: URL(filePath: path))) as? [String: Any]
        return try #require(object?["traceEvents"] as? [[String: Any]])
    }

    /// Names of processes, by their numbers.
    private static func processes(_ events: [[String: Any]]) -> [Int: String] {
        var names: [Int: String] = [:]
        for event in events where event["name"] as? String == "process_name" {
            if let process = event["pid"] as? Int {
                names[process] = (event["args"] as? [String: Any])?["name"] as? String
            }
        }
        return names
    }

    @Test("every command that runs something takes it, and says so")
    func everywhere() async throws {
        let groups = [
            [], ["checkpoint"], ["bench"], ["gemm"], ["mla"], ["eplb"], ["gpu"], ["gpu", "explain"], ["ranks"], ["ep"],
            ["plan"], ["profile"],
        ]
        // It runs other commands, which have their own.
        let without = groups + [["launch"]]
        for command in HelpTests.commands where !without.contains(command) {
            #if !Server
            if command == ["serve"] { continue }
            #endif
            let help = try await FathomProcess.run(command + ["--help"])
            #expect(help.output.contains("--trace <file>"), "\(command)")
        }
    }

    @Test(
        "a command of any kind is in its trace, from beginning to end",
        arguments: [
            ["tokenize"], ["plan", "explain"], ["ep", "simulate"],
            ["checkpoint", "inspect", FathomProcess.bundledModel], ["doctor"],
        ])
    func whole(command: [String]) async throws {
        let folder = try TemporaryFolder()
        let file = FilePaths.join(folder.path, "run.json")
        // Only for who reads it: what is written to a process that has ended is an error.
        let input = command == ["tokenize"] ? "{\"text\": \"12\"}\n" : ""
        let run = try await FathomProcess.run(command + ["--trace", file], input: input)
        #expect(run.errors.contains("spans of"), "\(run)")
        let phases = try Self.events(file).filter { $0["name"] as? String == "command" }.map { $0["ph"] as? String }
        #expect(phases == ["b", "e"] || phases == ["X"])
        let report = try await FathomProcess.run(["profile", "report", file])
        #expect(report.status == 0, "\(report)")
    }

    @Test("experts on three processes leave one trace: a process for each rank, with its exchange")
    func workers() async throws {
        let folder = try TemporaryFolder()
        let file = FilePaths.join(folder.path, "run.json")
        let run = try await FathomProcess.run([
            "generate", "--tokens", "5,6,7,8,9,10,11,12", "--max-tokens", "8", "--temperature", "0", "--ignore-eos",
            "--ep", "3", "--trace", file,
        ])
        #expect(run.status == 0 && run.errors.contains("2 other ranks"), "\(run)")
        try Self.expectRanks(3, in: file)
    }

    @Test("so do ranks that a launcher has started, each with the same command line", arguments: [1, 2])
    func launched(nodes: Int) async throws {
        let folder = try TemporaryFolder()
        let file = FilePaths.join(folder.path, "run.json")
        var arguments = [
            "generate", "--tokens", "5,6,7,8,9,10,11,12", "--max-tokens", "8", "--temperature", "0", "--ignore-eos",
            "--trace", file,
        ]
        // Ranks that count themselves to several nodes meet over the network, which is a trait.
        if nodes > 1 { arguments = ["ranks", "check", "--trace", file] }
        let run = try await FathomProcess.run(["launch", "--ranks", "2", "--", FathomProcess.path] + arguments)
        #expect(run.status == 0 && run.errors.contains("1 other ranks"), "\(run)")
        try Self.expectRanks(2, in: file, exchanges: nodes == 1)
    }

    /// One file with so many processes, whose spans lie within the first one's run by the same clock.
    private static func expectRanks(_ count: Int, in file: String, exchanges: Bool = true) throws {
        let folder = FilePaths.parent(of: file)
        #expect(try FilePaths.list(folder) == [FilePaths.name(of: file)], "no rank's file is left")
        let events = try events(file)
        let processes = processes(events)
        let names = processes.values.sorted()
        #expect(names.count == count && names.indices.allSatisfy { names[$0].hasPrefix("rank \($0), ") }, "\(names)")
        let ends = events.filter { $0["name"] as? String == "command" && $0["ph"] as? String != "b" }
        #expect(Set(ends.compactMap { $0["pid"] as? Int }) == Set(processes.keys))
        let times = ends.map { ($0["ts"] as? Double ?? 0) + ($0["dur"] as? Double ?? 0) }
        let spread = (times.max() ?? .infinity) - (times.min() ?? 0)
        #expect(spread < 60e6, "\(spread) µs between the ends of ranks")
        guard exchanges else { return }
        for name in ["gemm", "ep dispatch", "ep combine"] {
            let found = Set(events.filter { $0["name"] as? String == name }.compactMap { $0["pid"] as? Int })
            #expect(found == Set(processes.keys), "\(name) of \(found.count) ranks")
        }
    }

    @Test("what recording costs is measured in rounds with and without")
    func overhead() async throws {
        let run = try await FathomProcess.run([
            "bench", "generate", "--model", FathomProcess.bundledModel, "--smoke", "--trace-overhead", "--json",
        ])
        #expect(run.status == 0, "\(run)")
        let found = try run.object()
        for name in ["prefillSeconds", "prefillSecondsTraced", "stepSeconds", "stepSecondsTraced"] {
            #expect((found[name] as? Double ?? 0) > 0, "\(found)")
        }
        #expect((found["spansPerStep"] as? Int ?? 0) > 10)
        let both = try await FathomProcess.run(["bench", "generate", "--trace-overhead", "--trace", "x.json"])
        #expect(both.status == 64 && both.errors.contains("--trace-overhead"), "\(both)")
    }

    @Test("a trace that cannot be written is an error after the result; an empty name is usage")
    func unwritable() async throws {
        let run = try await FathomProcess.run(["plan", "explain", "--trace", "/nowhere/run.json"])
        #expect(run.status == 74 && run.output.contains("core attention"), "\(run)")
        let empty = try await FathomProcess.run(["plan", "explain", "--trace", ""])
        #expect(empty.status == 64 && empty.errors.contains("--trace"), "\(empty)")
    }

    #if Server
    @Test("a server's requests are in its trace, each with its route and status")
    func requests() async throws {
        let folder = try TemporaryFolder()
        let file = FilePaths.join(folder.path, "run.json")
        let (_, status) = try await RunningServer.with(["--trace", file]) { server in
            _ = try await server.post(
                "/v1/completions", ["model": "fathom-tiny", "prompt": "1 + 1", "max_tokens": 2])
            return try await server.get("/nowhere").status
        }
        #expect(status == 0)
        let events = try Self.events(file).filter { $0["ph"] as? String == "b" }
        func statuses(_ name: String) -> [Int] {
            events.filter { $0["name"] as? String == name }.compactMap {
                ($0["args"] as? [String: Any])?["status"] as? Int
            }
        }
        #expect(statuses("POST /v1/completions") == [200])
        #expect(statuses("GET unknown") == [404])
    }
    #endif
}
