// SPDX-License-Identifier: MIT

import Testing

@Suite("Help and usage", .timeLimit(.minutes(5)))
struct HelpTests {
    static let commands = [
        [], ["serve"], ["chat"], ["generate"], ["logits"], ["tokenize"], ["checkpoint"],
        ["checkpoint", "inspect"],
        ["checkpoint", "synthesize"], ["bench"], ["bench", "generate"], ["bench", "tokenizer"],
        ["gemm"], ["gemm", "bench"], ["gemm", "layers"], ["gemm", "mega-moe"], ["gemm", "explain"], ["mla"],
        ["mla", "bench"],
        ["mla", "explain"], ["eplb"], ["eplb", "plan"], ["eplb", "show"], ["eplb", "bench"], ["gpu"], ["gpu", "info"],
        ["gpu", "compile"],
        ["gpu", "explain"], ["gpu", "explain", "gemm"], ["gpu", "test"], ["gpu", "bench"], ["doctor"],
        ["launch"], ["ranks"], ["ranks", "check"], ["ep"], ["ep", "bench"], ["ep", "check"],
        ["ep", "plan"], ["ep", "simulate"], ["plan"], ["plan", "deepseek-day6"], ["plan", "size"], ["plan", "explain"],
        ["plan", "trace"],
        ["plan", "check-host"], ["profile"], ["profile", "report"], ["profile", "compare"], ["profile", "timeline"],
        ["profile", "what-if"],
    ]

    @Test("every command explains itself with an example", arguments: commands)
    func help(command: [String]) async throws {
        let outcome = try await FathomProcess.run(command + ["--help"])
        #expect(outcome.status == 0)
        #expect(outcome.output.contains("EXAMPLES\n"))
        #expect(outcome.output.contains("fathom " + command.joined(separator: " ")))
        #expect(outcome.errors.isEmpty)
    }

    @Test("every command that is listed is tested here")
    func complete() async throws {
        for parent in [
            [], ["checkpoint"], ["bench"], ["gemm"], ["mla"], ["eplb"], ["gpu"], ["gpu", "explain"], ["ranks"], ["ep"],
            ["plan"], ["profile"],
        ] {
            let help = try await FathomProcess.run(parent + ["--help"]).output
            for match in help.matches(of: /(?m)^  ([a-z][a-z0-9-]*) {2,}[A-Z]/) {
                let command = parent + [String(match.output.1)]
                #expect(Self.commands.contains(command), "\(command) has no help test")
            }
        }
    }

    @Test("completions are written for every shell", arguments: ["bash", "zsh", "fish"])
    func completions(shell: String) async throws {
        let outcome = try await FathomProcess.run(["--generate-completion-script", shell])
        #expect(outcome.status == 0)
        #expect(outcome.output.contains("tokenize"))
    }

    @Test("the version is one line")
    func version() async throws {
        let outcome = try await FathomProcess.run(["--version"])
        #expect(outcome.status == 0)
        #expect(outcome.output.contains(/^\d+\.\d+\.\d+\n$/))
    }

    @Test(
        "a wrong command line is usage, 64, and names what was wrong",
        arguments: [
            (["nonsense"], "nonsense"), (["generate", "--temprature", "1"], "--temprature"),
            (["generate", "--tokens", "1,x"], "1,x"),
            (["generate", "--threads", "0", "--tokens", "1"], "--threads"),
            (["generate", "--prompt", "a", "--tokens", "1"], "--prompt"),
            (["logits", "--output", "o"], "--tokens"),
            (["tokenize", "--model", "a", "--tokenizer", "b"], "--tokenizer"),
            (["generate", "--kv-dtype", "fp64"], "fp64"),
            (["generate", "--activation-quantization", "1"], "on"),
            (["checkpoint", "synthesize", "--config", "c", "--dtype", "int4", "--output", "o"], "int4"),
            (["serve", "--port", "70000"], "70000"),
        ])
    func usage(arguments: [String], word: String) async throws {
        let outcome = try await FathomProcess.run(arguments)
        #expect(outcome.status == 64, "\(outcome)")
        #expect(outcome.errors.contains(word), "\(outcome.errors)")
        #expect(outcome.output.isEmpty)
    }
}
