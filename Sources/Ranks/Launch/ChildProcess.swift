// SPDX-License-Identifier: MIT

internal import Platform
internal import Synchronization

#if canImport(Glibc)
internal import Glibc
#elseif canImport(Musl)
internal import Musl
#endif

/// A process that this one started, in a process group of its own, so that a signal reaches all that it starts.
///
/// Its standard input is empty; what it writes comes through pipes.
final class ChildProcess: Sendable {
    private let process: pid_t
    /// Read ends of its standard output and standard error.
    let output: Int32
    let errors: Int32
    private let ending = Mutex<LaunchSupervision.Ending?>(nil)

    /// - Throws: `missingInput` if there is no such program, `unavailable` if the system refuses.
    init(_ command: [String], environment: [String: String]) throws(FathomError) {
        var pipes: [Int32] = []
        for _ in 0..<2 {
            var ends: [Int32] = [-1, -1]
            guard pipe(&ends) == 0 else {
                let reason = systemErrorText()
                for end in pipes { close(end) }
                throw FathomError(.unavailable, "no pipe for the output of \(command[0]): \(reason)")
            }
            for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
            pipes += ends
        }
        let (status, process) = Self.spawn(command, environment, output: pipes[1], errors: pipes[3])
        close(pipes[1])
        close(pipes[3])
        guard status == 0 else {
            close(pipes[0])
            close(pipes[2])
            throw FathomError(
                status == ENOENT ? .missingInput : .unavailable,
                "cannot run '\(command[0])': \(systemErrorText(status))")
        }
        self.process = process
        output = pipes[0]
        errors = pipes[2]
        for end in [output, errors] { _ = fcntl(end, F_SETFL, O_NONBLOCK) }
    }

    deinit {
        close(output)
        close(errors)
    }

    private static func spawn(
        _ command: [String], _ environment: [String: String], output: Int32, errors: Int32
    ) -> (status: Int32, process: pid_t) {
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0)
        posix_spawn_file_actions_adddup2(&actions, output, STDOUT_FILENO)
        posix_spawn_file_actions_adddup2(&actions, errors, STDERR_FILENO)
        var attributes = posix_spawnattr_t()
        posix_spawnattr_init(&attributes)
        defer { posix_spawnattr_destroy(&attributes) }
        posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETPGROUP) | Int16(POSIX_SPAWN_SETSIGDEF))
        var defaults = sigset_t()
        sigemptyset(&defaults)
        sigaddset(&defaults, SIGPIPE)
        posix_spawnattr_setsigdefault(&attributes, &defaults)
        posix_spawnattr_setpgroup(&attributes, 0)
        // SAFETY: C strings of the arguments, freed after the call that reads them; each list ends with nil.
        var arguments = command.map { strdup($0) } + [nil]
        var variables = environment.sorted { $0.key < $1.key }.map { strdup("\($0.key)=\($0.value)") } + [nil]
        defer {
            for text in arguments { free(text) }
            for text in variables { free(text) }
        }
        var process: pid_t = 0
        let status = posix_spawnp(&process, command[0], &actions, &attributes, &arguments, &variables)
        return (status, process)
    }

    /// How it ended; nil while it runs.
    func poll() -> LaunchSupervision.Ending? {
        ending.withLock { ending in
            guard ending == nil else { return ending }
            var status: Int32 = 0
            guard waitpid(process, &status, WNOHANG) == process else { return nil }
            let signal = status & 0x7f
            ending = signal == 0 ? .exited(status >> 8 & 0xff) : .signalled(signal)
            return ending
        }
    }

    /// Sends a signal to the process and all that it started.
    func send(_ signal: Int32) {
        // Once it has been waited for its number may be another's; its group's cannot while anybody is in it.
        if kill(-process, signal) != 0, ending.withLock({ $0 }) == nil { kill(process, signal) }
    }
}
