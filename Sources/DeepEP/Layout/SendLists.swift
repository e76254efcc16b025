// SPDX-License-Identifier: MIT

/// The tokens that one rank sends, by where they go; each list ascending.
struct SendLists: Sendable {
    /// Tokens for each rank.
    private(set) var toRank: [[Int32]]
    /// Tokens for each node as the exchange sees it, the own node's included.
    private(set) var toNode: [[Int32]]

    init(_ layout: DispatchLayout, wiring: ExchangeWiring) {
        toRank = layout.tokensPerRank.map { count in
            var list: [Int32] = []
            list.reserveCapacity(count)
            return list
        }
        toNode = Array(repeating: [], count: wiring.nodeCount)
        for token in 0..<layout.ranksOfToken.count {
            var lastNode = -1
            for rank in layout.ranksOfToken[token] {
                toRank[Int(rank)].append(Int32(token))
                let node = Int(rank) / wiring.nodeSize
                if node != lastNode { toNode[node].append(Int32(token)) }
                lastNode = node
            }
        }
    }

    func counts(_ layout: DispatchLayout) -> ExchangeCounts {
        ExchangeCounts(
            toRank: toRank.map { Int32($0.count) }, toNode: toNode.map { Int32($0.count) },
            toExpert: layout.tokensPerExpert.map(Int32.init))
    }
}

extension CombineProtocol.Plan {
    /// The way back of a finished dispatch.
    init(_ dispatch: DispatchProtocol, layout: DispatchLayout) {
        let wiring = dispatch.wiring
        let counts = dispatch.counts.compactMap(\.self)
        let own = counts[wiring.rank]
        self.init(
            wiring: wiring, capacity: dispatch.capacity,
            rowsOfSource: counts.map { Int($0.toRank[wiring.rank]) },
            rowsOfKey: (0..<wiring.rankCount).map { key in
                Int(counts[wiring.source(ofKey: key)].toRank[wiring.target(ofKey: key)])
            },
            wanted: dispatch.wanted, ownKeys: Lists(), otherNodes: Lists(),
            recordsToNode: own.toNode.enumerated().map { $0 == wiring.node ? 0 : Int($1) })
        ownKeys.reserve(lists: layout.ranksOfToken.count, values: own.toRank.reduce(0) { $0 + Int($1) })
        otherNodes.reserve(lists: layout.ranksOfToken.count, values: recordsToNode.reduce(0, +))
        for token in 0..<layout.ranksOfToken.count {
            for rank in layout.ranksOfToken[token].lazy.map(Int.init) {
                let node = Int32(rank / wiring.nodeSize)
                if Int(node) == wiring.node {
                    ownKeys.add(Int32(wiring.key(source: wiring.rank, target: rank)))
                } else if !otherNodes.endsIn(node) {
                    otherNodes.add(node)
                }
            }
            ownKeys.endList()
            otherNodes.endList()
        }
    }
}
