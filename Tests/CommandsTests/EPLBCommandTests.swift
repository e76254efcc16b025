// SPDX-License-Identifier: MIT

import Foundation
import TestSupport
import Testing

@Suite("fathom eplb", .timeLimit(.minutes(5)))
struct EPLBCommandTests {
    static let small = #"{"weight": [[9, 1, 4, 2], [0, 0, 5, 1]], "replicas": 6, "gpus": 3}"#

    @Test("golden lines go in and come out as they are", .enabled(if: TestPaths.hasGoldens))
    func goldens() async throws {
        let path = "\(TestPaths.goldens)/eplb/cases.jsonl"
        let outcome = try await FathomProcess.run(["eplb", "plan", "--input", path])
        #expect(outcome.status == 0, "\(outcome.errors)")
        let plans = try outcome.objects()
        let goldens = try String(contentsOfFile: path, encoding: .utf8).split(separator: "\n").map { line in
            try #require(try JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any])
        }
        #expect(plans.count == goldens.count)
        for (plan, golden) in zip(plans, goldens) {
            for field in ["name", "replicas", "groups", "nodes", "gpus", "logcnt", "weight"] {
                #expect(plan[field] as? NSObject == golden[field] as? NSObject, "\(field) of \(golden["name"] ?? "")")
            }
            #expect((plan["phy2log"] as? [[Int]])?.count == (golden["phy2log"] as? [[Int]])?.count)
        }
        let first = try #require(plans.first)
        for field in ["phy2log", "log2phy"] {
            #expect(first[field] as? NSObject == goldens[0][field] as? NSObject)
        }
    }

    @Test("a plan from standard input, with and without options")
    func plan() async throws {
        let plain = try await FathomProcess.run(["eplb", "plan", "--input", "-"], input: Self.small + "\n\n")
        #expect(plain.status == 0, "\(plain.errors)")
        let plan = try plain.object()
        #expect(plan["phy2log"] as? [[Int]] == [[2, 1, 0, 0, 0, 3], [2, 3, 2, 0, 2, 1]])
        #expect(plan["logcnt"] as? [[Int]] == [[3, 1, 1, 1], [1, 1, 3, 1]])
        let best = try await FathomProcess.run(["eplb", "plan", "--input", "-", "--best"], input: Self.small)
        #expect((try best.object()["quality"] as? [String: Any])?["crowdedRankCount"] as? Int == 0)
    }

    @Test("migration starts from the line before, or from the line's own placement, and counts bytes")
    func migrate() async throws {
        let later = Self.small.replacing("[9, 1, 4, 2]", with: "[9, 3, 4, 2]")
        let arguments = ["eplb", "plan", "--input", "-", "--migrate", "--bytes-per-expert", "10"]
        let outcome = try await FathomProcess.run(
            arguments + ["--slack", "1"], input: [Self.small, later].joined(separator: "\n"))
        #expect(outcome.status == 0, "\(outcome.errors)")
        let plans = try outcome.objects()
        #expect(plans[0]["migration"] == nil)
        #expect((plans[1]["migration"] as? [String: Any])?["bytesWithinNodes"] as? Int == 0)
        #expect(plans[0]["phy2log"] as? [[Int]] == plans[1]["phy2log"] as? [[Int]])

        let named = Self.small.dropLast() + #", "previous": [[0, 1, 2, 3, 0, 0], [0, 1, 2, 3, 0, 0]]}"#
        let moved = try await FathomProcess.run(arguments + ["--slack", "0"], input: String(named))
        #expect(moved.status == 0, "\(moved.errors)")
        let bytes = try #require((try moved.object()["migration"] as? [String: Any])?["bytesWithinNodes"] as? Int)
        #expect(bytes > 0 && bytes.isMultiple(of: 10))
        let capped = try await FathomProcess.run(
            arguments + ["--slack", "0", "--maximum-bytes", "9"], input: String(named))
        #expect((try capped.object()["migration"] as? [String: Any])?["bytesWithinNodes"] as? Int == 0)
    }

