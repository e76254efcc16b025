// SPDX-License-Identifier: MIT

public import Platform

/// Where a process listens: a host's name or address, and a TCP port.
public struct HostPort: Sendable, Hashable, CustomStringConvertible {
    public let host: String
    public let port: Int

    /// As `init(text:)` reads it; IPv6 addresses in brackets.
    public var description: String { host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)" }

    public init(host: String, port: Int) {
        self.host = host
        self.port = port
    }

    /// - Parameter name: what the text was given as, for the error.
    /// - Throws: `configuration` for anything but HOST:PORT with a port in 1...65535.
    public init(text: String, name: String) throws(FathomError) {
        let colon = text.lastIndex(of: ":")
        var host = String(text[..<(colon ?? text.endIndex)])
        if host.hasPrefix("["), host.hasSuffix("]") { host = String(host.dropFirst().dropLast()) }
        guard let colon, !host.isEmpty, let port = Int(text[text.index(after: colon)...]), (1...65535).contains(port)
        else {
            throw FathomError(.configuration, "\(name) is '\(text)'; legal is HOST:PORT with a port of 1 to 65535")
        }
        self.init(host: host, port: port)
    }

    /// Whether only this machine can reach it.
    var isLoopback: Bool { host == "localhost" || host == "::1" || host.hasPrefix("127.") }
}
