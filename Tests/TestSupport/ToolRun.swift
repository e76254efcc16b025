// SPDX-License-Identifier: MIT

public import Platform

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#elseif canImport(Darwin)
import Darwin
#endif

/// A tool that was run to its end, and what it said.
public struct ToolRun: Sendable {
    /// The exit status; 128 plus the signal's number where a signal ended it.
    public var status: Int32
    /// Standard output and standard error, interleaved.
    public var output: String

    /// Runs `name`, looked up on the path, and waits for its end.
    ///
    /// - Parameter environment: variables to set beside those of this process.
    public init(_ name: String, _ arguments: [String], environment: [String: String] = [:]) throws(FathomError) {
        let folder = try TemporaryFolder()
        let log = FilePaths.join(folder.path, "output")
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, log, O_WRONLY | O_CREAT | O_APPEND, 0o600)
        posix_spawn_file_actions_adddup2(&actions, STDOUT_FILENO, STDERR_FILENO)
        let additions = environment.map { "\($0.key)=\($0.value)" }
        // SAFETY: each string is copied by strdup, given to the new process, and freed here.
        let words = ([name] + arguments).map { strdup($0) }
        let variables = (additions + Self.variables(without: Set(environment.keys))).map { strdup($0) }
        defer { for word in words + variables { free(word) } }
        var process: pid_t = 0
        let code = posix_spawnp(&process, name, &actions, nil, words + [nil], variables + [nil])
        guard code == 0 else {
            throw FathomError(.unavailable, "cannot run \(name): \(systemErrorText(code))")
        }
        var raw: Int32 = 0
        while waitpid(process, &raw, 0) < 0 {
            guard errno == EINTR else { throw FathomError(.io, "cannot wait for \(name): \(systemErrorText())") }
        }
        status = raw & 0x7F == 0 ? raw >> 8 & 0xFF : 128 + (raw & 0x7F)
        output = String(decoding: try MappedFile.read(path: log), as: UTF8.self)
    }

    /// The variables of this process, but for some.
    private static func variables(without names: Set<String>) -> [String] {
        var found: [String] = []
        var next = environ
        // SAFETY: `environ` is an array of NUL-terminated strings with a null at its end; they are copied.
        while let entry = next.pointee {
            let text = String(cString: entry)
            if !names.contains(String(text.prefix { $0 != "=" })) { found.append(text) }
            next += 1
        }
        return found
    }
}