    @Test("a window makes the plan of a line know the lines before")
    func window() async throws {
        let line = #"{"weight": [[W]], "replicas": 6, "gpus": 3}"#
        let input = ["9, 1, 1, 1", "1, 9, 1, 1"].map { line.replacing("W", with: $0) }.joined(separator: "\n")
        let outcome = try await FathomProcess.run(
            ["eplb", "plan", "--input", "-", "--window", "2", "--predict", "mean"], input: input)
        #expect(outcome.status == 0, "\(outcome.errors)")
        let counts = try outcome.objects().compactMap { $0["logcnt"] as? [[Int]] }
        #expect(counts == [[[3, 1, 1, 1]], [[2, 2, 1, 1]]])
    }

    @Test(
        "a bad line is 65 and names line and field",
        arguments: [
            (#"{"weight": [[1, -2]], "replicas": 2, "gpus": 1}"#, ["line 2", "weight", "layer 0", "expert 1", "-2"]),
            (#"{"weight": [[1, 1e300]], "replicas": 2, "gpus": 1}"#, ["line 2", "weight", "expert 1", "inf"]),
            (#"{"weight": [[1, NaN]], "replicas": 2, "gpus": 1}"#, ["line 2", "weight[0][1]", "NaN"]),
            (#"{"weight": [[1, 2], [1]], "replicas": 2, "gpus": 1}"#, ["line 2", "weight", "layer 1"]),
            (#"{"weight": [], "replicas": 2, "gpus": 1}"#, ["line 2", "weight", "0 layers"]),
            (#"{"weight": [[1, 2]], "replicas": 1, "gpus": 1}"#, ["line 2", "replicas", "1"]),
            (#"{"weight": [[1, 2]], "replicas": 2.5, "gpus": 1}"#, ["line 2", "replicas", "2.5"]),
            (#"{"weight": [[1, 2]], "replicas": 2, "gpus": 1, "nodes": 2}"#, ["line 2", "nodes", "2"]),
            (#"{"weight": [[1, 2]], "replicas": 2, "gpus": 0}"#, ["line 2", "gpus", "0"]),
            (#"{"weight": [[1, 2]], "replicas": 2}"#, ["line 2", "gpus", "missing"]),
            (#"{"replicas": 2, "gpus": 1}"#, ["line 2", "weight", "missing"]),
            (#"{"weight": [[1, 2]], "replica": 2, "gpus": 1}"#, ["line 2", "replica", "unknown"]),
            (#"{"weight": [[1, 2]], "gpus": 1, "gpus": 1}"#, ["line 2", "gpus", "twice"]),
            (
                #"{"weight": [[1, 2]], "replicas": 2, "gpus": 1, "previous": [[0, 0]]}"#,
                ["line 2", "previous", "expert 1"]
            ),
            ("[]", ["line 2", "an array"]), (#"{"weight": "#, ["line 2", "weight"]), ("\u{0}", ["line 2"]),
        ])
    func bad(line: String, words: [String]) async throws {
        for command in ["plan", "show"] {
            let outcome = try await FathomProcess.run(
                ["eplb", command, "--input", "-"], input: Self.small + "\n" + line + "\n")
            #expect(outcome.status == 65, "\(outcome)")
            for word in words { #expect(outcome.errors.contains(word), "\(outcome.errors) lacks \(word)") }
            #expect(outcome.errors.split(separator: "\n").count == 1)
        }
    }

    @Test("broken lines end in a plan or in 65, never otherwise")
    func fuzz() async throws {
        var mutator = Mutator(seed: 11)
        for _ in 0..<60 {
            let input = String(decoding: mutator.mutate(Array(Self.small.utf8)), as: UTF8.self)
            let outcome = try await FathomProcess.run(["eplb", "plan", "--input", "-"], input: input)
            #expect([0, 65].contains(outcome.status), "\(input)\n\(outcome)")
        }
    }

    @Test("what cannot be kept apart is said, with the line")
    func apart() async throws {
        let outcome = try await FathomProcess.run(
            ["eplb", "plan", "--input", "-", "--apart"], input: #"{"weight": [[3, 1]], "replicas": 6, "gpus": 2}"#)
        #expect(outcome.status == 65)
        #expect(outcome.errors.contains("line 1: replicas: found 6"), "\(outcome.errors)")
    }

    @Test("a placement of another shape cannot be migrated from")
    func shapes() async throws {
        let input = Self.small + "\n" + Self.small.replacing("6", with: "7")
        let outcome = try await FathomProcess.run(["eplb", "plan", "--input", "-", "--migrate"], input: input)
        #expect(outcome.status == 65)
        #expect(outcome.errors.contains("line 2") && outcome.errors.contains("legal"), "\(outcome.errors)")
    }

    @Test("loads are drawn within the width, without colour in a pipe", arguments: [20, 40, 80, 200])
    func show(columns: Int) async throws {
        let outcome = try await FathomProcess.run(
            ["eplb", "show", "--input", "-", "--layer", "0"], input: Self.small,
            environment: ["COLUMNS": "\(columns)"])
        #expect(outcome.status == 0, "\(outcome.errors)")
        #expect(!outcome.output.contains("\u{1B}"))
        let bars = outcome.output.split(separator: "\n").filter { $0.contains("█") || $0.contains(/[▏▎▍▌▋▊▉]/) }
        #expect(bars.count == 3)
        #expect(bars.allSatisfy { $0.count <= max(columns, 25) }, "\(outcome.output)")
        #expect(columns < 80 || bars.contains { $0.count > columns - 10 })
    }

    @Test("drawn loads are numbers, too")
    func showJSON() async throws {
        let outcome = try await FathomProcess.run(["eplb", "show", "--input", "-", "--json"], input: Self.small)
        let drawing = try outcome.object()
        #expect(drawing["layer"] as? Int == 1)
        let after = try #require(drawing["after"] as? [String: Any])
        let loads = try #require(after["loads"] as? [Double])
        #expect(loads.map { Int(($0 * 3).rounded()) } == [8, 5, 5])
    }

    @Test("the benchmark measures every kind of plan")
    func bench() async throws {
        let outcome = try await FathomProcess.run([
            "eplb", "bench", "--smoke", "--experts", "32", "--shapes", "48x4x2x8", "--json",
        ])
        #expect(outcome.status == 0, "\(outcome.errors)")
        let results = try #require(try outcome.object()["results"] as? [[String: Any]])
        #expect(results.compactMap { $0["mode"] as? String } == ["original", "best", "migration"])
        #expect(results.allSatisfy { ($0["nanosecondsPerLayer"] as? Double ?? 0) > 0 })
        #expect(results.allSatisfy { ($0["balancedness"] as? Double ?? 0) > 0.5 })
    }

    @Test(
        "wrong arguments are usage and name what was given",
        arguments: [
            (["plan", "--input", "-", "--slack=-1"], "--slack"),
            (["plan", "--input", "-", "--policy", "local"], "local"),
            (["plan", "--input", "-", "--window", "0"], "--window"), (["plan"], "--input"),
            (["plan", "--input", "-", "--retention", "2"], "--retention"),
            (["show", "--input", "-", "--line", "0"], "--line"),
            (["bench", "--shapes", "1x2"], "1x2"),
            (["bench", "--layers", "0", "--smoke", "--experts", "0"], "experts"),
            (["plan", "--input", "-", "--swaps=-1"], "--swaps"),
        ])
    func usage(arguments: [String], word: String) async throws {
        let outcome = try await FathomProcess.run(["eplb"] + arguments)
        #expect(outcome.status == 64, "\(outcome)")
        #expect(outcome.errors.contains(word), "\(outcome.errors)")
    }

    @Test("a missing file is 66")
    func missing() async throws {
        let outcome = try await FathomProcess.run(["eplb", "plan", "--input", "no-such-file"])
        #expect(outcome.status == 66)
        #expect(outcome.errors.contains("no-such-file"))
    }
}
