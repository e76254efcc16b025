// SPDX-License-Identifier: MIT

#if UCX && Server
import Foundation
import TestSupport
import Testing

@Suite("fathom serve --nodes", .timeLimit(.minutes(10)), .serialized)
struct ServeNodesTests {
    private static let prompts = (0..<24).map { "What is \(3 * $0 + 1) plus \(97 - 2 * $0)?" }

    private static func body(_ prompt: String) -> [String: Any] {
        ["model": "fathom-tiny", "temperature": 0, "messages": [["role": "user", "content": prompt]]]
    }

    private static func content(_ answer: [String: Any]?) -> String {
        let choices = answer?["choices"] as? [[String: Any]]
        return (choices?.first?["message"] as? [String: Any])?["content"] as? String ?? "none"
    }

    /// Serves on two nodes, asks all prompts, eight at a time, and kills a process of the other node on the way.
    ///
    /// Lines of output: `ready BODY` before and after, `served STATUS`, `left N` processes at the end.
    private static let script = #"""
        ip netns add fathom-e && ip netns add fathom-f || { echo no namespaces; exit 0; }
        trap 'ip netns del fathom-e; ip netns del fathom-f' EXIT
        ip link add fathom-ve netns fathom-e type veth peer name fathom-vf netns fathom-f
        ip -n fathom-e addr add 10.79.0.1/24 dev fathom-ve; ip -n fathom-f addr add 10.79.0.2/24 dev fathom-vf
        ip -n fathom-e link set lo up; ip -n fathom-e link set fathom-ve up
        ip -n fathom-f link set lo up; ip -n fathom-f link set fathom-vf up
        # UCX sees an interface only when its link is up.
        sleep 2
        places="--ep 4 --nodes 2 --leader 10.79.0.1:7779"
        ask() { ip netns exec fathom-e curl -s -m 240 "$@"; }
        ip netns exec fathom-f fathom expert-worker $places --node 1 --cache-tokens 4096 &
        worker=$!
        ip netns exec fathom-e fathom serve --port 18979 $places --cache-tokens 4096 >/dev/null &
        server=$!
        until ask -f http://127.0.0.1:18979/ready >/dev/null || ! kill -0 $server; do sleep 0.2; done
        echo "ready $(ask http://127.0.0.1:18979/ready)"
        for index in $(seq 0 23); do
            ask -o "$FOLDER/$index.answer" -w '%{http_code}' -H 'Content-Type: application/json' \
                -d "@$FOLDER/$index.request" http://127.0.0.1:18979/v1/chat/completions > "$FOLDER/$index.status" &
            askers="$askers $!"
            if [ $index -eq 12 ]; then
                # The other process of the other node, whose parent is the one that was started there.
                victim=$(pgrep -f -- "expert-worker $places --rank 3")
                kill -$SIGNAL $victim
            fi
            while [ $(ls "$FOLDER" | grep -c status) -gt $(($(ls "$FOLDER" | grep -c answer) + 7)) ]; do
                sleep 0.05
            done
        done
        wait $askers
        echo "ready $(ask http://127.0.0.1:18979/ready)"
        echo "metric $(ask http://127.0.0.1:18979/metrics | grep '^fathom:expert_ranks')"
        kill -TERM $server; wait $server; echo "served $?"
        wait $worker; echo "worked $?"
        kill -KILL $victim 2>/dev/null
        sleep 1
        echo "left $(pgrep -c -f -- "(expert-worker|18979) $places")"
        """#

    @Test(
        "A process of another node that dies or hangs under load costs no request and changes no answer",
        arguments: ["KILL", "STOP"])
    func killed(signal: String) async throws {
        let folder = try TemporaryFolder()
        for (index, prompt) in Self.prompts.enumerated() {
            try JSONSerialization.data(withJSONObject: Self.body(prompt))
                .write(to: URL(fileURLWithPath: "\(folder.path)/\(index).request"))
        }
        let environment = NetworkTests.network.merging(["FOLDER": folder.path, "SIGNAL": signal]) { $1 }
        let outcome = try await FathomProcess.shell(Self.script, environment: environment)
        guard !outcome.output.contains("no namespaces") else {
            print("SKIPPED: serving in two network namespaces, because this user cannot make any")
            return
        }
        let (expected, _) = try await RunningServer.with { server in
            var answers: [String] = []
            for prompt in Self.prompts {
                answers.append(Self.content(try await server.post("/v1/chat/completions", Self.body(prompt)).object()))
            }
            return answers
        }
        for (index, answer) in expected.enumerated() {
            let path = "\(folder.path)/\(index)"
            let status = try String(contentsOfFile: path + ".status", encoding: .utf8)
            let data = FileManager.default.contents(atPath: path + ".answer") ?? Data()
            let object = try? JSONSerialization.jsonObject(with: data) as? [String: Any]
            #expect(status == "200" && Self.content(object) == answer, "request \(index): \(status), \(outcome.errors)")
        }
        let lines = outcome.output.split(separator: "\n").map(String.init)
        let ready = lines.filter { $0.hasPrefix("ready ") }.map { line -> [Int]? in
            let object = try? JSONSerialization.jsonObject(with: Data(line.dropFirst(6).utf8)) as? [String: Any]
            return object?["ranks"] as? [Int]
        }
        #expect(ready == [[0, 1, 2, 3], [0, 1, 2]], "\(outcome)")
        #expect(lines.contains { $0.hasPrefix("metric fathom:expert_ranks") && $0.hasSuffix(" 3") }, "\(outcome)")
        #expect(lines.contains("served 0") && lines.contains("worked 0"), "\(outcome)")
        #expect(lines.contains("left 0"), "\(outcome)")
    }
}
#endif
