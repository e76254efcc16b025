// SPDX-License-Identifier: MIT

import Foundation
import TestSupport
import Testing

@Suite("Groups of processes", .serialized, .timeLimit(.minutes(5)))
struct RanksCommandTests {
    static let fathom = FathomProcess.path

    static func launch(_ arguments: [String], check: [String] = []) async throws -> Outcome {
        try await FathomProcess.run(
            ["launch"] + arguments + ["--", fathom, "ranks", "check", "--bytes", "1000", "--rounds", "3"] + check)
    }

    /// The report after its prefix.
    static func report(_ text: String) throws -> [String: Any] {
        let line = try #require(text.split(separator: "\n").first { $0.contains("{") })
        let json = line[try #require(line.firstIndex(of: "{"))...]
        return try #require(try JSONSerialization.jsonObject(with: Data(json.utf8)) as? [String: Any])
    }

    @Test("Processes that fathom launch starts are a group", arguments: [(1, 1), (3, 1), (4, 2)])
    func launched(ranks: Int, nodes: Int) async throws {
        let outcome = try await Self.launch(["--ranks", "\(ranks)", "--nodes", "\(nodes)"], check: ["--json"])
        #expect(outcome.status == 0, "\(outcome)")
        let report = try Self.report(outcome.output)
        #expect(report["rankCount"] as? Int == ranks && report["nodeCount"] as? Int == nodes)
        let members = try #require((report["outcome"] as? [String: Any])?["members"] as? [[String: Any]])
        #expect(Set(members.compactMap { $0["process"] as? Int }).count == ranks)
        #expect(members.compactMap { $0["node"] as? Int } == (0..<ranks).map { $0 / (ranks / nodes) })
        #expect(outcome.output.hasPrefix("[0] "))
    }

    @Test("Eight ranks on fewer cores get on")
    func oversubscribed() async throws {
        let outcome = try await Self.launch(["--ranks", "8"], check: ["--json"])
        #expect(outcome.status == 0, "\(outcome)")
    }

    @Test(
        "A rank that dies is named by all others",
        arguments: ["kill:barrier", "kill:put", "kill:wait", "exit:barrier", "exit:wait"])
    func death(drill: String) async throws {
        let outcome = try await Self.launch(["--ranks", "3", "--keep-going"], check: ["--drill", "1:\(drill)"])
        for rank in [0, 2] {
            let line = outcome.errors.split(separator: "\n").first { $0.hasPrefix("[\(rank)] fathom: error:") }
            #expect(line?.contains("rank 1 has died") == true, "\(outcome)")
        }
        #expect([3, 69, 137].contains(outcome.status))
        let left = try FileManager.default.contentsOfDirectory(atPath: "/dev/shm")
        #expect(!left.contains { $0.contains("fathom") }, "\(left)")
    }

    @Test(
        "A rank that is stopped is named by all others, and killed when they have ended", arguments: ["barrier", "put"])
    func hang(step: String) async throws {
        // The first that notices ends the group; rank 0 has nobody but rank 1 to wait for.
        let outcome = try await Self.launch(
            ["--ranks", "2", "--grace-ms", "300"], check: ["--hang-ms", "1500", "--drill", "1:stop:\(step)"])
        #expect(outcome.errors.contains("[0] fathom: error: rank 1 hangs"), "\(outcome)")
        #expect(outcome.errors.contains("rank 0 ended with status 69"), "\(outcome)")
        #expect(outcome.status == 69)
    }

    @Test("When a rank fails the others end, by force where they must, and its status is the launcher's")
    func ending() async throws {
        let script = #"""
            trap '' TERM
            echo "out $FATHOM_RANK of $FATHOM_RANKS"; echo "err $FATHOM_RANK" >&2
            if [ $FATHOM_RANK = 1 ]; then sleep 0.3; exit 7; fi
            sleep 100 & sleep 100
            """#
        let start = ContinuousClock.now
        let outcome = try await FathomProcess.run(
            ["launch", "--ranks", "3", "--grace-ms", "200", "--", "sh", "-c", script])
        #expect(outcome.status == 7)
        #expect(ContinuousClock.now - start < .seconds(60))
        #expect(
            outcome.output.split(separator: "\n").sorted() == ["[0] out 0 of 3", "[1] out 1 of 3", "[2] out 2 of 3"])
        #expect(outcome.errors.contains("[2] err 2\n"))
        #expect(outcome.errors.contains("rank 1 ended with status 7; the others are asked to end"))
        #expect(outcome.errors.contains("rank 0, 2 did not end within 200 ms"))
    }

    @Test("A signal to the launcher reaches every rank")
    func signals() async throws {
        let script = #"""
            trap 'echo "rank $FATHOM_RANK heard"; exit 0' USR1
            touch ready$FATHOM_RANK
            if [ $FATHOM_RANK = 0 ]; then until [ -e ready1 ]; do sleep 0.05; done; kill -USR1 $PPID; fi
            i=0; while [ $i -lt 600 ]; do sleep 0.1; i=$((i+1)); done; exit 1
            """#
        let folder = try TemporaryFolder()
        let outcome = try await FathomProcess.run(
            ["launch", "--ranks", "2", "--", "sh", "-c", script], folder: folder.path)
        #expect(outcome.status == 0, "\(outcome)")
        #expect(outcome.output.contains("[0] rank 0 heard") && outcome.output.contains("[1] rank 1 heard"))
    }

    @Test("Wrong groups are usage errors")
    func usage() async throws {
        for arguments in [
            ["launch", "--ranks", "0", "--", "true"], ["launch", "--ranks", "4", "--nodes", "3", "--", "true"],
            ["launch", "--ranks", "2"], ["ranks", "check", "--drill", "1:kill:barrier"],
            ["ranks", "check", "--drill", "nonsense"], ["ranks", "check", "--rounds", "0"],
        ] {
            let outcome = try await FathomProcess.run(arguments)
            #expect(outcome.status == 64, "\(arguments) \(outcome)")
        }
        let outcome = try await FathomProcess.run(["ranks", "check"], environment: ["FATHOM_RANK": "x"])
        #expect(outcome.status == 78 && outcome.errors.contains("FATHOM_RANKS"), "\(outcome)")
    }

    static let mpirun: String? = {
        let path = ProcessInfo.processInfo.environment["PATH"] ?? ""
        let found = path.split(separator: ":").map { "\($0)/mpirun" }
            .first { FileManager.default.isExecutableFile(atPath: $0) }
        if found == nil { print("SKIPPED: ranks under Open MPI, because mpirun is not there") }
        return found
    }()

    @Test("Open MPI's mpirun starts a group", .enabled(if: mpirun != nil))
    func openMPI() async throws {
        let outcome = try await FathomProcess.shell(
            "mpirun -np 3 --oversubscribe --allow-run-as-root fathom ranks check --rounds 3 --json")
        #expect(outcome.status == 0, "\(outcome)")
        let report = try Self.report(outcome.output)
        #expect(report["launcher"] as? String == "mpirun" && report["rankCount"] as? Int == 3)
    }

    @Test("Variables as torchrun and srun set them start a group")
    func otherLaunchers() async throws {
        let script = #"""
            for r in 1 2 0; do
                RANK=$r WORLD_SIZE=3 LOCAL_RANK=$r LOCAL_WORLD_SIZE=3 MASTER_ADDR=127.0.0.1 \
                    MASTER_PORT=$((15000 + $$ % 4000)) fathom ranks check --rounds 2 --json &
            done
            wait
            for r in 1 2 0; do
                SLURM_PROCID=$r SLURM_LOCALID=$r SLURM_STEP_NUM_TASKS=3 SLURM_STEP_TASKS_PER_NODE=3 \
                    SLURM_STEP_NODELIST=x SLURM_JOB_ID=$$ SLURM_STEP_ID=0 fathom ranks check --rounds 2 --json &
            done
            wait
            """#
        let outcome = try await FathomProcess.shell(script)
        let launchers = try outcome.objects().compactMap { $0["launcher"] as? String }
        #expect(launchers == ["torchrun", "srun"], "\(outcome)")
    }
}
