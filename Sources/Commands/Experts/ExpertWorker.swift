// SPDX-License-Identifier: MIT

import ArgumentParser
import DeepSeekModel
import Logging
import Platform
import Ranks

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#endif

/// One of the processes over which `--ep` spreads a model's experts. Started by the process that serves, not by hand.
struct ExpertWorker: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "expert-worker",
        abstract: "Compute experts for another process; started by --ep.",
        discussion: """
            Ends with the process that started it.

            EXAMPLES
              fathom expert-worker --group ADDRESS --rank 1
            """,
        shouldDisplay: false)

    @Option(help: ArgumentHelp("The group's address.", valueName: "address"))
    var group: String

    @Option(help: ArgumentHelp("This process's rank, from 1.", valueName: "n"))
    var rank: Int

    @OptionGroup(title: "Model") var model: ModelOptions
    @OptionGroup(title: "Model") var execution: ExecutionOptions
    @OptionGroup var logging: LoggingOptions

    func run() throws {
        let address = try GroupAddress(text: group)
        var logger = logging.logger(label: "fathom")
        logger[metadataKey: "rank"] = "\(rank)"
        let group = try RankGroup.join(address, rank: rank, limits: ExpertOptions.limits)
        try ExpertParallelWorker(
            group: group, folder: model.folder(), options: execution.executorOptions, logger: logger
        ).run()
    }

    /// Starts the worker of a rank, in a process group of its own: Ctrl-C is for the process that serves, whose leaving
    /// ends the workers.
    ///
    /// - Throws: `unavailable` if the system refuses.
    static func start(
        rank: Int, of address: GroupAddress, folder: String, execution: ExecutionOptions,
        options: DeepSeekExecutor.Options, logLevel: Logger.Level
    ) throws(FathomError) {
        var arguments = [
            "fathom", configuration.commandName ?? "", "--group", address.text, "--rank", "\(rank)", "--model", folder,
            "--threads", "\(options.threadCount ?? 1)", "--kv-dtype", options.cacheType.rawValue, "--head-dtype",
            options.headFormat.rawValue, "--activation-quantization", execution.activationQuantization.rawValue,
            "--log-level", max(logLevel, .warning).rawValue,
        ]
        if let tokens = options.cacheTokens { arguments += ["--cache-tokens", "\(tokens)"] }
        var attributes = posix_spawnattr_t()
        posix_spawnattr_init(&attributes)
        defer { posix_spawnattr_destroy(&attributes) }
        posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETPGROUP))
        posix_spawnattr_setpgroup(&attributes, 0)
        var files = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&files)
        defer { posix_spawn_file_actions_destroy(&files) }
        posix_spawn_file_actions_addopen(&files, STDIN_FILENO, "/dev/null", O_RDONLY, 0)
        // Standard output is for data, of which a worker has none.
        posix_spawn_file_actions_adddup2(&files, STDERR_FILENO, STDOUT_FILENO)
        // SAFETY: the strings live until posix_spawn has copied them, and are freed here.
        var pointers: [UnsafeMutablePointer<CChar>?] = arguments.map { strdup($0) } + [nil]
        defer { for pointer in pointers { free(pointer) } }
        // Nobody waits for the workers: the system takes their exit status back.
        signal(SIGCHLD, SIG_IGN)
        var process = pid_t()
        let status = posix_spawn(&process, "/proc/self/exe", &files, &attributes, &pointers, environ)
        guard status == 0 else {
            throw FathomError(
                .unavailable, "cannot start the process of rank \(rank): \(systemErrorText(status))")
        }
    }
}
