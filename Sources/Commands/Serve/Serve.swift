// SPDX-License-Identifier: MIT

#if Server
public import ArgumentParser
import Inference
import Logging
import Platform
import Server
import Synchronization
public import Telemetry

/// Serves a model over HTTP.
struct Serve: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Serve a model over HTTP: OpenAI's API and a chat page.",
        discussion: """
            Ends at Ctrl-C or SIGTERM after the answers that are under way. An address that other machines \
            reach \
            needs an API key, or --allow-public.

            EXAMPLES
              fathom serve
              fathom serve --model DIR --host 0.0.0.0 --api-key SECRET
              FATHOM_API_KEY=SECRET fathom serve --port 9000 --log-format json
            """)

    @Option(help: ArgumentHelp("Address to listen on.", valueName: "address"))
    var host = "127.0.0.1"

    @Option(help: ArgumentHelp("Port to listen on; 0 lets the system choose.", valueName: "n"))
    var port: UInt16 = 8080

    @Option(
        help: ArgumentHelp(
            "Ask for this key; the environment's FATHOM_API_KEY does the same.", valueName: "key"))
    var apiKey: String?

    @Flag(help: "Listen on a public address without a key.")
    var allowPublic = false

    @Option(help: ArgumentHelp("Answers under way at once.", valueName: "n"))
    var maxRunning: Int?

    @Option(help: ArgumentHelp("Requests that may wait; further ones get 429.", valueName: "n"))
    var maxWaiting: Int?

    @Flag(
        inversion: .prefixedNo, help: "Keep the KV cache of prompts for later requests that begin alike.")
    var prefixCache = true

    @Option(help: ArgumentHelp("Form of the log lines on standard error.", valueName: "text|json"))
    var logFormat: LogFormat = .text

    @OptionGroup(title: "Model") var model: ModelOptions
    @OptionGroup(title: "Model") var execution: ExecutionOptions
    @OptionGroup(title: "Model") var experts: ExpertOptions
    @OptionGroup var logging: LoggingOptions

    func validate() throws {
        for (flag, value) in [("--max-running", maxRunning), ("--max-waiting", maxWaiting)] {
            if let value, value < 1 { throw ValidationError("\(flag) is \(value); legal is 1 or more") }
        }
    }

    func run() async throws {
        let folder = try model.folder()
        var logging = logging
        logging.format = logFormat
        let logger = logging.logger(label: "fathom", quietly: .info)
        if try experts.workedForAnother(model, execution: execution, logger: logger) { return }
        FathomLogHandler.bootstrap(format: logFormat, level: logger.logLevel)
        MetricsRegistry.bootstrap()
        var settings = ServerConfiguration()
        settings.host = host
        settings.port = Int(port)
        settings.apiKey =
            apiKey ?? environmentVariable("FATHOM_API_KEY").flatMap { $0.isEmpty ? nil : $0 }
        settings.allowsPublicBind = allowPublic
        settings.version = Fathom.configuration.version
        let announcement = Announcement(host: host, needsKey: settings.apiKey != nil)
        let execution = execution
        let experts = experts
        let limits = engineConfiguration
        // A request of more choices than may wait would be told to try again for ever.
        settings.maximumChoices = min(settings.maximumChoices, limits.maximumWaiting)
        let running = RunningEngine()
        let server = try FathomServer(
            configuration: settings, logger: logger, onListening: { announcement.listening(port: $0) },
            loader: {
                let model = try ServedModel.load(
                    folder: folder, execution: execution, experts: experts, limits: limits, logger: logger,
                    running: running
                )
                announcement.ready(model: model.name)
                return model
            })
        defer { running.stop() }
        try await server.run()
    }

    private var engineConfiguration: EngineConfiguration {
        var configuration = EngineConfiguration()
        if let maxRunning { configuration.maximumRunning = maxRunning }
        if let maxWaiting { configuration.maximumWaiting = maxWaiting }
        configuration.enablesPrefixCache = prefixCache
        return configuration
    }
}

extension LogFormat: ExpressibleByArgument {}

/// Tells the user where the server is, once it listens and the model is loaded.
private final class Announcement: Sendable {
    private struct State {
        var port: Int?
        var model: String?
    }

    private let host: String
    private let needsKey: Bool
    private let state = Mutex(State())

    init(host: String, needsKey: Bool) {
        self.host = host
        self.needsKey = needsKey
    }

    func listening(port: Int) {
        tell { $0.port = port }
    }

    func ready(model: String) {
        tell { $0.model = model }
    }

    /// Speaks when the second of the two has happened.
    private func tell(_ change: (inout State) -> Void) {
        state.withLock { state in
            change(&state)
            guard let port = state.port, let model = state.model else { return }
            let name = host.contains(":") && !host.hasPrefix("[") ? "[\(host)]" : host
            let address = "http://\(name):\(port)"
            let key = needsKey ? " -H 'Authorization: Bearer KEY'" : ""
            StandardError.write(
                """

                \(model) is ready. Chat in the browser: \(address)/
                Or ask from a shell:

                  curl \(address)/v1/chat/completions\(key) -H 'Content-Type: application/json' \\
                    -d '{"messages": [{"role": "user", "content": "What is 12 plus 30?"}], "temperature": 0}'

                Ctrl-C ends.


                """)
        }
    }
}
#endif
