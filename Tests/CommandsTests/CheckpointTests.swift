// SPDX-License-Identifier: MIT

import Foundation
import TestSupport
import Testing

@Suite("fathom checkpoint, doctor and bench", .timeLimit(.minutes(10)))
struct CheckpointTests {
    @Test("inspect counts the bundled model, as JSON and as a table")
    func inspect() async throws {
        let path = FathomProcess.bundledModel
        let outcome = try await FathomProcess.run(["checkpoint", "inspect", path, "--json"])
        #expect(outcome.status == 0, "\(outcome.errors)")
        // The model's README states 3,088,128; the routers' correction biases, 16 in each of 3 layers, come
        // on top.
        #expect(try outcome.object()["parameters"] as? Int == 3_088_128 + 48)
        let table = try await FathomProcess.run(["checkpoint", "inspect", "\(path)/config.json"])
        #expect(table.output.contains("3,088,176"))
    }

    @Test("synthesize writes a checkpoint that runs, the same for the same seed")
    func synthesize() async throws {
        let folder = try TemporaryFolder()
        for name in ["a", "b"] {
            let outcome = try await FathomProcess.run([
                "checkpoint", "synthesize", "--config", "\(FathomProcess.bundledModel)/config.json",
                "--dtype", "fp8",
                "--seed", "4", "--output", "\(folder.path)/\(name)",
            ])
            #expect(outcome.status == 0, "\(outcome.errors)")
        }
        let run = try await FathomProcess.run([
            "generate", "--model", "\(folder.path)/a", "--tokens", "1,2,3", "--max-tokens", "4",
            "--ignore-eos", "--json",
        ])
        #expect(run.status == 0, "\(run.errors)")
        // Without a tokenizer there is no text.
        #expect(try run.object()["tokens"] as? [Int] != nil)
        for file in try FileManager.default.contentsOfDirectory(atPath: "\(folder.path)/a") {
            #expect(
                try Data(contentsOf: URL(filePath: "\(folder.path)/a/\(file)"))
                    == Data(contentsOf: URL(filePath: "\(folder.path)/b/\(file)")), "\(file)")
        }
    }

    @Test("doctor finds the model and says what it looked at")
    func doctor() async throws {
        let outcome = try await FathomProcess.run(["doctor", "--json"])
        #expect(outcome.status == 0, "\(outcome)")
        let checks = try outcome.object()["checks"] as? [[String: Any]] ?? []
        let names = checks.compactMap { $0["name"] as? String }
        for name in [
            "processor", "instruction set", "cores", "memory", "huge pages", "model", "port 8080", "GPU",
            "GPU compiler",
        ] {
            #expect(names.contains(name), "\(names)")
        }
    }

    @Test("doctor without a model ends with 69 and says what to do")
    func doctorWithoutModel() async throws {
        let outcome = try await FathomProcess.run(["doctor", "--model", "/nonexistent-model"])
        #expect(outcome.status == 69)
        #expect(outcome.output.contains("MISSING") && outcome.output.contains("--model DIR"))
    }

    @Test("the generation benchmark measures and sets limits beside it")
    func benchGenerate() async throws {
        let outcome = try await FathomProcess.run([
            "bench", "generate", "--model", FathomProcess.bundledModel, "--smoke", "--json",
        ])
        #expect(outcome.status == 0, "\(outcome.errors)")
        let report = try outcome.object()
        for key in ["prefillTokensPerSecond", "decodeTokensPerSecond", "prefillFraction", "decodeFraction"] {
            #expect((report[key] as? Double ?? 0) > 0, "\(key) in \(report)")
        }
    }

    @Test("the tokenizer benchmark measures both ways")
    func benchTokenizer() async throws {
        let outcome = try await FathomProcess.run(["bench", "tokenizer", "--smoke", "--json"])
        #expect(outcome.status == 0, "\(outcome.errors)")
        #expect((try outcome.object()["encodeMegabytesPerSecond"] as? Double ?? 0) > 0)
    }

    /// Memory that a process may hold beside the weights and the cache.
    static let residentAllowance = 300 << 20

    @Test("weights are mapped: resident memory stays below file, cache and 300 MB")
    func memory() async throws {
        let folder = try TemporaryFolder()
        let config = "\(folder.path)/config.json"
        try Self.writeModerateConfig(to: config)
        let made = try await FathomProcess.run([
            "checkpoint", "synthesize", "--config", config, "--dtype", "bf16", "--output",
            "\(folder.path)/model",
        ])
        #expect(made.status == 0, "\(made.errors)")
        let inspection = try await FathomProcess.run(["checkpoint", "inspect", config, "--json"]).object()
        let bytes = try #require(inspection["tensorBytes"] as? Int)
        #expect(bytes > 250 << 20, "the checkpoint is too small to show anything: \(bytes)")
        let cacheTokens = 1024
        let cacheBytes = try #require(inspection["cacheBytesPerToken"] as? Int) * cacheTokens
        // The shell's own child limit is not used: VmHWM of the process itself is what counts.
        let outcome = try await FathomProcess.shell(
            """
            fathom generate --model model --tokens 1,2,3,4,5,6,7,8 --max-tokens 16 --ignore-eos \
            --cache-tokens \(cacheTokens) --json > out & pid=$!
            while kill -0 $pid 2> /dev/null; do
                sed -n 's/^VmHWM:[^0-9]*\\([0-9]*\\).*/\\1/p' /proc/$pid/status 2> /dev/null
                sleep 0.02
            done
            wait $pid
            """, folder: folder.path)
        #expect(outcome.status == 0, "\(outcome.errors)")
        let peak = (outcome.output.split(separator: "\n").compactMap { Int($0) }.max() ?? 0) << 10
        #expect(peak > 0, "no measurement")
        #expect(
            peak < bytes + cacheBytes + Self.residentAllowance,
            "peak \(peak), weights \(bytes), cache \(cacheBytes)")
    }

    /// About 300 MB in bfloat16.
    private static func writeModerateConfig(to path: String) throws {
        let source = try Data(contentsOf: URL(filePath: "\(FathomProcess.bundledModel)/config.json"))
        var config = try JSONSerialization.jsonObject(with: source) as? [String: Any] ?? [:]
        config["hidden_size"] = 1024
        config["intermediate_size"] = 4096
        config["moe_intermediate_size"] = 512
        config["n_routed_experts"] = 24
        config["vocab_size"] = 16384
        config["quantization_config"] = nil
        try JSONSerialization.data(withJSONObject: config).write(to: URL(filePath: path))
    }
}
