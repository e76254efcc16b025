// SPDX-License-Identifier: MIT

#if Server
import Synchronization
import Telemetry

/// Kinds of spans of requests, one for each method and route that was asked for. Both come from short lists, so there
/// are a few dozen at most.
enum RequestSpans {
    private static let kinds = Mutex<[String: SpanKind]>([:])

    /// The kind of a method and route; from the request's arrival until its response is written.
    static func kind(_ name: String) -> SpanKind {
        kinds.withLock { kinds in
            if let kind = kinds[name] { return kind }
            let kind = SpanKind(name, category: "server", numbers: ["status"], overlaps: true)
            kinds[name] = kind
            return kind
        }
    }
}
#endif
