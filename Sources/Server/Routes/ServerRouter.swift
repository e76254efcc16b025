// SPDX-License-Identifier: MIT

#if Server
import HTTPTypes
import Hummingbird
import HummingbirdCore
import Platform

/// The table of paths and methods.
enum ServerRouter {
    typealias Handler = @Sendable (Request, ServerContext) async throws -> Response

    static func make(_ api: APIContext) -> Router<ServerContext> {
        let router = Router(context: ServerContext.self, options: .autoGenerateHeadEndpoints)
        // Outermost, so that its span has the status of every answer; nothing where no tracer is bootstrapped.
        router.add(middleware: TracingMiddleware())
        router.add(middleware: ExchangeMiddleware(state: api.state, metrics: api.metrics))
        if let apiKey = api.configuration.apiKey {
            router.add(middleware: AuthenticationMiddleware(apiKey: apiKey))
        }
        let status = StatusRoutes(api: api)
        let tokens = TokenRoutes(api: api)
        add(router, .get, "/", ChatPage.respond)
        add(router, .get, "/health", status.health)
        add(router, .get, "/ready", status.ready)
        add(router, .get, "/version", status.version)
        add(router, .get, "/metrics", status.metrics)
        add(router, .get, "/v1/models", status.models)
        add(router, .get, "/v1/models/**", status.model)
        add(router, .post, "/v1/chat/completions", ChatRoute(api: api).respond)
        add(router, .post, "/v1/completions", CompletionRoute(api: api).respond)
        add(router, .post, "/tokenize", tokens.tokenize)
        add(router, .post, "/detokenize", tokens.detokenize)
        return router
    }

    /// Adds a route, and the refusal of the path's other methods.
    private static func add(
        _ router: Router<ServerContext>, _ method: HTTPRequest.Method, _ path: RouterPath,
        _ handler: @escaping Handler
    ) {
        router.on(path, method: method, use: handler)
        let allowed = method == .get ? "GET, HEAD" : method.rawValue
        let others: [HTTPRequest.Method] = [.get, .head, .post, .put, .patch, .delete, .options]
        for other in others where other != method && !(method == .get && other == .head) {
            router.on(path, method: other) { request, _ -> Response in
                throw APIError.method(other.rawValue, path: request.uri.path, allowed: allowed)
            }
        }
    }
}
#endif
