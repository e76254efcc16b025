// SPDX-License-Identifier: MIT

import ArgumentParser
import DeepSeekModel
import Logging
import Platform

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#endif

/// How this process starts workers on its own machine.
struct WorkerStart {
    let folder: String
    let execution: ExecutionOptions
    let options: DeepSeekExecutor.Options
    let logger: Logger

    /// Starts the worker of a rank, in a process group of its own: Ctrl-C is for the process that serves, whose leaving
    /// ends the workers.
    ///
    /// - Parameter joining: the arguments that say of which group.
    /// - Throws: `unavailable` if the system refuses.
    func run(rank: Int, joining: [String]) throws(FathomError) {
        var arguments = ["fathom", ExpertWorker.configuration.commandName ?? ""] + joining
        arguments += [
            "--rank", "\(rank)", "--model", folder, "--threads", "\(options.threadCount ?? 1)", "--kv-dtype",
            options.cacheType.rawValue, "--head-dtype", options.headFormat.rawValue, "--activation-quantization",
            execution.activationQuantization.rawValue, "--log-level", max(logger.logLevel, .warning).rawValue,
        ]
        let trace = TraceRecording.file(ofRank: rank)
        if let trace { arguments += ["--trace", trace] }
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
        if trace != nil { TraceRecording.started(rank: rank, process: process) }
    }
}
