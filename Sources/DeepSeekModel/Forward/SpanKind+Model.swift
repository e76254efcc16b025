// SPDX-License-Identifier: MIT

internal import Telemetry

extension SpanKind {
    static let attentionBlock = SpanKind("attention block", category: "model", numbers: ["layer", "tokens"])
    static let feedForward = SpanKind("feed forward", category: "model", numbers: ["layer", "tokens"])
    static let head = SpanKind("head", category: "model", numbers: ["rows"])
    /// Rows to the ranks of their experts, and results back.
    static let expertDispatch = SpanKind("ep dispatch", category: "ep", numbers: ["layer", "tokens"])
    static let expertCombine = SpanKind("ep combine", category: "ep", numbers: ["layer", "tokens"])
}
