// SPDX-License-Identifier: MIT

import ArgumentParser
import DeepSeekModel
import Logging
import Platform
import Ranks

/// Over how many processes a model's experts are spread.
struct ExpertOptions: ParsableArguments {
    @OptionGroup var places: ExpertPlaces

    @Option(
        help: ArgumentHelp(
            "Expert slots per layer beyond one for each expert; one for each process where left out.", valueName: "n"))
    var redundantExperts: Int?

    @Option(
        help: ArgumentHelp(
            "Steps after which the experts' loads are looked at, to move experts if they are uneven.", valueName: "n"))
    var balanceWindow = ExpertBalancer.Terms().windowSteps

    @Option(
        help: ArgumentHelp(
            "Mean work of a process over the fullest one's below which experts move, 0 for never.", valueName: "0…1"))
    var balanceBound = ExpertBalancer.Terms().bound

    func validate() throws {
        if let redundantExperts, !(0...1 << 16).contains(redundantExperts) {
            throw ValidationError("--redundant-experts is \(redundantExperts); legal are 0 to 65536")
        }
        guard balanceWindow > 0 else {
            throw ValidationError("--balance-window is \(balanceWindow); legal is 1 step or more")
        }
        guard (0...1).contains(balanceBound) else {
            throw ValidationError("--balance-bound is \(balanceBound); legal are 0 to 1")
        }
    }

    /// A loaded model, in this process or spread over several.
    struct Model {
        let executor: any ModelExecutor
        let configuration: DeepSeekConfiguration
        /// The same executor if it is spread.
        let spread: ExpertParallelExecutor?
    }

    /// Whether a launcher has made this process a rank that works for another, which it has done by now.
    ///
    /// - Throws: as `load`.
    func workedForAnother(
        _ model: ModelOptions, execution: ExecutionOptions, logger: Logger
    ) throws(FathomError) -> Bool {
        guard let environment = try places.launched(), environment.rank > 0 else { return false }
        try ExpertWorker.work(in: environment, folder: model.folder(), execution: execution, logger: logger)
        return true
    }

    /// Loads the checkpoint in `folder` with a progress bar; starts the other processes first if there are to be any.
    ///
    /// - Throws: what is wrong with the folder, `unavailable` if a process cannot be started or is lost.
    func load(folder: String, execution: ExecutionOptions, logger: Logger) throws(FathomError) -> Model {
        let group: RankGroup
        let options: DeepSeekExecutor.Options
        if let environment = try places.launched() {
            options = execution.executorOptions(ranks: environment.topology.ranksPerNode)
            group = try RankGroup.join(environment, limits: Self.limits)
        } else if places.nodes > 1 {
            let environment = try places.environment(rank: 0)
            options = execution.executorOptions(ranks: environment.topology.ranksPerNode)
            let start = WorkerStart(folder: folder, execution: execution, options: options, logger: logger)
            for rank in environment.topology.ranks(onNode: 0).dropFirst() {
                try start.run(rank: rank, joining: places.arguments)
            }
            announce(environment)
            group = try RankGroup.join(environment, limits: Self.limits)
        } else if case let rankCount = places.rankCount ?? 1, rankCount > 1 {
            let host = try GroupHost(Topology(rankCount: rankCount))
            options = execution.executorOptions(ranks: rankCount)
            let start = WorkerStart(folder: folder, execution: execution, options: options, logger: logger)
            for rank in 1..<rankCount { try start.run(rank: rank, joining: ["--group", host.address.text]) }
            group = try host.group(limits: Self.limits)
        } else {
            let executor = try execution.loadExecutor(folder: folder, logger: logger)
            return Model(executor: executor, configuration: executor.configuration, spread: nil)
        }
        LedGroup.keep(group)
        let progress = ProgressBar(title: "Loading")
        defer { progress.finish() }
        let metrics = ExpertMetrics()
        let executor = try ExpertParallelExecutor(
            group: group, folder: folder, options: options, balance: balance, logger: logger,
            onChange: { metrics.record($0) }, progress: { progress.update(done: $0, total: $1) })
        return Model(executor: executor, configuration: executor.configuration, spread: executor)
    }

    /// Says what to start on the other machines.
    private func announce(_ environment: RankEnvironment) {
        let first = (["fathom", "expert-worker"] + places.arguments).joined(separator: " ")
        let nodes = environment.topology.nodeCount
        let which = nodes == 2 ? "--node 1" : "--node K, with K from 1 to \(nodes - 1),"
        StandardError.note(
            "waiting for the other nodes; start there, with --model and the same options: \(first) \(which)")
    }

    private var balance: ExpertBalancer.Terms {
        var terms = ExpertBalancer.Terms()
        terms.redundantExperts = redundantExperts
        terms.windowSteps = balanceWindow
        terms.bound = balanceBound
        return terms
    }

    /// Loading a large checkpoint from a slow disk takes minutes; a rank that dies meanwhile is noticed at once.
    static var limits: RankGroup.Limits {
        var limits = RankGroup.Limits()
        limits.timeoutMilliseconds = 600_000
        return limits
    }
}
