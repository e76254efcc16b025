// SPDX-License-Identifier: MIT

public import Platform

/// What a launcher tells a process by environment variables: which rank it is, of how many, how they lie on nodes, and
/// where they meet.
///
/// | launcher | variables |
/// |---|---|
/// | `fathom launch` | `FATHOM_RANK`, `FATHOM_RANKS`, `FATHOM_NODES`, `FATHOM_RENDEZVOUS`, `FATHOM_JOB` |
/// | Open MPI's `mpirun` | `OMPI_COMM_WORLD_RANK`, `_SIZE`, `_LOCAL_RANK`, `_LOCAL_SIZE`; `PMIX_NAMESPACE` |
/// | `torchrun` and its like | `RANK`, `WORLD_SIZE`, `LOCAL_RANK`, `LOCAL_WORLD_SIZE`, `MASTER_ADDR`, `MASTER_PORT` |
/// | Slurm's `srun` | `SLURM_PROCID`, `SLURM_LOCALID`, `SLURM_STEP_NUM_TASKS`, `_TASKS_PER_NODE`, `_NODELIST`, … |
///
/// Whatever the launcher, `FATHOM_TRANSPORT` chooses a `Transport`, and `FATHOM_RENDEZVOUS` says where rank 0 listens;
/// `mpirun` on several machines needs the latter.
public struct RankEnvironment: Sendable, Equatable {
    /// Who started the process.
    public enum Launcher: String, Sendable, CaseIterable {
        case fathom = "fathom launch"
        case openMPI = "mpirun"
        case torchrun
        case slurm = "srun"
    }

    /// How ranks reach each other's memory.
    public enum Transport: String, Sendable, CaseIterable {
        /// Shared memory where all are on one machine, else the network.
        case automatic
        /// Shared memory.
        case memory
        /// UCX, even on one machine.
        case network
    }

    public let launcher: Launcher
    public let rank: Int
    public let topology: Topology
    /// Where rank 0 listens while the group forms.
    public let rendezvous: HostPort
    /// Tells this job from others that meet at the same place by mistake.
    public let job: String
    public var transport = Transport.automatic

    /// What the variables say; nil where no launcher has set any.
    ///
    /// The first of `fathom launch`, `mpirun`, `torchrun`, `srun` counts: the outer ones' variables are still there
    /// when one launcher runs under another.
    ///
    /// - Throws: `configuration` naming the variable that is missing, malformed, or does not fit the others.
    public init?(_ variables: [String: String]) throws(FathomError) {
        let reader = VariableReader(values: variables)
        if reader.text("FATHOM_RANK") != nil {
            self = try Self.fathom(reader)
        } else if reader.text("OMPI_COMM_WORLD_RANK") != nil {
            self = try Self.openMPI(reader)
        } else if reader.text("RANK") != nil, reader.text("WORLD_SIZE") != nil {
            self = try Self.torchrun(reader)
        } else if reader.text("SLURM_PROCID") != nil, reader.text("SLURM_STEP_ID", "SLURM_STEPID") != nil {
            self = try Self.slurm(reader)
        } else {
            return nil
        }
        if let name = reader.text("FATHOM_TRANSPORT") {
            guard let transport = Transport(rawValue: name) else {
                throw FathomError(
                    .configuration, "FATHOM_TRANSPORT is '\(name)'; legal are automatic, memory and network")
            }
            self.transport = transport
        }
    }

    public init(launcher: Launcher, rank: Int, topology: Topology, rendezvous: HostPort, job: String) {
        self.launcher = launcher
        self.rank = rank
        self.topology = topology
        self.rendezvous = rendezvous
        self.job = job
    }

    /// The variables by which `fathom launch` says this.
    public var variables: [String: String] {
        [
            "FATHOM_RANK": "\(rank)", "FATHOM_RANKS": "\(topology.rankCount)", "FATHOM_NODES": "\(topology.nodeCount)",
            "FATHOM_RENDEZVOUS": "\(rendezvous)", "FATHOM_JOB": job,
        ]
    }

    private static func fathom(_ reader: VariableReader) throws(FathomError) -> RankEnvironment {
        let count = try reader.number("FATHOM_RANKS", in: 1...RankGroup.maximumRankCount)
        let nodes = reader.text("FATHOM_NODES") == nil ? 1 : try reader.number("FATHOM_NODES", in: 1...count)
        guard let address = reader.text("FATHOM_RENDEZVOUS") else {
            throw FathomError(.configuration, "FATHOM_RENDEZVOUS is not set; legal is HOST:PORT of rank 0")
        }
        guard count % nodes == 0 else {
            throw FathomError(
                .configuration, "FATHOM_NODES is \(nodes), FATHOM_RANKS \(count); legal are nodes that divide the ranks"
            )
        }
        return RankEnvironment(
            launcher: .fathom, rank: try reader.number("FATHOM_RANK", in: 0...count - 1),
            topology: try Topology(rankCount: count, nodeCount: nodes),
            rendezvous: try HostPort(text: address, name: "FATHOM_RENDEZVOUS"), job: reader.text("FATHOM_JOB") ?? "")
    }

