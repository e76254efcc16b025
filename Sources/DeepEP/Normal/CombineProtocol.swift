// SPDX-License-Identifier: MIT

/// One rank's part in a combine: a state machine without clock, memory or network.
///
/// What was received goes back the same way: to the carrier, which adds up its node's rows for a token that came from
/// another node and sends the sum there, or which is the source. Streams keep the order of dispatch, so that the row
/// which a sum needs next is always the next of its stream, and rings of any length make progress.
struct CombineProtocol: Sendable {
    /// What a dispatch has left for the way back.
    struct Plan: Sendable {
        let wiring: ExchangeWiring
        let capacity: ExchangeCapacity
        /// Rows to return to each source.
        var rowsOfSource: [Int]
        /// Rows that come back by key: this rank is their carrier.
        var rowsOfKey: [Int]
        /// Records that this rank handed on for each other node, and the indices of the ranks that got each.
        var wanted: [[[Int32]]]
        /// [tokens] the keys on this node and then the other nodes that return parts of a token's sum.
        var ownKeys: [[Int32]]
        var otherNodes: [[Int32]]
        /// Records that went to each other node.
        var recordsToNode: [Int]
    }

    private let plan: Plan
    private let epoch: Int
    private var wiring: ExchangeWiring { plan.wiring }
    private var entered: [Bool]
    /// To carriers, by source; to sources on other nodes, by their node.
    private var toCarrier: [RowSender]
    private var toSource: [RowSender]
    /// From targets, by key; from carriers on other nodes, by node.
    private var fromTarget: [RowReceiver]
    private var fromCarrier: [RowReceiver]
    /// The next record of each node and the next token that has to be added up.
    private var nextRecord: [Int]
    private var nextToken = 0

    init(plan: Plan, epoch: Int) {
        self.plan = plan
        self.epoch = epoch
        let capacity = plan.capacity.returnRows
        entered = Array(repeating: false, count: plan.wiring.rankCount)
        toCarrier = plan.rowsOfSource.map { RowSender(total: $0, capacity: capacity) }
        fromTarget = plan.rowsOfKey.map { RowReceiver(total: $0, capacity: capacity) }
        toSource = plan.wanted.map { RowSender(total: $0.count, capacity: capacity) }
        fromCarrier = plan.recordsToNode.map { RowReceiver(total: $0, capacity: capacity) }
        nextRecord = plan.wanted.map { _ in 0 }
    }

    /// Whether this rank has nothing left to do.
    var isFinished: Bool {
        nextToken == plan.ownKeys.count && entered.allSatisfy(\.self) && toCarrier.allSatisfy(\.isDone)
            && toSource.allSatisfy(\.isDone)
    }

    /// The ranks that this one waits for, ascending.
    var awaited: [Int] {
        var ranks = Set(entered.indices.filter { !entered[$0] })
        for (source, stream) in toCarrier.enumerated() where !stream.isDone && !stream.hasRoom {
            ranks.insert(wiring.carrier(from: source, to: wiring.rank))
        }
        for (node, stream) in toSource.enumerated() where !stream.isDone && !stream.hasRoom {
            ranks.insert(wiring.counterpart(onNode: node))
        }
        for (key, stream) in fromTarget.enumerated() where stream.arrived < stream.total {
            ranks.insert(wiring.target(ofKey: key))
        }
        for (node, stream) in fromCarrier.enumerated() where stream.arrived < stream.total {
            ranks.insert(wiring.counterpart(onNode: node))
        }
        return ranks.sorted()
    }

    /// Enters the exchange.
    mutating func start(_ actions: inout [ExchangeAction]) {
        for step in 0..<wiring.rankCount {
            let peer = (wiring.rank + step) % wiring.rankCount
            tell(peer, wiring.entryWord(from: wiring.rank), 0, &actions)
        }
        sumTokens(&actions)
    }

    mutating func handle(_ event: ExchangeEvent, _ actions: inout [ExchangeAction]) {
        guard case .signal(let index, let value) = event, let word = wiring.word(at: index) else { return }
        if case .entry(let rank) = word {
            guard SignalValue.epoch(value) >= epoch, !entered[rank] else { return }
            entered[rank] = true
            pump(&actions)
            if rank / wiring.nodeSize != wiring.node { sumRecords(of: rank / wiring.nodeSize, &actions) }
            return
        }
        guard SignalValue.epoch(value) == epoch else { return }
        let count = SignalValue.count(value)
        switch word {
        case .entry: break
        case .target(let source):
            toCarrier[source].release(count)
            pump(&actions)
        case .carrier(let key):
            fromTarget[key].arrive(count)
            let node = key / wiring.nodeSize
            if node == wiring.node { sumTokens(&actions) } else { sumRecords(of: node, &actions) }
        case .relay(let node):
            toSource[node].release(count)
            sumRecords(of: node, &actions)
        case .source(let node):
            fromCarrier[node].arrive(count)
            sumTokens(&actions)
        }
    }

