// SPDX-License-Identifier: MIT

internal import Platform

/// Bytes that the original reserves for a shape, and what `ExpertExchange` shares at each rank.
public enum BufferSizes {
    /// `get_low_latency_rdma_size_hint` of the original: two buffers to send from and two to receive into, and signals.
    public static func lowLatency(tokensPerRank: Int, hidden: Int, experts: Int) -> Int {
        let row = 2 * hidden + 4 * (hidden / RowFormat.scaleBlock)
        let signals = (4 * experts + 127) / 128 * 128
        return 4 * experts * tokensPerRank * row + 2 * signals
    }

    /// The original's elastic buffer, rounded up to 2 MiB.
    ///
    /// - Parameters:
    ///   - nodes: above 1 the hybrid mode.
    ///   - overNVLink: whether all ranks of a direct group reach each other without RDMA.
    public static func elastic(
        ranks: Int, nodes: Int, tokensPerRank: Int, format: RowFormat, topK: Int, overNVLink: Bool = true
    ) -> Int {
        func aligned(_ count: Int, _ to: Int) -> Int { (count + to - 1) / to * to }
        let scales = format.scaleCount == 0 ? 0 : aligned(4 * ((format.hidden + 31) / 32), 32)
        let out = aligned(format.dataBytes, 32) + scales + aligned(8 * topK + 4 * (topK + 1), 32)
        let back = aligned(2 * format.hidden, 32) + aligned(8 * topK, 32)
        let inner = ranks / max(nodes, 1)
        let dispatch: Int
        let combine: Int
        if nodes > 1 {
            dispatch = out * (ranks * tokensPerRank + tokensPerRank + nodes * (tokensPerRank + 1024))
            combine =
                back
                * (min(inner, topK) * nodes * tokensPerRank + min(nodes, topK) * tokensPerRank + nodes
                    * (tokensPerRank + 1024))
        } else {
            dispatch = tokensPerRank * out * (ranks + (overNVLink ? 0 : 1))
            combine = tokensPerRank * back * (min(ranks, topK) + (overNVLink ? 0 : ranks))
        }
        return aligned(max(dispatch, combine), 2 << 20)
    }

    /// Address space that an `ExpertExchange` shares at each rank; what is never used costs no memory.
    public static func exchange(
        placement: ExpertPlacement, format: RowFormat, returning: RowFormat? = nil, topK: Int,
        capacity: ExchangeCapacity, twoHop: Bool
    ) -> Int {
        ExchangeMemory(
            placement: placement, format: format, returnFormat: returning ?? format.ofSums, topK: topK,
            capacity: capacity, nodeCount: twoHop ? placement.nodeCount : 1
        ).byteCount
    }
}
