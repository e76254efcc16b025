// SPDX-License-Identifier: MIT

#if Server
import CoreMetrics
import HTTPTypes
import Hummingbird
import HummingbirdCore
import Logging
import NIOCore
import Platform
import Synchronization
import Telemetry

/// The outermost layer of every exchange: its name, its metrics, its log line, and errors in OpenAI's shape.
struct ExchangeMiddleware: RouterMiddleware {
    typealias Context = ServerContext

    let state: ServerState
    let metrics: MetricsRegistry

    func handle(
        _ request: Request, context: ServerContext,
        next: @concurrent (Request, ServerContext) async throws -> Response
    ) async throws -> Response {
        let start = ContinuousClock.now
        let span = Spans.begin()
        var context = context
        context.requestID = RequestID.accepted(request.headers[.xRequestID])
        context.logger[metadataKey: "hb.request.id"] = nil
        context.logger[metadataKey: "request.id"] = "\(context.requestID)"
        state.exchangeBegan()
        var response = await respond(request, context, next)
        response.headers[.xRequestID] = context.requestID
        response.headers[.xContentTypeOptions] = "nosniff"
        let exchange = Exchange(
            state: state, metrics: metrics, logger: context.logger, start: start, span: span,
            // An unknown path or method must not become a metric's label.
            route: Self.route(context.endpointPath),
            method: Self.knownMethods.contains(request.method.rawValue) ? request.method.rawValue : "other",
            status: response.status.code)
        response.body = exchange.completing(response.body)
        return response
    }

    private static func route(_ endpoint: String?) -> String {
        // The router's word for none.
        guard let endpoint, endpoint != "NotFound" else { return "unknown" }
        return "/" + endpoint.drop { $0 == "/" }
    }

    private static let knownMethods: Set<String> = [
        "GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS",
    ]

    private func respond(
        _ request: Request, _ context: ServerContext,
        _ next: @concurrent (Request, ServerContext) async throws -> Response
    ) async -> Response {
        do {
            return try await next(request, context)
        } catch let error as APIError {
            return .failure(error)
        } catch let error as HTTPError where error.status == .notFound {
            return .failure(.unknownPath(request.uri.path))
        } catch {
            context.logger.error("request failed", metadata: ["error": "\(error)"])
            return .failure(.internalError(requestID: context.requestID))
        }
    }
}

/// Counts an exchange as open until its response is written or dropped.
private final class Exchange: Sendable {
    let state: ServerState
    let metrics: MetricsRegistry
    let logger: Logger
    let start: ContinuousClock.Instant
    let span: Spans.Start
    let route: String
    let method: String
    let status: Int
    private let isFinished = Atomic(false)

    init(
        state: ServerState, metrics: MetricsRegistry, logger: Logger, start: ContinuousClock.Instant,
        span: Spans.Start, route: String, method: String, status: Int
    ) {
        self.state = state
        self.metrics = metrics
        self.logger = logger
        self.start = start
        self.span = span
        self.route = route
        self.method = method
        self.status = status
    }

    deinit {
        finish()
    }

    private func finish() {
        guard !isFinished.exchange(true, ordering: .relaxed) else { return }
        state.exchangeEnded()
        Spans.end(span, RequestSpans.kind("\(method) \(route)"), status)
        let elapsed = start.duration(to: .now)
        let seconds = Double(elapsed.components.seconds) + Double(elapsed.components.attoseconds) / 1e18
        let dimensions = [("route", route), ("method", method)]
        Counter(
            label: "http_server_requests", dimensions: dimensions + [("status", "\(status)")],
            factory: metrics
        ).increment()
        Recorder(
            label: "http_server_request_duration_seconds", dimensions: dimensions, aggregate: true,
            factory: metrics
        ).record(seconds)
        logger.debug(
            "\(method) \(route)", metadata: ["http.status": "\(status)", "seconds": "\(seconds)"])
    }

    /// The body, holding on to this exchange until it is written.
    func completing(_ body: ResponseBody) -> ResponseBody {
        ResponseBody(contentLength: body.contentLength) { writer in
            defer { self.finish() }
            try await body.write(writer)
        }
    }
}
#endif
