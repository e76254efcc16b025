// SPDX-License-Identifier: MIT

import Telemetry

extension SpanKind {
    /// A step of the engine, and its parts.
    static let step = SpanKind("engine step", category: "engine", numbers: ["sequences", "tokens"])
    static let forward = SpanKind("engine forward", category: "engine", numbers: ["sequences"])
    static let sample = SpanKind("engine sample", category: "engine", numbers: ["tokens"])
}
