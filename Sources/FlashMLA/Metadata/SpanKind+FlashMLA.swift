// SPDX-License-Identifier: MIT

internal import Telemetry

extension SpanKind {
    /// A call of an attention: query tokens, heads and requests.
    static let attention = SpanKind("attention", category: "attention", numbers: ["tokens", "heads", "requests"])
}
