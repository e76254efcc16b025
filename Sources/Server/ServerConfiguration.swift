// SPDX-License-Identifier: MIT

#if Server
public import Platform

/// Where and how the server listens, and its limits.
public struct ServerConfiguration: Sendable {
    /// A host name or address to listen on.
    public var host = "127.0.0.1"
    /// 0 lets the system choose.
    public var port = 8080
    /// The token that clients send as `Authorization: Bearer …`; nil lets everybody in.
    public var apiKey: String?
    /// Whether an address that other machines reach may be bound without `apiKey`.
    public var allowsPublicBind = false
    /// The name that clients give in `model`; nil takes the loaded model's own.
    public var modelName: String?
    /// What `/version` says.
    public var version = "0.1.0"

    /// The largest request body.
    public var maximumBodyBytes = 16 << 20
    /// The largest request head, and the largest single header.
    public var maximumHeaderBytes = 32 << 10
    public var maximumHeaderCount = 100
    /// Further connections wait in the system's backlog.
    public var maximumConnections = 1024
    /// The largest `n`, and the largest number of prompts of one `/v1/completions`.
    public var maximumChoices = 64

    /// A connection is closed when no complete request head arrives for this long.
    public var idleTimeoutMilliseconds = 60_000
    /// From a request's head to the end of its body.
    public var requestReadTimeoutMilliseconds = 30_000
    /// A client that does not take what was sent for this long is cut off.
    public var writeStallTimeoutMilliseconds = 60_000
    /// Silence on a stream after which a comment line shows that the connection is alive.
    public var keepAliveMilliseconds = 10_000
    /// How long running requests may go on after a signal to stop.
    public var drainTimeoutMilliseconds = 30_000
    /// How long, after the drain's deadline, the last answers may take to reach their clients; then connections are
    /// cut.
    public var flushTimeoutMilliseconds = 5_000

    public init() {}

    /// Whether only this machine can reach `host`.
    public var isLoopback: Bool {
        let name = host.lowercased()
        if name == "localhost" || name == "::1" || name == "[::1]" { return true }
        let parts = name.split(separator: ".", omittingEmptySubsequences: false)
        return parts.count == 4 && parts[0] == "127" && parts.allSatisfy { UInt8($0) != nil }
    }

    /// - Throws: `configuration`, naming the setting.
    public func validate() throws(FathomError) {
        guard !host.isEmpty else {
            throw FathomError(.configuration, "host is empty; 127.0.0.1 is the default")
        }
        guard (0...65_535).contains(port) else {
            throw FathomError(.configuration, "port must be from 0 to 65535, found \(port)")
        }
        if let apiKey, apiKey.isEmpty || apiKey.utf8.contains(where: { $0 <= 0x20 || $0 >= 0x7F }) {
            throw FathomError(
                .configuration, "the API key must be visible ASCII characters, at least one, no spaces")
        }
        guard isLoopback || apiKey != nil || allowsPublicBind else {
            throw FathomError(
                .configuration,
                """
                refusing to listen on \(host) without an API key, because other machines may reach it; \
                set an API key, listen on 127.0.0.1, or allow a public address explicitly
                """)
        }
        let positive = [
            ("maximumBodyBytes", maximumBodyBytes), ("maximumHeaderBytes", maximumHeaderBytes),
            ("maximumHeaderCount", maximumHeaderCount), ("maximumConnections", maximumConnections),
            ("maximumChoices", maximumChoices), ("idleTimeoutMilliseconds", idleTimeoutMilliseconds),
            ("requestReadTimeoutMilliseconds", requestReadTimeoutMilliseconds),
            ("writeStallTimeoutMilliseconds", writeStallTimeoutMilliseconds),
            ("keepAliveMilliseconds", keepAliveMilliseconds),
            ("flushTimeoutMilliseconds", flushTimeoutMilliseconds),
        ]
        for (name, value) in positive where value <= 0 {
            throw FathomError(.configuration, "\(name) must be positive, found \(value)")
        }
        guard drainTimeoutMilliseconds >= 0 else {
            throw FathomError(
                .configuration,
                "drainTimeoutMilliseconds must not be negative, found \(drainTimeoutMilliseconds)")
        }
    }
}
#endif
