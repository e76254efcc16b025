// SPDX-License-Identifier: MIT

import Foundation
import TestSupport
import Testing

@Suite("Groups over a network", .serialized, .timeLimit(.minutes(5)))
struct NetworkTests {
    static let network: [String: String?] = ["FATHOM_TRANSPORT": "network", "UCX_TLS": "tcp"]

    static func check(
        _ launch: [String], _ check: [String], environment: [String: String?] = network
    ) async throws
        -> Outcome
    {
        try await FathomProcess.run(
            ["launch"] + launch + ["--", FathomProcess.path, "ranks", "check", "--rounds", "3"] + check,
            environment: environment)
    }

    @Test("A transport that does not exist is named")
    func unknown() async throws {
        let outcome = try await Self.check(["--ranks", "2"], [], environment: ["FATHOM_TRANSPORT": "pigeon"])
        #expect(outcome.status == 78 && outcome.errors.contains("pigeon"), "\(outcome)")
    }

    #if UCX
    @Test("Ranks that share no memory are a group", arguments: [2, 4])
    func group(rankCount: Int) async throws {
        let outcome = try await Self.check(["--ranks", "\(rankCount)"], ["--bytes", "2500000"])
        #expect(outcome.status == 0, "\(outcome)")
        #expect(outcome.errors.isEmpty)
    }

    @Test("Low-latency exchanges of ranks that share no memory give the reference's bits", arguments: [2, 4])
    func exchange(rankCount: Int) async throws {
        let outcome = try await FathomProcess.run(
            ["launch", "--ranks", "\(rankCount)", "--", FathomProcess.path, "ep", "check", "--json"],
            environment: Self.network)
        #expect(outcome.status == 0, "\(outcome)")
        #expect(outcome.output.contains(#""readsInPlace":false"#), "\(outcome)")
    }

    @Test("A rank that dies or hangs is named by all others", arguments: ["kill:barrier", "kill:put", "kill:wait"])
    func death(drill: String) async throws {
        let outcome = try await Self.check(["--ranks", "3", "--keep-going"], ["--drill", "1:\(drill)"])
        for rank in [0, 2] {
            let line = outcome.errors.split(separator: "\n").first { $0.hasPrefix("[\(rank)] fathom: error:") }
            #expect(line?.contains("rank 1 is lost to the network") == true, "\(outcome)")
        }
    }

    @Test("A rank that is stopped is named", arguments: ["barrier", "put"])
    func hang(step: String) async throws {
        let outcome = try await Self.check(
            ["--ranks", "2", "--grace-ms", "300"], ["--hang-ms", "1500", "--drill", "1:stop:\(step)"])
        #expect(outcome.errors.contains("[0] fathom: error: rank 1 hangs"), "\(outcome)")
        #expect(outcome.status == 69)
    }

    @Test("Ranks in two network namespaces are a group")
    func namespaces() async throws {
        let script = #"""
            ip netns add fathom-a && ip netns add fathom-b || { echo no namespaces; exit 0; }
            trap 'ip netns del fathom-a; ip netns del fathom-b' EXIT
            ip link add fathom-va netns fathom-a type veth peer name fathom-vb netns fathom-b
            ip -n fathom-a addr add 10.77.0.1/24 dev fathom-va; ip -n fathom-b addr add 10.77.0.2/24 dev fathom-vb
            ip -n fathom-a link set lo up; ip -n fathom-a link set fathom-va up
            ip -n fathom-b link set lo up; ip -n fathom-b link set fathom-vb up
            # UCX sees an interface only when its link is up.
            sleep 2
            for r in 0 1 2 3; do
                FATHOM_RANK=$r FATHOM_RANKS=4 FATHOM_NODES=2 FATHOM_RENDEZVOUS=10.77.0.1:7777 \
                    ip netns exec fathom-$([ $r -lt 2 ] && echo a || echo b) fathom ranks check --rounds 3 --json &
            done
            wait
            for r in 0 1 2 3; do
                FATHOM_RANK=$r FATHOM_RANKS=4 FATHOM_NODES=2 FATHOM_RENDEZVOUS=10.77.0.1:7776 \
                    ip netns exec fathom-$([ $r -lt 2 ] && echo a || echo b) fathom ep check --json &
            done
            wait
            """#
        let outcome = try await FathomProcess.shell(script, environment: Self.network)
        guard !outcome.output.contains("no namespaces") else {
            print("SKIPPED: ranks in two network namespaces, because this user cannot make any")
            return
        }
        let reports = try outcome.objects()
        #expect(reports.count == 2 && reports.allSatisfy { $0["nodeCount"] as? Int == 2 }, "\(outcome)")
        let exchange = reports.last?["outcome"] as? [String: Any]
        #expect(exchange?["operations"] as? Int == 12 && exchange?["readsInPlace"] as? Bool == false, "\(outcome)")
    }
    #else
    @Test("Without the trait a network is refused, and the message says what is missing")
    func missing() async throws {
        let outcome = try await Self.check(["--ranks", "2"], [], environment: Self.network)
        #expect(outcome.status == 69 && outcome.errors.contains("package trait UCX"), "\(outcome)")
    }
    #endif
}
