// SPDX-License-Identifier: MIT

internal import Telemetry

extension SpanKind {
    /// A call of the driver: rows of all its products, outputs and depth of the first.
    static let gemm = SpanKind("gemm", category: "gemm", numbers: ["rows", "outputs", "depth"])
}