    private static func openMPI(_ reader: VariableReader) throws(FathomError) -> RankEnvironment {
        let place = try place(
            reader, rank: "OMPI_COMM_WORLD_RANK", count: "OMPI_COMM_WORLD_SIZE",
            local: "OMPI_COMM_WORLD_LOCAL_RANK", localCount: "OMPI_COMM_WORLD_LOCAL_SIZE")
        let job = reader.text("PMIX_NAMESPACE", "OMPI_MCA_ess_base_jobid", "OMPI_MCA_orte_hnp_uri") ?? "mpirun"
        let rendezvous: HostPort
        if let address = reader.text("FATHOM_RENDEZVOUS") {
            rendezvous = try HostPort(text: address, name: "FATHOM_RENDEZVOUS")
        } else if place.topology.nodeCount == 1 {
            rendezvous = HostPort(host: "127.0.0.1", port: derivedPort(job))
        } else {
            throw FathomError(
                .configuration,
                "mpirun runs on \(place.topology.nodeCount) machines and does not say where rank 0 is; pass "
                    + "-x FATHOM_RENDEZVOUS=HOST:PORT, the machine of rank 0 and a free port")
        }
        return RankEnvironment(
            launcher: .openMPI, rank: place.rank, topology: place.topology, rendezvous: rendezvous, job: job)
    }

    private static func torchrun(_ reader: VariableReader) throws(FathomError) -> RankEnvironment {
        let place = try place(
            reader, rank: "RANK", count: "WORLD_SIZE", local: "LOCAL_RANK", localCount: "LOCAL_WORLD_SIZE")
        let rendezvous: HostPort
        let master: HostPort
        if let address = reader.text("FATHOM_RENDEZVOUS") {
            rendezvous = try HostPort(text: address, name: "FATHOM_RENDEZVOUS")
            master = rendezvous
        } else {
            guard let host = reader.text("MASTER_ADDR") else {
                throw FathomError(.configuration, "MASTER_ADDR is not set; legal is the machine of rank 0")
            }
            let port = try reader.number("MASTER_PORT", in: 1...65534)
            master = HostPort(host: host, port: port)
            // torchrun's own store listens on the port itself.
            let isTaken = reader.text("TORCHELASTIC_USE_AGENT_STORE") == "True"
            rendezvous = HostPort(host: host, port: isTaken ? port + 1 : port)
        }
        let run = reader.text("TORCHELASTIC_RUN_ID") ?? "\(master)"
        return RankEnvironment(
            launcher: .torchrun, rank: place.rank, topology: place.topology, rendezvous: rendezvous,
            job: "\(run)#\(reader.text("TORCHELASTIC_RESTART_COUNT") ?? "0")")
    }

    /// The rank and the shape, where a launcher says the rank's number on its node and how many are there.
    private static func place(
        _ reader: VariableReader, rank: String, count: String, local: String, localCount: String
    ) throws(FathomError) -> (rank: Int, topology: Topology) {
        let total = try reader.number(count, in: 1...RankGroup.maximumRankCount)
        let own = try reader.number(rank, in: 0...total - 1)
        let perNode = try reader.number(localCount, in: 1...total)
        let index = try reader.number(local, in: 0...perNode - 1)
        return (
            own,
            try shape(
                rank: own, count: total, perNode: perNode, index: index,
                found: "\(rank)=\(own), \(count)=\(total), \(local)=\(index), \(localCount)=\(perNode)")
        )
    }

    /// - Throws: `configuration` if nodes have different numbers of ranks, or a node's ranks do not follow each other.
    static func shape(
        rank: Int, count: Int, perNode: Int, index: Int, found: String
    ) throws(FathomError) -> Topology {
        guard count % perNode == 0, rank % perNode == index else {
            throw FathomError(
                .configuration,
                "\(found): legal are nodes with equal numbers of ranks, which follow each other on a node (block order)"
            )
        }
        return try Topology(rankCount: count, nodeCount: count / perNode)
    }

    /// A port that all ranks of a job find by themselves, below those that systems hand out.
    static func derivedPort(_ job: String) -> Int {
        var hash: UInt64 = 0xcbf2_9ce4_8422_2325
        for byte in job.utf8 { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01b3 }
        return 20_000 + Int(hash % 12_000)
    }
}
