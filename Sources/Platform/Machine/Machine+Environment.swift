// SPDX-License-Identifier: MIT

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#elseif canImport(Darwin)
import Darwin
#endif

extension Machine {
    /// The value of an environment variable; nil where it is not set or empty.
    public static func environment(_ name: String) -> String? {
        // SAFETY: getenv returns nil or a NUL-terminated string, which is copied at once.
        getenv(name).map { String(cString: $0) }.flatMap { $0.isEmpty ? nil : $0 }
    }

    /// The path of the running program; nil where the system does not tell.
    public static var executablePath: String? {
        #if os(Linux)
        guard let resolved = realpath("/proc/self/exe", nil) else { return nil }
        defer { free(resolved) }
        return String(cString: resolved)
        #else
        return nil
        #endif
    }
}
