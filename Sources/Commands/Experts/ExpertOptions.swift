// SPDX-License-Identifier: MIT

import ArgumentParser
import DeepSeekModel
import Logging
import Platform
import Ranks

/// Over how many processes a model's experts are spread.
struct ExpertOptions: ParsableArguments {
    @Option(
        name: .customLong("ep"),
        help: ArgumentHelp(
            "Spread the experts over this many processes; answers are the same, bit for bit.", valueName: "n"))
    var rankCount = 1

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

    /// Ranks at most.
    private static let maximumRankCount = 64

    func validate() throws {
        guard (1...Self.maximumRankCount).contains(rankCount) else {
            throw ValidationError("--ep is \(rankCount); legal are 1 to \(Self.maximumRankCount) processes")
        }
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

    /// Loads the checkpoint in `folder` with a progress bar; starts the other processes first if there are to be any.
    ///
    /// - Throws: what is wrong with the folder, `unavailable` if a process cannot be started or is lost.
    func load(folder: String, execution: ExecutionOptions, logger: Logger) throws(FathomError) -> Model {
        guard rankCount > 1 else {
            let executor = try execution.loadExecutor(folder: folder, logger: logger)
            return Model(executor: executor, configuration: executor.configuration, spread: nil)
        }
        let host = try GroupHost(Topology(rankCount: rankCount))
        var options = execution.executorOptions
        options.threadCount = options.threadCount ?? max(1, Machine.coreCount / rankCount)
        for rank in 1..<rankCount {
            try ExpertWorker.start(
                rank: rank, of: host.address, folder: folder, execution: execution, options: options,
                logLevel: logger.logLevel)
        }
        let progress = ProgressBar(title: "Loading")
        defer { progress.finish() }
        let metrics = ExpertMetrics()
        let executor = try ExpertParallelExecutor(
            group: host.group(limits: Self.limits), folder: folder, options: options, balance: balance, logger: logger,
            onChange: { metrics.record($0) }, progress: { progress.update(done: $0, total: $1) })
        return Model(executor: executor, configuration: executor.configuration, spread: executor)
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
