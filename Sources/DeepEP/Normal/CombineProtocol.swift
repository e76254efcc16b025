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
        var ownKeys: Lists
        var otherNodes: Lists
        /// Records that went to each other node.
        var recordsToNode: [Int]
        /// Whether carriers read rows where they were made, in memory that they see: no row is put, and a signal says
        /// that all are there.
        var readsInPlace = false
        /// Whether rows are put without waiting for their carrier to enter. That is safe right after a dispatch: all
        /// ranks have entered it, so all are through with the combine before, whose slots these are.
        var startsAtOnce = false

        /// Whether there is a slot for every row, and no carrier in between: what starting at once needs besides.
        var hasRoomForAll: Bool {
            wiring.nodeCount == 1 && rowsOfSource.allSatisfy { $0 <= capacity(rows: $0) }
        }

        /// Slots of a stream on this node.
        func capacity(rows: Int) -> Int { readsInPlace ? max(rows, 1) : capacity.returnRows }
    }

    private let plan: Plan
    private let epoch: Int
    private var wiring: ExchangeWiring { plan.wiring }
    private var entered: [Bool]
    /// A rank that keeps its rows elsewhere than this one.
    private(set) var disagreeing: Int?
    /// To carriers, by source; to sources on other nodes, by their node.
    private var toCarrier: [RowSender]
    private var toSource: [RowSender]
    /// From targets, by key; from carriers on other nodes, by node.
    private var fromTarget: [RowReceiver]
    private var fromCarrier: [RowReceiver]
    /// The next record of each node and the next token that has to be added up.
    private var nextRecord: [Int]
    private var nextToken = 0
    /// What senders were told of their rings.
    private var toldKeys: [Int]
    private var toldNodes: [Int]

    init(plan: Plan, epoch: Int) {
        self.plan = plan
        self.epoch = epoch
        let capacity = plan.capacity.returnRows
        toldKeys = plan.rowsOfKey.map { _ in 0 }
        toldNodes = plan.recordsToNode.map { _ in 0 }
        entered = Array(repeating: false, count: plan.wiring.rankCount)
        toCarrier = plan.rowsOfSource.map { RowSender(total: $0, capacity: plan.capacity(rows: $0)) }
        fromTarget = plan.rowsOfKey.map { RowReceiver(total: $0, capacity: plan.capacity(rows: $0)) }
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

    /// Signals that have to come before this rank can do anything worth waking up for: two of each rank whose rows are
    /// read in place, that it has entered and that they are there.
    var awaitedArrivals: Int {
        guard plan.readsInPlace, wiring.nodeCount == 1, toCarrier.allSatisfy(\.isDone) else { return 1 }
        return entered.count { !$0 } + fromTarget.count { $0.arrived < $0.total }
    }

    /// Enters the exchange.
    mutating func start(_ actions: inout [ExchangeAction]) {
        for step in 0..<wiring.rankCount {
            let peer = (wiring.rank + step) % wiring.rankCount
            tell(peer, wiring.entryWord(from: wiring.rank), plan.readsInPlace ? 1 : 0, &actions)
        }
        if plan.startsAtOnce { pump(&actions) }
        sumTokens(&actions)
    }

    mutating func handle(_ event: ProtocolEvent, _ actions: inout [ExchangeAction]) {
        guard case .signal(let index, let value) = event, let word = wiring.word(at: index) else { return }
        if case .entry(let rank) = word {
            guard SignalValue.epoch(value) >= epoch, !entered[rank] else { return }
            entered[rank] = true
            if SignalValue.epoch(value) == epoch, SignalValue.count(value) != (plan.readsInPlace ? 1 : 0) {
                disagreeing = disagreeing ?? rank
            }
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
                guard entered[carrier] || plan.startsAtOnce, toCarrier[source].hasRoom else { continue }
                let key = wiring.key(source: source, target: wiring.rank)
                let slot = key * plan.capacity.returnRows + toCarrier[source].slot
                let rows = toCarrier[source].take(limit: plan.readsInPlace ? .max : plan.capacity.chunkRows)
                moved = true
                if !plan.readsInPlace {
                    actions.append(.returnRows(source: source, to: carrier, rows: rows, slot: slot))
                }
                tell(carrier, wiring.carrierWord(key: key), rows.upperBound, &actions)
            }
        }
    }

    /// Adds up this node's rows for records of another node, in order, as far as they are here and there is room.
    private mutating func sumRecords(of node: Int, _ actions: inout [ExchangeAction]) {
        let peer = wiring.counterpart(onNode: node)
        guard entered[peer] else { return }
        let first = nextRecord[node]
        while nextRecord[node] < plan.wanted[node].count, toSource[node].hasRoom {
            let wanted = plan.wanted[node][nextRecord[node]]
            guard let parts = takeParts(keys: wanted[...], firstKey: node * wiring.nodeSize, nodes: []) else { break }
            // The ring of this node at the counterpart.
            let slot = (wiring.rankCount + wiring.node) * plan.capacity.returnRows + toSource[node].slot
            actions.append(.relaySum(toNode: node, record: nextRecord[node], parts: parts, slot: slot))
            toSource[node].advance()
            nextRecord[node] += 1
        }
        guard nextRecord[node] > first else { return }
        release(&actions)
        tell(peer, wiring.sourceWord(toNode: wiring.node), toSource[node].sent, &actions)
    }

    /// Adds up tokens, in order, as far as their parts are here.
    private mutating func sumTokens(_ actions: inout [ExchangeAction]) {
        let first = nextToken
        while nextToken < plan.ownKeys.count {
            let nodes = plan.otherNodes[nextToken]
            guard let parts = takeParts(keys: plan.ownKeys[nextToken], firstKey: 0, nodes: nodes) else { break }
            actions.append(.sum(token: nextToken, parts: parts))
            nextToken += 1
        }
        if nextToken > first { release(&actions) }
    }

    /// The next row of each stream, in the order of ranks; nil unless all are here. A key may be named repeatedly.
    private mutating func takeParts(keys: ArraySlice<Int32>, firstKey: Int, nodes: ArraySlice<Int32>) -> [SumPart]? {
        for node in nodes where fromCarrier[Int(node)].taken >= fromCarrier[Int(node)].arrived { return nil }
        var parts: [SumPart] = []
        parts.reserveCapacity(keys.count + nodes.count)
        for index in keys.indices {
            let key = firstKey + Int(keys[index])
            let row = fromTarget[key].taken
            guard row < fromTarget[key].arrived else {
                for key in keys[..<index] { fromTarget[firstKey + Int(key)].take(-1) }
                return nil
            }
            let slot = plan.readsInPlace ? row : key * plan.capacity.returnRows + row % plan.capacity.returnRows
            parts.append(.fromRank(key: key, row: row, slot: slot))
            fromTarget[key].take(1)
        }
        let capacity = plan.capacity.returnRows
        for node in nodes.map(Int.init) {
            let row = fromCarrier[node].taken
            parts.append(.fromNode(node, row: row, slot: (wiring.rankCount + node) * capacity + row % capacity))
            fromCarrier[node].take(1)
        }
        return parts
    }

    /// Tells senders what was taken from their rings.
    private mutating func release(_ actions: inout [ExchangeAction]) {
        for (key, stream) in fromTarget.enumerated() where stream.turnsOver && stream.taken > toldKeys[key] {
            toldKeys[key] = stream.taken
            tell(
                wiring.target(ofKey: key), wiring.targetWord(source: wiring.source(ofKey: key)), stream.taken,
                &actions)
        }
        for (node, stream) in fromCarrier.enumerated() where stream.turnsOver && stream.taken > toldNodes[node] {
            toldNodes[node] = stream.taken
            tell(
                wiring.counterpart(onNode: node), wiring.relayWord(fromNode: wiring.node), stream.taken, &actions)
        }
    }

    private func tell(_ rank: Int, _ word: Int, _ count: Int, _ actions: inout [ExchangeAction]) {
        actions.append(.signal(to: rank, word: word, value: SignalValue.make(epoch: epoch, count: count)))
    }
}