    /// Sends what there is room for.
    private mutating func pump(_ actions: inout [ExchangeAction]) {
        var moved = true
        while moved {
            moved = false
            for step in 1...wiring.rankCount {
                let source = (wiring.rank + step) % wiring.rankCount
                let carrier = wiring.carrier(from: source, to: wiring.rank)
                guard entered[carrier], toCarrier[source].hasRoom else { continue }
                let key = wiring.key(source: source, target: wiring.rank)
                let slot = key * plan.capacity.returnRows + toCarrier[source].slot
                let rows = toCarrier[source].take(limit: plan.capacity.chunkRows)
                moved = true
                actions.append(.returnRows(source: source, to: carrier, rows: rows, slot: slot))
                tell(carrier, wiring.carrierWord(key: key), rows.upperBound, &actions)
            }
        }
    }

    /// Adds up this node's rows for records of another node, in order, as far as they are here and there is room.
    private mutating func sumRecords(of node: Int, _ actions: inout [ExchangeAction]) {
        let peer = wiring.counterpart(onNode: node)
        guard entered[peer] else { return }
        var touched: Set<Int> = []
        while nextRecord[node] < plan.wanted[node].count, toSource[node].hasRoom {
            let keys = plan.wanted[node][nextRecord[node]].map { node * wiring.nodeSize + Int($0) }
            guard let parts = takeParts(keys: keys, nodes: []) else { break }
            // The ring of this node at the counterpart.
            let slot = (wiring.rankCount + wiring.node) * plan.capacity.returnRows + toSource[node].slot
            actions.append(.relaySum(toNode: node, record: nextRecord[node], parts: parts, slot: slot))
            toSource[node].advance()
            nextRecord[node] += 1
            touched.formUnion(keys)
        }
        guard !touched.isEmpty else { return }
        release(keys: touched, nodes: [], &actions)
        tell(peer, wiring.sourceWord(toNode: wiring.node), toSource[node].sent, &actions)
    }

    /// Adds up tokens, in order, as far as their parts are here.
    private mutating func sumTokens(_ actions: inout [ExchangeAction]) {
        var keys: Set<Int> = []
        var nodes: Set<Int> = []
        while nextToken < plan.ownKeys.count {
            let ownKeys = plan.ownKeys[nextToken].map(Int.init)
            let otherNodes = plan.otherNodes[nextToken].map(Int.init)
            guard let parts = takeParts(keys: ownKeys, nodes: otherNodes) else { break }
            actions.append(.sum(token: nextToken, parts: parts))
            nextToken += 1
            keys.formUnion(ownKeys)
            nodes.formUnion(otherNodes)
        }
        release(keys: keys, nodes: nodes, &actions)
    }

    /// The next row of each stream, in the order of ranks; nil unless all are here. A key may be named repeatedly.
    private mutating func takeParts(keys: [Int], nodes: [Int]) -> [SumPart]? {
        var counts: [Int: Int] = [:]
        for key in keys {
            counts[key, default: 0] += 1
            guard fromTarget[key].taken + counts[key, default: 0] <= fromTarget[key].arrived else { return nil }
        }
        for node in nodes where fromCarrier[node].taken >= fromCarrier[node].arrived { return nil }
        let capacity = plan.capacity.returnRows
        var parts: [SumPart] = []
        for key in keys {
            let row = fromTarget[key].taken
            parts.append(.fromRank(key: key, row: row, slot: key * capacity + row % capacity))
            fromTarget[key].take(1)
        }
        for node in nodes {
            let row = fromCarrier[node].taken
            parts.append(.fromNode(node, row: row, slot: (wiring.rankCount + node) * capacity + row % capacity))
            fromCarrier[node].take(1)
        }
        return parts
    }

    /// Tells senders what was taken from their rings.
    private func release(keys: Set<Int>, nodes: Set<Int>, _ actions: inout [ExchangeAction]) {
        for key in keys.sorted() where fromTarget[key].turnsOver {
            tell(
                wiring.target(ofKey: key), wiring.targetWord(source: wiring.source(ofKey: key)),
                fromTarget[key].taken, &actions)
        }
        for node in nodes.sorted() where fromCarrier[node].turnsOver {
            tell(
                wiring.counterpart(onNode: node), wiring.relayWord(fromNode: wiring.node), fromCarrier[node].taken,
                &actions)
        }
    }

    private func tell(_ rank: Int, _ word: Int, _ count: Int, _ actions: inout [ExchangeAction]) {
        actions.append(.signal(to: rank, word: word, value: SignalValue.make(epoch: epoch, count: count)))
    }
}
