// SPDX-License-Identifier: MIT

internal import Telemetry

extension SpanKind {
    /// A dispatch of this rank's tokens.
    static let dispatch = SpanKind("ep dispatch", category: "ep", numbers: ["tokens"])
    /// A combine of the rows that this rank returns.
    static let combine = SpanKind("ep combine", category: "ep", numbers: ["rows"])
    /// The low-latency way: what is sent, and what is waited for and taken.
    static let dispatchSend = SpanKind("ep dispatch send", category: "ep", numbers: ["tokens"])
    static let dispatchReceive = SpanKind("ep dispatch receive", category: "ep", numbers: ["operation"])
    static let combineSend = SpanKind("ep combine send", category: "ep", numbers: ["operation"])
    static let combineReceive = SpanKind("ep combine receive", category: "ep", numbers: ["operation"])
    /// Members and places change.
    static let renewal = SpanKind("ep renewal", category: "ep", numbers: ["members", "generation"])
}
