// SPDX-License-Identifier: MIT

internal import Telemetry

extension SpanKind {
    /// A dispatch of this rank's tokens.
    static let dispatch = SpanKind("ep dispatch", category: "ep", numbers: ["tokens"])
    /// A combine of the rows that this rank returns.
    static let combine = SpanKind("ep combine", category: "ep", numbers: ["rows"])
}
