// SPDX-License-Identifier: MIT

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#elseif canImport(Darwin)
import Darwin
#endif

/// What the three standard streams are connected to.
enum Terminal {
    static var inputIsTerminal: Bool { isatty(STDIN_FILENO) == 1 }
    static var outputIsTerminal: Bool { isatty(STDOUT_FILENO) == 1 }
    static var errorIsTerminal: Bool { isatty(STDERR_FILENO) == 1 }

    /// Whether standard output may carry colours: a terminal that knows them, and no `NO_COLOR`.
    static var outputHasColor: Bool { outputIsTerminal && allowsColor }

    /// Columns of text where it is not said how many there are.
    private static let usualColumns = 80

    /// How many columns standard output has: those of its terminal, or `COLUMNS`, or 80.
    static var outputColumns: Int {
        var size = winsize()
        if ioctl(STDOUT_FILENO, UInt(TIOCGWINSZ), &size) == 0, size.ws_col > 0 { return Int(size.ws_col) }
        return environmentVariable("COLUMNS").flatMap { Int($0) }.map { min(max($0, 1), 1000) } ?? usualColumns
    }

    private static var allowsColor: Bool {
        (environmentVariable("NO_COLOR") ?? "").isEmpty && environmentVariable("TERM") != "dumb"
    }
}

/// The value of an environment variable; nil where it is not set.
func environmentVariable(_ name: String) -> String? {
    // SAFETY: getenv returns nil or a NUL-terminated string, which is copied at once.
    getenv(name).map { String(cString: $0) }
}
