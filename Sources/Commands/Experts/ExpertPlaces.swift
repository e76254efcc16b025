// SPDX-License-Identifier: MIT

import ArgumentParser
import FoundationEssentials
import Platform
import Ranks

/// Which processes share a model's experts, where that is not for this machine alone to say.
struct ExpertPlaces: ParsableArguments {
    @Option(
        name: .customLong("ep"),
        help: ArgumentHelp(
            "Spread the experts over this many processes; answers are the same, bit for bit.", valueName: "n"))
    var rankCount: Int?

    @Option(
        help: ArgumentHelp(
            "Machines that the processes run on, equally many on each; the others run fathom expert-worker.",
            valueName: "n"))
    var nodes = 1

    @Option(
        help: ArgumentHelp(
            "Where the processes of several machines meet: this machine's address where it serves.",
            valueName: "host:port"))
    var leader: String?

    /// Ranks at most.
    private static let maximumRankCount = 64

    func validate() throws {
        if let rankCount, !(1...Self.maximumRankCount).contains(rankCount) {
            throw ValidationError("--ep is \(rankCount); legal are 1 to \(Self.maximumRankCount) processes")
        }
        guard nodes >= 1, (rankCount ?? nodes) % nodes == 0 else {
            throw ValidationError(
                "--nodes is \(nodes) with \(rankCount ?? 1) processes; legal are numbers that divide --ep")
        }
    }

    /// What a launcher has told this process; nil where none has, or the process is the only one.
    func launched() throws(FathomError) -> RankEnvironment? {
        guard let environment = try RankEnvironment(ProcessInfo.processInfo.environment),
            environment.topology.rankCount > 1
        else { return nil }
        let topology = environment.topology
        let launcher = environment.launcher.rawValue
        guard (rankCount ?? topology.rankCount) == topology.rankCount, nodes == 1 || nodes == topology.nodeCount else {
            throw FathomError(
                .usage,
                "--ep is \(rankCount ?? topology.rankCount) and --nodes \(nodes) under \(launcher), "
                    + "which has started \(topology.rankCount) processes on \(topology.nodeCount) nodes; leave them out"
            )
        }
        guard topology.rankCount <= Self.maximumRankCount else {
            throw FathomError(
                .usage, "\(topology.rankCount) processes; legal are up to \(Self.maximumRankCount)")
        }
        return environment
    }

    /// What a launcher would tell the process of a rank, where processes of several machines meet at `leader`.
    func environment(rank: Int) throws(FathomError) -> RankEnvironment {
        guard let leader else {
            throw FathomError(
                .usage,
                "--nodes \(nodes) needs --leader HOST:PORT, an address here that others reach and a free port"
            )
        }
        let topology = try Topology(rankCount: rankCount ?? nodes, nodeCount: nodes)
        let place = try HostPort(text: leader, name: "--leader")
        let own = RankEnvironment(
            launcher: .fathom, rank: rank, topology: topology, rendezvous: place, job: "experts at \(place)")
        // FATHOM_TRANSPORT counts here too.
        let variables = ProcessInfo.processInfo.environment.merging(own.variables) { $1 }
        return try RankEnvironment(variables) ?? own
    }

    /// The arguments by which another process learns the same.
    var arguments: [String] {
        ["--ep", "\(rankCount ?? nodes)", "--nodes", "\(nodes)"] + (leader.map { ["--leader", $0] } ?? [])
    }
}
