// SPDX-License-Identifier: MIT

import ArgumentParser
import Platform

/// The program: parses the arguments, runs the command, and turns an error into a line and an exit status.
public enum FathomMain {
    /// Runs the command that `arguments` name, without the program's own name.
    ///
    /// - Returns: the process's exit status.
    public static func run(_ arguments: [String]) async -> Int32 {
        do {
            var command = try Fathom.parseAsRoot(arguments)
            let recording = TraceRecording(command)
            do {
                // Before the trace ends: ranks that this one leads write theirs when it has left.
                defer { LedGroup.leave() }
                if var asynchronous = command as? any AsyncParsableCommand {
                    try await asynchronous.run()
                } else {
                    try command.run()
                }
            } catch {
                // The command's own failure is the one that counts.
                try? recording?.finish()
                throw error
            }
            try recording?.finish()
            return 0
        } catch let error as FathomError {
            StandardError.write("fathom: error: \(error)\n")
            return error.code.exitStatus
        } catch let status as ExitCode {
            // Whoever throws it has said why.
            return status.rawValue
        } catch {
            return finish(parserOutcome: error)
        }
    }

    /// What is left are help and version requests, which succeed, and the parser's complaints, which are
    /// usage.
    private static func finish(parserOutcome error: any Error) -> Int32 {
        let status = Fathom.exitCode(for: error)
        let text = Fathom.fullMessage(for: error)
        guard status == .success else {
            StandardError.write(text + "\n")
            return status == .validationFailure
                ? FathomError.Code.usage.exitStatus : FathomError.Code.internal.exitStatus
        }
        do {
            try StandardOutput.write(text + "\n")
            return 0
        } catch {
            StandardError.write("fathom: error: \(error)\n")
            return error.code.exitStatus
        }
    }
}
