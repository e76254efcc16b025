// SPDX-License-Identifier: MIT

#if Server
import HTTPTypes
import Hummingbird
import HummingbirdCore
import Platform
import Telemetry

/// The routes that ask about the server and its model.
struct StatusRoutes: Sendable {
    let api: APIContext

    /// `GET /health`: the process is alive.
    func health(_ request: Request, _ context: ServerContext) async throws -> Response {
        .json(.object(["status": .string("ok")]))
    }

    /// `GET /ready`: 200 while requests for answers are taken, otherwise 503 with the reason.
    func ready(_ request: Request, _ context: ServerContext) async throws -> Response {
        switch api.state.phase {
        case .loading: return notReady("loading", "the model is still loading", retryAfterSeconds: 2)
        case .draining: return notReady("draining", "the server is shutting down", retryAfterSeconds: nil)
        case .serving(let model):
            let load = model.engine.load
            guard load.isHealthy else {
                return notReady(
                    "unhealthy", "the engine has failed; its log has the reason", retryAfterSeconds: nil)
            }
            var fields: [String: JSONValue] = [
                "status": .string("ready"), "model": .string(model.name), "running": .integer(load.running),
                "waiting": .integer(load.waiting), "kv_cache_usage": .number(load.kvCacheUsage),
            ]
            if let ranks = model.ranks?() {
                fields["ranks"] = .array(ranks.present.map { .integer($0) })
                fields["ranks_at_start"] = .integer(ranks.count)
            }
            return .json(.object(fields))
        }
    }

    private func notReady(_ status: String, _ reason: String, retryAfterSeconds: Int?) -> Response {
        var response = Response.json(
            .object(["status": .string(status), "reason": .string(reason)]), status: .serviceUnavailable)
        if let retryAfterSeconds { response.headers[.retryAfter] = "\(retryAfterSeconds)" }
        return response
    }

    /// `GET /v1/models`.
    func models(_ request: Request, _ context: ServerContext) async throws -> Response {
        let model = try api.state.loadedModel()
        return .json(.object(["object": .string("list"), "data": .array([card(model)])]))
    }

    /// `GET /v1/models/{id}`; the id may have slashes.
    func model(_ request: Request, _ context: ServerContext) async throws -> Response {
        let model = try api.state.loadedModel()
        let name = context.parameters.getCatchAll().joined(separator: "/")
        guard name == model.name || PercentEncoding.decoded(name) == model.name else {
            throw APIError.unknownModel(name, served: model.name)
        }
        return .json(card(model))
    }

    private func card(_ model: ServedModel) -> JSONValue {
        .object([
            "id": .string(model.name), "object": .string("model"), "created": .integer(model.created),
            "owned_by": .string("fathom"), "max_model_len": .integer(model.contextLength), "parent": .null,
        ])
    }

    /// `GET /version`.
    func version(_ request: Request, _ context: ServerContext) async throws -> Response {
        .json(.object(["version": .string(api.configuration.version)]))
    }

    /// `GET /metrics`.
    func metrics(_ request: Request, _ context: ServerContext) async throws -> Response {
        Response(
            status: .ok, headers: [.contentType: PrometheusText.contentType],
            body: ResponseBody(byteBuffer: ByteBuffer(string: api.metrics.prometheusText())))
    }
}
#endif
