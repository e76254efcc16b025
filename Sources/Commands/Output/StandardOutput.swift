// SPDX-License-Identifier: MIT

import Platform

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#elseif canImport(Darwin)
import Darwin
#endif

/// Standard output: data only, unbuffered, every failed write reported.
enum StandardOutput {
    /// Writes text as UTF-8.
    static func write(_ text: String) throws(FathomError) {
        try write(Array(text.utf8))
    }

    /// Writes bytes as they are.
    static func write(_ bytes: [UInt8]) throws(FathomError) {
        try writeAll(bytes, to: STDOUT_FILENO, named: "standard output")
    }
}

/// Standard error: talk. A failure to talk is not a failure of the command.
enum StandardError {
    /// Writes text as UTF-8.
    static func write(_ text: String) {
        write(Array(text.utf8))
    }

    /// Writes bytes as they are.
    static func write(_ bytes: [UInt8]) {
        try? writeAll(bytes, to: STDERR_FILENO, named: "standard error")
    }

    /// Writes one line that says who speaks.
    static func note(_ text: String) {
        write("fathom: \(text)\n")
    }
}

private func writeAll(_ bytes: [UInt8], to descriptor: Int32, named name: String) throws(FathomError) {
    var offset = 0
    while offset < bytes.count {
        // SAFETY: the slice lies inside `bytes`, which lives during the call.
        let written = bytes[offset...].withUnsafeBytes { write(descriptor, $0.baseAddress, $0.count) }
        if written < 0 {
            if errno == EINTR { continue }
            throw FathomError(.io, "cannot write to \(name): \(systemErrorText())")
        }
        offset += written
    }
}
