// SPDX-License-Identifier: MIT

internal import Telemetry

extension SpanKind {
    /// A call of an attention: query tokens, heads and requests.
    static let attention = SpanKind("attention", category: "attention", numbers: ["tokens", "heads", "requests"])
    /// The division of an attention's work among threads.
    static let schedule = SpanKind("attention schedule", category: "attention", numbers: ["requests", "threads"])
}
