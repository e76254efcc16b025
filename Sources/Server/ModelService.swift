// SPDX-License-Identifier: MIT

#if Server
import Hummingbird
import Logging
import NIOPosix
import Platform
import ServiceLifecycle

/// Loads the model beside the running server, and drains it when the server is told to stop.
struct ModelService: Service {
    let loader: @Sendable () throws -> ServedModel
    let state: ServerState
    let configuration: ServerConfiguration
    let logger: Logger

    private static let pollMilliseconds = 10

    func run() async throws {
        guard var model = try await load() else {
            _ = state.beginDraining()
            return
        }
        if let name = configuration.modelName { model.name = name }
        if model.created == 0 { model.created = UnixTime.now() }
        state.modelLoaded(model)
        logger.info("ready", metadata: ["model": "\(model.name)", "context": "\(model.contextLength)"])
        try? await gracefulShutdown()
        logger.info(
            "draining",
            metadata: [
                "open.exchanges": "\(state.activeExchanges)",
                "timeout.ms": "\(configuration.drainTimeoutMilliseconds)",
            ])
        _ = state.beginDraining()
        await model.engine.drain(timeoutMilliseconds: configuration.drainTimeoutMilliseconds)
        await flush()
    }

    /// Runs the loader on a thread that may block. Returns nil if the server is told to stop first.
    private func load() async throws -> ServedModel? {
        let (results, continuation) = AsyncStream.makeStream(of: Result<ServedModel, any Error>.self)
        let loader = loader
        NIOThreadPool.singleton.submit { state in
            guard state == .active else { return continuation.finish() }
            continuation.yield(Result { try loader() })
            continuation.finish()
        }
        for await result in results.cancelOnGracefulShutdown() { return try result.get() }
        return nil
    }

    /// Waits for the responses that are still being written, until the server cuts what is left.
    private func flush() async {
        while state.activeExchanges > 0, !Task.isCancelled {
            try? await Task.sleep(for: .milliseconds(Self.pollMilliseconds))
        }
    }
}
#endif
