// SPDX-License-Identifier: MIT

import TestSupport
import Testing

@Suite("fathom plan", .timeLimit(.minutes(5)))
struct PlanCommandTests {
    @Test("the published day's closed forms and predictions agree, in text and as JSON")
    func closedForms() async throws {
        let text = try await FathomProcess.run(["plan", "deepseek-day6", "--closed-forms"])
        #expect(text.status == 0, "\(text)")
        for word in ["226.75", "73 686", "87 072", "545", "closed form", "predicted", "input"] {
            #expect(text.output.contains(word), "\(word)")
        }
        #expect(!text.output.contains("OFF"))
        let json = try await FathomProcess.run(["plan", "deepseek-day6", "--closed-forms", "--json"])
        #expect(json.status == 0 && json.output.contains("\"basis\":\"closed form\""))
    }

    @Test("sizes and explanations are given, in text and as JSON", arguments: [[], ["--json"]])
    func proposals(flags: [String]) async throws {
        let size = try await FathomProcess.run(["plan", "size", "--tokens-per-second", "50000"] + flags)
        #expect(size.status == 0 && size.output.contains("EP") != flags.contains("--json"), "\(size)")
        let explained = try await FathomProcess.run(["plan", "explain"] + flags)
        #expect(explained.status == 0 && explained.output.contains("core attention"), "\(explained)")
    }

    @Test(
        "numbers out of range are usage, 64, with their range and unit",
        arguments: [
            (["size", "--tokens-per-second", "-5"], ["--tokens-per-second", "tokens/s"]),
            (["size", "--tokens-per-second", "x"], ["x"]),
            (["size", "--tokens-per-second", "1", "--tpot", "0"], ["--tpot", "60 s"]),
            (["size", "--tokens-per-second", "1", "--hardware", "abacus"], ["abacus", "h800"]),
            (["size", "--tokens-per-second", "1", "--price", "-1"], ["--price", "$/hour"]),
            (
                ["explain", "--hardware", "this-cpu", "--decode-gpus", "4"],
                ["--decode-gpus", "this processor is one", "legal is 1"]
            ),
            (["size", "--tokens-per-second", "1", "--hardware", "cpu"], ["this-cpu"]),
            (["explain", "--context", "0"], ["--context", "1 to", "tokens"]),
            (["explain", "--decode-gpus", "0"], ["--decode-gpus", "GPUs"]),
            (["deepseek-day6", "--headroom", "9"], ["--headroom", "2"]),
            (["trace", "--input", "x", "--cache-blocks", "1,0"], ["--cache-blocks", "blocks"]),
        ])
    func usage(arguments: [String], words: [String]) async throws {
        let outcome = try await FathomProcess.run(["plan"] + arguments)
        #expect(outcome.status == 64, "\(outcome)")
        for word in words { #expect(outcome.errors.contains(word), "\(outcome.errors)") }
        #expect(outcome.output.isEmpty)
    }

    @Test("a plan that does not fit is refused with the reason, 78")
    func memory() async throws {
        let outcome = try await FathomProcess.run(["plan", "explain", "--prefill-gpus", "8"])
        #expect(outcome.status == 78 && outcome.errors.contains("weights"), "\(outcome)")
    }

    @Test("this processor is hardware too: measured, one device, no rent", arguments: ["explain", "size"])
    func thisCPU(command: String) async throws {
        let model = "\(TestPaths.repository)/Models/fathom-tiny"
        let arguments =
            command == "explain"
            ? ["--context", "200", "--prompt-tokens", "100", "--pass-tokens", "128", "--requests", "4"]
            : ["--tokens-per-second", "10", "--prompt-tokens", "100", "--output-tokens", "50", "--ttft", "600"]
        let outcome = try await FathomProcess.run(
            ["plan", command, "--model", model, "--hardware", "this-cpu"] + arguments)
        #expect(outcome.status == 0 && outcome.output.contains("EP1"), "\(outcome)")
        #expect(outcome.output.contains("products measured on this machine"))
        // What a processor cannot do is refused with the reason.
        let large = try await FathomProcess.run([
            "plan", "size", "--hardware", "this-cpu", "--tokens-per-second", "10", "--ttft", "0.001",
        ])
        #expect(large.status == 78 && large.errors.contains("impossible on this-cpu"), "\(large)")
    }

    @Test("a plan for this machine says of each line whether it is near what was measured")
    func host() async throws {
        let model = "\(TestPaths.repository)/Models/fathom-tiny"
        let outcome = try await FathomProcess.run(["plan", "check-host", "--model", model, "--smoke"])
        #expect(outcome.status == 0, "\(outcome)")
        for line in ["prefill", "decode"] {
            let found = outcome.output.split(separator: "\n").first { $0.contains("  \(line) ") }
            #expect(found?.contains("within 20 % of what bench generate measured") == true, "\(outcome.output)")
        }
    }
}
