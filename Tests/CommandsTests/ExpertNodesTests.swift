// SPDX-License-Identifier: MIT

import Foundation
import Platform
import TestSupport
import Testing

@Suite("Experts on several nodes", .serialized, .timeLimit(.minutes(10)))
struct ExpertNodesTests {
    private static let tokens = "5,17,29,41,53,65,77,89,101,113,125,137,149"
    private static let generate = [
        "generate", "--tokens", tokens, "--max-tokens", "90", "--temperature", "0", "--ignore-eos", "--json",
        "--cache-tokens", "4096",
    ]
    private static var network: [String: String?] { NetworkTests.network }

    /// The tokens of the one answer in an outcome, whatever a launcher put before the line.
    private static func answer(_ outcome: Outcome) throws -> [Int] {
        let line = try #require(outcome.output.split(separator: "\n").first { $0.contains("\"tokens\"") }, "\(outcome)")
        let start = try #require(line.firstIndex(of: "{"))
        let object = try JSONSerialization.jsonObject(with: Data(line[start...].utf8)) as? [String: Any]
        return try #require(object?["tokens"] as? [Int])
    }

    private static func alone() async throws -> [Int] { try answer(await FathomProcess.run(generate)) }

    private static func launched(
        _ launch: [String], _ more: [String] = [], environment: [String: String?] = [:]
    ) async throws -> Outcome {
        try await FathomProcess.run(
            ["launch"] + launch + ["--", FathomProcess.path] + generate + more, environment: environment)
    }

    @Test(
        "Under a launcher rank 0 answers and the others work for it, with the tokens of one process", arguments: [2, 3])
    func memory(ranks: Int) async throws {
        let outcome = try await Self.launched(["--ranks", "\(ranks)"])
        #expect(outcome.status == 0, "\(outcome)")
        let alone = try await Self.alone()
        #expect(try Self.answer(outcome) == alone)
    }

