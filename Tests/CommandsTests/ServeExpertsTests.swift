// SPDX-License-Identifier: MIT

import Foundation
import TestSupport
import Testing

@Suite("fathom serve --ep", .timeLimit(.minutes(20)), .serialized)
struct ServeExpertsTests {
    private static let prompts = (0..<24).map { "What is \(3 * $0 + 1) plus \(97 - 2 * $0)?" }

    /// The answers to all prompts, eight at a time.
    private static func answers(
        of server: RunningServer, between: (@Sendable (Int) async throws -> Void)? = nil
    ) async throws -> [String] {
        try await withThrowingTaskGroup(of: (Int, String).self) { group in
            var answers = [String](repeating: "", count: prompts.count)
            var started = 0
            func take() async throws {
                guard let (index, answer) = try await group.next() else { return }
                answers[index] = answer
            }
            for (index, prompt) in prompts.enumerated() {
                if started >= 8 { try await take() }
                started += 1
                group.addTask {
                    let reply = try await server.post(
                        "/v1/chat/completions",
                        ["model": "fathom-tiny", "temperature": 0, "messages": [["role": "user", "content": prompt]]])
                    let choices = try reply.object()["choices"] as? [[String: Any]]
                    let message = choices?.first?["message"] as? [String: Any]
                    return (index, "\(reply.status) \(message?["content"] as? String ?? "none")")
                }
                try await between?(index)
            }
            while let (index, answer) = try await group.next() { answers[index] = answer }
            return answers
        }
    }

    /// The worker processes of a server, by rank.
    private static func workers(of server: RunningServer) throws -> [Int: pid_t] {
        let port = "\(server.address.split(separator: ":").last ?? "")"
        var servers: [pid_t] = []
        var workers: [(parent: String, rank: Int, process: pid_t)] = []
        for entry in try FileManager.default.contentsOfDirectory(atPath: "/proc") {
            guard let process = pid_t(entry),
                let data = FileManager.default.contents(atPath: "/proc/\(entry)/cmdline")
            else { continue }
            let words = data.split(separator: 0).map { String(decoding: $0, as: UTF8.self) }
            if words.contains("serve"), words.contains(port), words.first?.hasSuffix("fathom") == true {
                servers.append(process)
            }
            if words.count > 5, words[1] == "expert-worker", let rank = Int(words[5]) {
                workers.append((words[3], rank, process))
            }
        }
        let server = try #require(servers.first)
        return Dictionary(
            uniqueKeysWithValues: workers.filter { $0.parent.contains("@\(server):") }.map { ($0.rank, $0.process) })
    }

    private static func expected() async throws -> [String] {
        try await RunningServer.with { server in try await answers(of: server) }.0
    }

    @Test("Experts on three processes give the answers of one, and the processes end with the server")
    func sameAnswers() async throws {
        let expected = try await Self.expected()
        let ((found, ready, metrics, workers), status) = try await RunningServer.with(
            ["--ep", "3", "--balance-window", "20", "--balance-bound", "1"]
        ) { server in
            let workers = try Self.workers(of: server)
            let found = try await Self.answers(of: server)
            let ready = try await server.get("/ready").object()
            let metrics = String(decoding: try await server.get("/metrics").body, as: UTF8.self)
            return (found, ready["ranks"] as? [Int], metrics, workers)
        }
        #expect(found == expected && status == 0)
        #expect(ready == [0, 1, 2] && Set(workers.keys) == [1, 2])
        for name in ["fathom:expert_ranks 3", "fathom:expert_balance", "fathom:expert_rank_load{rank=\"2\"}"] {
            #expect(metrics.contains(name), "\(metrics.split(separator: "\n").filter { $0.contains("expert") })")
        }
        #expect(!metrics.contains("fathom:expert_rebalances 0"))
        // A worker notices within moments that the server has gone.
        for _ in 0..<100 where workers.values.contains(where: { kill($0, 0) == 0 }) {
            try await Task.sleep(for: .milliseconds(100))
        }
        #expect(workers.values.allSatisfy { kill($0, 0) != 0 })
    }

    @Test("A process killed under load costs no request and changes no answer", arguments: [SIGKILL, SIGSTOP])
    func killed(signal: Int32) async throws {
        let expected = try await Self.expected()
        let ((found, ranks, metrics), status) = try await RunningServer.with(["--ep", "4"]) { server in
            let worker = try #require(try Self.workers(of: server)[2])
            let found = try await Self.answers(of: server) { index in
                if index == 10 { kill(worker, signal) }
            }
            let ready = try await server.get("/ready")
            #expect(ready.status == 200)
            let metrics = String(decoding: try await server.get("/metrics").body, as: UTF8.self)
            return (found, try ready.object()["ranks"] as? [Int], metrics)
        }
        #expect(found == expected && status == 0)
        #expect(ranks == [0, 1, 3] && metrics.contains("fathom:expert_ranks 3"))
    }
}
