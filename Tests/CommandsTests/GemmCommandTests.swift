// SPDX-License-Identifier: MIT

import Testing

@Suite("fathom gemm", .timeLimit(.minutes(5)))
struct GemmCommandTests {
    @Test("the benchmark measures dense and grouped products and sets limits beside them")
    func bench() async throws {
        let outcome = try await FathomProcess.run(["gemm", "bench", "--smoke", "--json"])
        #expect(outcome.status == 0, "\(outcome.errors)")
        let results = try #require(try outcome.object()["results"] as? [[String: Any]])
        let layouts = Set(results.compactMap { ($0["result"] as? [String: Any])?["layout"] as? String })
        #expect(layouts == ["dense", "contiguous", "masked"])
        #expect(results.allSatisfy { ($0["fractionOfPeak"] as? Double ?? 0) > 0 })
        #expect(results.contains { ($0["fractionOfDense"] as? Double ?? 0) > 0 })
    }

    @Test("what is around the products is measured beside the same limits")
    func layers() async throws {
        let outcome = try await FathomProcess.run(["gemm", "layers", "--smoke", "--json"])
        #expect(outcome.status == 0, "\(outcome.errors)")
        let results = try #require(try outcome.object()["results"] as? [[String: Any]])
        let operations = results.compactMap { $0["operation"] as? String }
        #expect(Set(operations).count == 5 && operations.count == 10)
        #expect(results.allSatisfy { ($0["seconds"] as? Double ?? 0) > 0 })
        #expect(
            results.allSatisfy {
                ($0["fractionOfPeak"] as? Double ?? 0) > 0 || ($0["fractionOfRead"] as? Double ?? 0) > 0
            })
    }

    @Test(
        "Mega MoE has the bits of its parts, and over threads and launched processes those of one rank",
        arguments: [
            [], ["--ranks", "2"], ["launch", "--ranks", "2", "--", FathomProcess.path],
        ])
    func megaMoE(how: [String]) async throws {
        let isLaunched = how.first == "launch"
        let outcome = try await FathomProcess.run(
            (isLaunched ? how : []) + ["gemm", "mega-moe", "--smoke", "--json"] + (isLaunched ? [] : how))
        #expect(outcome.status == 0, "\(outcome.errors)")
        // A launcher puts the rank before the line.
        let output = outcome.output
        #expect(output.ranges(of: "\"isChecked\":true").count == 3, "\(output)")
        #expect(output.ranges(of: "\"ranks\":\(how.isEmpty ? 1 : 2)").count == 3)
        #expect(output.ranges(of: "\"partsSeconds\":").count == (how.isEmpty ? 3 : 0))
    }

    @Test("a plan says which path and why")
    func explain() async throws {
        let few = try await FathomProcess.run(["gemm", "explain", "--m", "1", "--n", "4096", "--k", "7168"])
        #expect(few.status == 0, "\(few.errors)")
        #expect(few.output.contains("direct: 1 row"))
        let many = try await FathomProcess.run([
            "gemm", "explain", "--m", "256", "--n", "4096", "--k", "7168", "--format-a", "bf16", "--format-b", "fp4",
            "--threads", "3", "--json",
        ])
        #expect(many.status == 0, "\(many.errors)")
        let plan = try many.object()
        #expect((plan["blocking"] as? [String: Any])?["path"] as? String == "panel")
        #expect(plan["scaleSide"] as? String == "b")
        #expect((plan["tasks"] as? Int ?? 0) >= 3)
    }

    @Test(
        "wrong arguments are usage and name what was given",
        arguments: [
            (["bench", "--shapes", "12"], "12"), (["bench", "--formats", "int8"], "int8"),
            (["bench", "--m", "0"], "--m"), (["layers", "--tokens", "0,1"], "0,1"),
            (["layers", "--context", "9"], "4096"), (["explain", "--m", "-1", "--n", "1", "--k", "1"], "m"),
            (["mega-moe", "--formats", "int8"], "int8"), (["mega-moe", "--tokens", "0"], "--tokens"),
            (["bench", "--m", "0"], "--m"), (["explain", "--m", "-1", "--n", "1", "--k", "1"], "m"),
            (["explain", "--m", "1", "--n", "1", "--k", "1", "--format-b", "fp5"], "fp5"),
            (["explain", "--m", "1", "--n", "9999999", "--k", "1"], "9999999"),
        ])
    func usage(arguments: [String], word: String) async throws {
        let outcome = try await FathomProcess.run(["gemm"] + arguments)
        #expect(outcome.status == 64, "\(outcome)")
        #expect(outcome.errors.contains(word), "\(outcome.errors)")
    }
}