    @Test("When the process that generates is lost, every worker ends and names it")
    func leaderLost() async throws {
        let script = #"""
            out=$(mktemp)
            for r in 0 1 2; do
                FATHOM_RANK=$r FATHOM_RANKS=3 FATHOM_RENDEZVOUS=127.0.0.1:17763 FATHOM_JOB=leader \
                    fathom generate --tokens 1,2,3 --max-tokens 1000 --temperature 0 --ignore-eos \
                    > $([ $r -eq 0 ] && echo $out || echo /dev/null) &
                [ $r -eq 0 ] && first=$! || workers="$workers $!"
            done
            until [ -s $out ] || ! kill -0 $first; do sleep 0.02; done
            kill -KILL $first
            for worker in $workers; do wait $worker; echo "status $?"; done
            rm $out
            """#
        let outcome = try await FathomProcess.shell(script)
        #expect(outcome.output == "status 69\nstatus 69\n", "\(outcome)")
        let lines = outcome.errors.split(separator: "\n").filter { $0.contains("fathom: error:") }
        #expect(lines.count == 2 && lines.allSatisfy { $0.contains("rank 0") }, "\(outcome)")
    }

    @Test("Ranks and nodes that contradict the launcher, or have no place to meet, are usage")
    func usage() async throws {
        let contradiction = try await Self.launched(["--ranks", "2"], ["--ep", "3"])
        #expect(contradiction.status == 64 && contradiction.errors.contains("fathom launch"), "\(contradiction)")
        for (arguments, word) in [
            (Self.generate + ["--ep", "4", "--nodes", "2"], "--leader"),
            (Self.generate + ["--ep", "3", "--nodes", "2"], "--nodes"), (["expert-worker"], "--leader"),
            (["expert-worker", "--ep", "4", "--nodes", "2", "--leader", "127.0.0.1:1", "--node", "2"], "--node"),
        ] {
            let outcome = try await FathomProcess.run(arguments)
            #expect(outcome.status == 64 && outcome.errors.contains(word), "\(outcome)")
        }
    }

    @Test("A node with another checkpoint is refused, by name")
    func otherCheckpoint() async throws {
        let folder = try TemporaryFolder()
        let other = folder.path + "/other"
        let made = try await FathomProcess.run([
            "checkpoint", "synthesize", "--config", FathomProcess.bundledModel + "/config.json", "--output", other,
        ])
        #expect(made.status == 0, "\(made)")
        let script = #"""
            for r in 0 1; do
                FATHOM_RANK=$r FATHOM_RANKS=2 FATHOM_RENDEZVOUS=127.0.0.1:17761 FATHOM_JOB=fingerprints \
                    fathom generate --tokens 1,2,3 --max-tokens 3 $([ $r -eq 1 ] && echo --model "$OTHER") &
            done
            wait
            """#
        let outcome = try await FathomProcess.shell(script, environment: ["OTHER": other])
        #expect(outcome.errors.contains("need the same checkpoint"), "\(outcome)")
        #expect(FilePaths.exists(folder.path))
    }

    #if UCX
    @Test("Ranks that share no memory give the tokens of one process", arguments: [2, 3, 4])
    func network(ranks: Int) async throws {
        let outcome = try await Self.launched(
            ["--ranks", "\(ranks)", "--nodes", ranks == 4 ? "2" : "1"], environment: Self.network)
        #expect(outcome.status == 0, "\(outcome)")
        let alone = try await Self.alone()
        #expect(try Self.answer(outcome) == alone)
    }

    @Test("A rank that is killed on the way costs no token", arguments: ["KILL", "STOP"])
    func killed(signal: String) async throws {
        let generate = "generate --tokens 1,2,3,4,5 --max-tokens 700 --temperature 0 --ignore-eos"
        let script = #"""
            out=$(mktemp)
            for r in 0 1 2; do
                FATHOM_RANK=$r FATHOM_RANKS=3 FATHOM_RENDEZVOUS=127.0.0.1:17762 FATHOM_JOB=kill \
                    fathom $GENERATE > $([ $r -eq 0 ] && echo $out || echo /dev/null) &
                [ $r -eq 0 ] && first=$!
                [ $r -eq 1 ] && worker=$!
            done
            until [ -s $out ] || ! kill -0 $first; do sleep 0.02; done
            kill -$SIGNAL $worker
            wait $first
            kill -KILL $worker
            wait
            cat $out; rm $out
            """#
        let environment = Self.network.merging(["SIGNAL": signal, "GENERATE": generate]) { $1 }
        let outcome = try await FathomProcess.shell(script, environment: environment)
        let alone = try await FathomProcess.run(generate.split(separator: " ").map(String.init))
        #expect(outcome.output == alone.output && alone.output.count > 300, "\(outcome)")
        #expect(outcome.errors.contains("rank lost"), "\(outcome)")
    }

    @Test("A worker in another network namespace joins the process that generates")
    func namespaces() async throws {
        let script = #"""
            ip netns add fathom-c && ip netns add fathom-d || { echo no namespaces; exit 0; }
            trap 'ip netns del fathom-c; ip netns del fathom-d' EXIT
            ip link add fathom-vc netns fathom-c type veth peer name fathom-vd netns fathom-d
            ip -n fathom-c addr add 10.78.0.1/24 dev fathom-vc; ip -n fathom-d addr add 10.78.0.2/24 dev fathom-vd
            ip -n fathom-c link set lo up; ip -n fathom-c link set fathom-vc up
            ip -n fathom-d link set lo up; ip -n fathom-d link set fathom-vd up
            # UCX sees an interface only when its link is up.
            sleep 2
            places="--ep 4 --nodes 2 --leader 10.78.0.1:7778"
            ip netns exec fathom-d fathom expert-worker $places --node 1 --cache-tokens 4096 &
            ip netns exec fathom-c fathom generate $places --tokens $TOKENS --max-tokens 90 --temperature 0 \
                --ignore-eos --json --cache-tokens 4096
            wait
            """#
        var environment = Self.network
        environment["TOKENS"] = Self.tokens
        let outcome = try await FathomProcess.shell(script, environment: environment)
        guard !outcome.output.contains("no namespaces") else {
            print("SKIPPED: experts in two network namespaces, because this user cannot make any")
            return
        }
        let alone = try await Self.alone()
        #expect(try Self.answer(outcome) == alone)
    }
    #endif
}
