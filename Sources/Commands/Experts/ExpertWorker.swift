// SPDX-License-Identifier: MIT

import ArgumentParser
import DeepSeekModel
import Logging
import Platform
import Ranks

/// One of the processes over which `--ep` spreads a model's experts.
struct ExpertWorker: ParsableCommand, TracedCommand {
    static let configuration = CommandConfiguration(
        commandName: "expert-worker",
        abstract: "Compute experts for another process that serves, generates or chats.",
        discussion: """
            On the machine that serves they are started by --ep. On others start one for each node: it starts the \
            node's other processes itself. Under fathom launch, mpirun, torchrun or srun the launcher says which \
            rank it is, as it does if all ranks are fathom serve. Each machine has the checkpoint in a folder of its \
            own; one that differs is refused. Several machines need the package trait UCX. Ends with the process that \
            it works for.

            EXAMPLES
              fathom serve --ep 8 --nodes 2 --leader 10.0.0.1:7700
              fathom expert-worker --ep 8 --nodes 2 --leader 10.0.0.1:7700 --node 1 --model DIR
            """,
        shouldDisplay: false)

    @Option(help: ArgumentHelp("A group of this machine.", valueName: "address"))
    var group: String?

    @OptionGroup var places: ExpertPlaces

    @Option(help: ArgumentHelp("Be all processes of this node, from 1.", valueName: "n"))
    var node: Int?

    @Option(help: ArgumentHelp("Be the one process of this rank, from 1.", valueName: "n"))
    var rank: Int?

    @OptionGroup(title: "Model") var model: ModelOptions
    @OptionGroup(title: "Model") var execution: ExecutionOptions
    @OptionGroup var logging: LoggingOptions

    @OptionGroup var tracing: TraceOptions

    var tracedRank: Int? { rank }

    func validate() throws {
        guard node == nil || rank == nil, node == nil || group == nil else {
            throw ValidationError("--node goes without --rank and --group")
        }
        if let node, !(1..<max(places.nodes, 2)).contains(node) {
            throw ValidationError("--node is \(node) of \(places.nodes); legal are 1 to \(max(places.nodes, 2) - 1)")
        }
    }

    func run() throws {
        let logger = logging.logger(label: "fathom")
        let folder = try model.folder()
        if let group {
            let address = try GroupAddress(text: group)
            let group = try RankGroup.join(address, rank: rank ?? 0, limits: ExpertOptions.limits)
            return try Self.work(
                in: group, folder: folder, options: execution.executorOptions, logger: logger)
        }
        if let environment = try environment() {
            return try Self.work(in: environment, folder: folder, execution: execution, logger: logger)
        }
        throw FathomError(
            .usage, "which rank? Name --leader and --node, or start it by fathom launch, mpirun, torchrun or srun")
    }

    /// What says which rank this is; starts the other processes of a node.
    private func environment() throws(FathomError) -> RankEnvironment? {
        if let rank { return try places.environment(rank: rank) }
        guard let node else { return try places.launched() }
        let topology = try places.environment(rank: 0).topology
        let ranks = topology.ranks(onNode: node)
        let start = WorkerStart(
            folder: try model.folder(), execution: execution,
            options: execution.executorOptions(ranks: topology.ranksPerNode), logger: logging.logger(label: "fathom"))
        for rank in ranks.dropFirst() { try start.run(rank: rank, joining: places.arguments) }
        return try places.environment(rank: ranks.lowerBound)
    }

    /// Works as a rank of a group that forms where `environment` says.
    static func work(
        in environment: RankEnvironment, folder: String, execution: ExecutionOptions, logger: Logger
    ) throws(FathomError) {
        let options = execution.executorOptions(ranks: environment.topology.ranksPerNode)
        let group = try RankGroup.join(environment, limits: ExpertOptions.limits)
        try work(in: group, folder: folder, options: options, logger: logger)
    }

    private static func work(
        in group: RankGroup, folder: String, options: DeepSeekExecutor.Options, logger: Logger
    ) throws(FathomError) {
        var logger = logger
        logger[metadataKey: "rank"] = "\(group.rank)"
        guard group.rank > 0 else {
            throw FathomError(.usage, "an expert worker as rank 0; that is the process that serves")
        }
        try ExpertParallelWorker(group: group, folder: folder, options: options, logger: logger).run()
    }
}
