// SPDX-License-Identifier: MIT

/// How fast tokens reach their experts on other GPUs and come back, from DeepEP's published tables.
///
/// DeepEP's README of February and March 2025: H800, 400 Gb/s InfiniBand; FP8 dispatch, bfloat16 combine; hidden 7,168,
/// top-8. On other hardware the rates scale with the link.
enum ExchangeRates {
    /// Normal kernels across nodes: GB/s over RDMA by size of the group, counted as each token once for each node
    /// that it goes to, its own included.
    private static let normal: [(ranks: Double, dispatch: Double, combine: Double)] = [
        (16, 43, 43), (32, 58, 57), (64, 51, 50),
    ]
    /// Within a node: GB/s over NVLink of 160.
    private static let withinNode = (dispatch: 153.0, combine: 158.0, link: 160.0)
    /// Low-latency kernels: microseconds for 128 tokens of 7,168.
    private static let lowLatency: [(ranks: Double, dispatch: Double, combine: Double)] = [
        (8, 77, 114), (16, 118, 195), (32, 155, 273), (64, 173, 314), (128, 192, 369), (256, 194, 360),
    ]
    private static let tokens = 128.0
    private static let hidden = 7168.0
    private static let topK = 8.0
    /// The line rate that the tables were measured on, GB/s.
    private static let networkRate = 50.0

    /// Seconds of a normal dispatch and combine of `tokens` tokens of each rank.
    ///
    /// - Parameters:
    ///   - nodesPerToken: nodes that a token goes to on average; ranks per token within one node.
    static func normal(
        ranks: Int, tokens: Double, hidden: Int, nodesPerToken: Double, ranksPerToken: Double, on hardware: Hardware
    ) -> (dispatch: Double, combine: Double) {
        let float8Row = Double(hidden) * (1 + 4.0 / 128)
        let bfloat16Row = 2 * Double(hidden)
        if ranks <= hardware.gpusPerNode {
            let scale = hardware.nvlinkGigabytesPerSecond / withinNode.link * 1e9
            // What a rank receives: as many rows as it sends.
            let rows = tokens * ranksPerToken
            return (
                rows * float8Row / (withinNode.dispatch * scale), rows * bfloat16Row / (withinNode.combine * scale)
            )
        }
        let rate = interpolate(normal, Double(ranks))
        let scale = hardware.networkGigabytesPerSecond / networkRate * 1e9
        let rows = tokens * nodesPerToken
        return (rows * float8Row / (rate.dispatch * scale), rows * bfloat16Row / (rate.combine * scale))
    }

    /// Seconds of a low-latency dispatch and combine of `tokens` tokens of each rank. Times are proportional to the
    /// bytes of the published ones, and at least `least`.
    static func lowLatency(
        ranks: Int, tokens count: Double, hidden width: Int, topK choices: Int, least: Double, on hardware: Hardware
    ) -> (dispatch: Double, combine: Double) {
        let time = interpolate(lowLatency, Double(ranks))
        let isLocal = ranks <= hardware.gpusPerNode
        let link =
            isLocal
            ? hardware.nvlinkGigabytesPerSecond / withinNode.link : hardware.networkGigabytesPerSecond / networkRate
        let scale = count / tokens * Double(width) / hidden * Double(choices) / topK / link * 1e-6
        return (max(least, time.dispatch * scale), max(least, time.combine * scale))
    }

    private static func interpolate(
        _ table: [(ranks: Double, dispatch: Double, combine: Double)], _ ranks: Double
    ) -> (dispatch: Double, combine: Double) {
        guard let first = table.first, let last = table.last else { return (0, 0) }
        if ranks <= first.ranks { return (first.dispatch, first.combine) }
        for (low, high) in zip(table, table.dropFirst()) where ranks <= high.ranks {
            let part = log2(ranks / low.ranks) / log2(high.ranks / low.ranks)
            return (
                low.dispatch + part * (high.dispatch - low.dispatch),
                low.combine + part * (high.combine - low.combine)
            )
        }
        return (last.dispatch, last.combine)
    }
}
