// SPDX-License-Identifier: MIT

#if Server
import Hummingbird
import HummingbirdCore
public import Logging
import NIOCore
public import Platform
import ServiceLifecycle
import Synchronization
public import Telemetry
import UnixSignals

/// The HTTP service: OpenAI's API, probes, metrics and the chat page, for one model.
///
///     let server = try FathomServer(configuration: configuration, logger: logger) { try loadModel() }
///     try await server.run()
///
/// It listens at once and answers `/health`; everything that needs the model answers 503 until the loader
/// returns.
public final class FathomServer: Sendable {
    private let configuration: ServerConfiguration
    private let logger: Logger
    private let metrics: MetricsRegistry
    private let loader: @Sendable () throws -> ServedModel
    private let onListening: @Sendable (Int) -> Void
    private let handlesSignals: Bool
    private let group = Mutex<ServiceGroup?>(nil)

    /// - Parameters:
    ///   - metrics: what `/metrics` shows.
    ///   - handlesSignals: whether SIGTERM and SIGINT stop the server; false where it is a part of another
    ///     program.
    ///   - onListening: called once with the port, when connections are accepted.
    ///   - loader: makes the model; runs on a thread that may block.
    /// - Throws: `configuration` for settings that contradict each other or are out of range.
    public init(
        configuration: ServerConfiguration, logger: Logger, metrics: MetricsRegistry = .shared,
        handlesSignals: Bool = true, onListening: @escaping @Sendable (_ port: Int) -> Void = { _ in },
        loader: @escaping @Sendable () throws -> ServedModel
    ) throws(FathomError) {
        try configuration.validate()
        self.configuration = configuration
        self.logger = logger
        self.metrics = metrics
        self.handlesSignals = handlesSignals
        self.onListening = onListening
        self.loader = loader
    }

    /// Serves until SIGTERM, SIGINT or `stop`, then drains: no new requests, running ones finish or are cut
    /// at the deadline with a last error event.
    ///
    /// - Throws: the loader's error, or `io` if the address cannot be bound.
    public func run() async throws {
        let state = ServerState()
        let application = makeApplication(state: state)
        let model = ModelService(loader: loader, state: state, configuration: configuration, logger: logger)
        // Services stop in reverse order: the model drains while the listener still answers.
        var settings = ServiceGroupConfiguration(
            services: [
                .init(service: application),
                // Cancelling the listener instead would log errors of its own around the loader's.
                .init(service: model, failureTerminationBehavior: .gracefullyShutdownGroup),
            ],
            gracefulShutdownSignals: handlesSignals ? [.sigterm, .sigint] : [], logger: quietLogger)
        settings.maximumGracefulShutdownDuration =
            .milliseconds(configuration.drainTimeoutMilliseconds)
            + .milliseconds(configuration.flushTimeoutMilliseconds)
        let group = ServiceGroup(configuration: settings)
        self.group.withLock { $0 = group }
        do {
            try await group.run()
        } catch let error as IOError {
            throw FathomError(
                .io,
                "cannot listen on \(configuration.host) port \(configuration.port): "
                    + systemErrorText(error.errnoCode))
        }
    }

    /// Does what SIGTERM does.
    public func stop() async {
        await group.withLock { $0 }?.triggerGracefulShutdown()
    }

    /// Hummingbird's own lines about starting and stopping repeat what this module logs.
    private var quietLogger: Logger {
        var quiet = logger
        if quiet.logLevel > .debug { quiet.logLevel = max(quiet.logLevel, .error) }
        return quiet
    }

    private func makeApplication(state: ServerState) -> some ApplicationProtocol {
        let configuration = configuration
        let connections = ConnectionRegistry()
        let api = APIContext(
            configuration: configuration, state: state, metrics: metrics, connections: connections)
        let http = HTTP1Channel.Configuration(
            additionalChannelHandlers: [
                ConnectionGuard(
                    registry: connections,
                    readTimeoutMilliseconds: configuration.requestReadTimeoutMilliseconds,
                    stallTimeoutMilliseconds: configuration.writeStallTimeoutMilliseconds)
            ],
            idleTimeout: .milliseconds(Int64(configuration.idleTimeoutMilliseconds)),
            httpDecoderConfiguration: .init(
                maxHeaderFieldSize: configuration.maximumHeaderBytes,
                maxHeaderListSize: configuration.maximumHeaderBytes,
                maxHeaderFieldCount: configuration.maximumHeaderCount))
        let onListening = onListening
        return Application(
            router: ServerRouter.make(api),
            server: .http1(configuration: http),
            configuration: ApplicationConfiguration(
                address: .hostname(configuration.host, port: configuration.port),
                availableConnectionsDelegate: .maximum(
                    configuration.maximumConnections, logger: quietLogger)),
            onServerRunning: { channel in onListening(channel.localAddress?.port ?? configuration.port) },
            logger: logger)
    }
}
#endif
