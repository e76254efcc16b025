// SPDX-License-Identifier: MIT

internal import Telemetry

extension SpanKind {
    /// A plan for all layers.
    static let plan = SpanKind("eplb plan", category: "eplb", numbers: ["layers", "experts", "replicas"])
}
