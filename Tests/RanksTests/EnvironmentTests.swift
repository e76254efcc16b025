// SPDX-License-Identifier: MIT

import Platform
import Ranks
import TestSupport
import Testing

@Suite("Environments of launchers")
struct EnvironmentTests {
    static let openMPI = [
        "OMPI_COMM_WORLD_RANK": "5", "OMPI_COMM_WORLD_SIZE": "8", "OMPI_COMM_WORLD_LOCAL_RANK": "5",
        "OMPI_COMM_WORLD_LOCAL_SIZE": "8", "PMIX_NAMESPACE": "3427860481",
    ]
    static let torchrun = [
        "RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "node1",
        "MASTER_PORT": "29500", "TORCHELASTIC_RUN_ID": "run", "TORCHELASTIC_USE_AGENT_STORE": "True",
    ]
    static let slurm = [
        "SLURM_PROCID": "6", "SLURM_LOCALID": "2", "SLURM_STEP_NUM_TASKS": "8", "SLURM_STEP_TASKS_PER_NODE": "4(x2)",
        "SLURM_STEP_NODELIST": "gpu[07-08]", "SLURM_JOB_ID": "99", "SLURM_STEP_ID": "1",
    ]
    static let fathom = [
        "FATHOM_RANK": "2", "FATHOM_RANKS": "6", "FATHOM_NODES": "3", "FATHOM_RENDEZVOUS": "127.0.0.1:4567",
        "FATHOM_JOB": "12.4567",
    ]

    @Test("Without a launcher there is no group")
    func none() throws {
        #expect(try RankEnvironment([:]) == nil)
        #expect(try RankEnvironment(["PATH": "/bin", "RANK": "1", "SLURM_PROCID": "0"]) == nil)
    }

    @Test("mpirun's ranks of one machine meet at a port that the job decides")
    func mpirun() throws {
        let found = try #require(try RankEnvironment(Self.openMPI))
        #expect(found.launcher == .openMPI && found.rank == 5)
        #expect(found.topology == (try Topology(rankCount: 8)))
        #expect(found.rendezvous.host == "127.0.0.1" && (20_000..<32_000).contains(found.rendezvous.port))
        #expect(try RankEnvironment(Self.openMPI)?.rendezvous == found.rendezvous)
        let other = Self.openMPI.merging(["PMIX_NAMESPACE": "3427860482"]) { $1 }
        #expect(try RankEnvironment(other)?.job != found.job)
    }

    @Test("mpirun on several machines needs to be told where rank 0 is")
    func mpirunNodes() throws {
        let two = Self.openMPI.merging([
            "OMPI_COMM_WORLD_LOCAL_SIZE": "4", "OMPI_COMM_WORLD_LOCAL_RANK": "1",
        ]) { $1 }
        expectFailure(.configuration, naming: ["2 machines", "FATHOM_RENDEZVOUS"]) { () throws(FathomError) in
            _ = try RankEnvironment(two)
        }
        let told = two.merging(["FATHOM_RENDEZVOUS": "[fe80::1]:99"]) { $1 }
        let found = try #require(try RankEnvironment(told))
        #expect(found.topology.nodeCount == 2 && found.rendezvous == HostPort(host: "fe80::1", port: 99))
        #expect("\(found.rendezvous)" == "[fe80::1]:99")
    }

    @Test("torchrun's own store keeps its port; without one rank 0 takes it")
    func torch() throws {
        let found = try #require(try RankEnvironment(Self.torchrun))
        #expect(found.launcher == .torchrun && found.rank == 3 && found.topology.ranksPerNode == 2)
        #expect(found.rendezvous == HostPort(host: "node1", port: 29501))
        let plain = Self.torchrun.merging(["TORCHELASTIC_USE_AGENT_STORE": "False"]) { $1 }
        #expect(try RankEnvironment(plain)?.rendezvous.port == 29500)
        let again = Self.torchrun.merging(["TORCHELASTIC_RESTART_COUNT": "1"]) { $1 }
        #expect(try RankEnvironment(again)?.job != found.job)
    }

    @Test("srun's first node is where rank 0 listens")
    func srun() throws {
        let found = try #require(try RankEnvironment(Self.slurm))
        #expect(found.launcher == .slurm && found.rank == 6 && found.topology.nodeCount == 2)
        #expect(found.rendezvous.host == "gpu07" && found.job == "99.1")
        let lists = ["a": "a", "a,b[1-3]": "a", "r[2-3]n[01,09]-ib,x": "r2n01-ib", "h[5]": "h5"]
        for (list, host) in lists {
            let variables = Self.slurm.merging(["SLURM_STEP_NODELIST": list, "SLURM_STEP_RESV_PORTS": "12000-12003"]) {
                $1
            }
            #expect(try RankEnvironment(variables)?.rendezvous == HostPort(host: host, port: 12000))
        }
    }

    @Test("What fathom launch says comes back, and it counts before the launchers around it")
    func launch() throws {
        let found = try #require(try RankEnvironment(Self.fathom))
        #expect(found.launcher == .fathom && found.rank == 2 && found.topology.nodeCount == 3 && found.job == "12.4567")
        #expect(found.variables == Self.fathom)
        for outer in [Self.openMPI, Self.torchrun, Self.slurm] {
            #expect(try RankEnvironment(outer.merging(Self.fathom) { $1 }) == found)
        }
        #expect(try RankEnvironment(Self.slurm.merging(Self.openMPI) { $1 })?.launcher == .openMPI)
        #expect(try RankEnvironment(Self.slurm.merging(Self.torchrun) { $1 })?.launcher == .torchrun)
    }

    static let wrong: [([String: String], String, String)] = [
        (openMPI, "OMPI_COMM_WORLD_SIZE", "0"), (openMPI, "OMPI_COMM_WORLD_RANK", "8"),
        (openMPI, "OMPI_COMM_WORLD_RANK", "x"), (openMPI, "OMPI_COMM_WORLD_LOCAL_SIZE", ""),
        (openMPI, "OMPI_COMM_WORLD_LOCAL_SIZE", "7"), (openMPI, "OMPI_COMM_WORLD_LOCAL_RANK", "4"),
        (torchrun, "WORLD_SIZE", "-4"), (torchrun, "MASTER_PORT", "65536"), (torchrun, "MASTER_ADDR", ""),
        (torchrun, "LOCAL_WORLD_SIZE", "3"), (slurm, "SLURM_STEP_TASKS_PER_NODE", "4,2"),
        (slurm, "SLURM_PROCID", "9"), (slurm, "SLURM_STEP_NODELIST", "[1-2"),
        (fathom, "FATHOM_RANKS", "5000"), (fathom, "FATHOM_NODES", "4"), (fathom, "FATHOM_RANK", "6"),
        (fathom, "FATHOM_RENDEZVOUS", "nowhere"), (fathom, "FATHOM_RENDEZVOUS", "host:0"),
    ]

    @Test("Variables that are wrong or do not fit are named", arguments: wrong.indices)
    func malformed(index: Int) throws {
        let (base, name, value) = Self.wrong[index]
        let word = name.contains("TASKS_PER_NODE") ? "tasks per node" : name
        expectFailure(.configuration, naming: [word]) { () throws(FathomError) in
            _ = try RankEnvironment(base.merging([name: value]) { $1 })
        }
    }
}
