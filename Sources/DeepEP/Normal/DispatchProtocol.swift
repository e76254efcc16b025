// SPDX-License-Identifier: MIT

/// One rank's part in a dispatch: a state machine without clock, memory or network.
///
/// Every rank announces its counts to all others, and so knows who sends what to whom and where it lands. Then rows
/// flow: to targets on the same node directly, to other nodes once per node over the counterpart there, which hands
/// them on. A ring that is shorter than its stream is refilled as its receiver takes rows out. A rank is done when it
/// has everything, has sent everything, and knows that every other rank has entered; so a rank that enters an exchange
/// has read all that was said in the one before the last, and two sets of counts suffice.
struct DispatchProtocol: Sendable {
    let wiring: ExchangeWiring
    let epoch: Int
    let capacity: ExchangeCapacity
    private(set) var counts: [ExchangeCounts?]
    private var entered: [Bool]
    private(set) var isSized = false
    /// What ranks that were sized earlier have said already.
    private var early: [(word: ExchangeWiring.Word, count: Int)] = []

    /// To targets, by key: the own stream on this node, and the relayed ones.
    private var toTarget: [RowSender] = []
    /// To counterparts, by node.
    private var toNode: [RowSender] = []
    /// From sources.
    private var fromSource: [RowReceiver] = []
    /// From counterparts, by node.
    private var fromNode: [RowReceiver] = []
    /// Who wants the records of each node's counterpart, as far as they were read.
    private(set) var wanted: [[[Int32]]]
    private(set) var landing: [LandingPlan] = []

    /// - Parameter counts: of every rank, where an earlier dispatch's are used again; else of this rank alone.
    init(wiring: ExchangeWiring, epoch: Int, capacity: ExchangeCapacity, counts: [ExchangeCounts?]) {
        self.wiring = wiring
        self.epoch = epoch
        self.capacity = capacity
        self.counts = counts
        entered = Array(repeating: false, count: wiring.rankCount)
        wanted = Array(repeating: [], count: wiring.nodeCount)
    }

    /// Whether this rank has nothing left to do.
    var isFinished: Bool {
        isSized && entered.allSatisfy(\.self) && toTarget.allSatisfy(\.isDone) && toNode.allSatisfy(\.isDone)
            && fromSource.allSatisfy { (landing[wiring.rank].staysInPlace ? $0.arrived : $0.taken) == $0.total }
            && fromNode.allSatisfy { $0.taken == $0.total }
    }

    /// The ranks that this one waits for, ascending.
    var awaited: [Int] {
        var ranks = Set(entered.indices.filter { !entered[$0] })
        guard isSized else { return ranks.sorted() }
        for (source, stream) in fromSource.enumerated() where stream.arrived < stream.total {
            ranks.insert(wiring.carrier(from: source, to: wiring.rank))
        }
        for (node, stream) in fromNode.enumerated() where stream.arrived < stream.total {
            ranks.insert(wiring.counterpart(onNode: node))
        }
        for (key, stream) in toTarget.enumerated() where !stream.isDone && !stream.hasRoom {
            ranks.insert(wiring.target(ofKey: key))
        }
        for (node, stream) in toNode.enumerated() where !stream.isDone && !stream.hasRoom {
            ranks.insert(wiring.counterpart(onNode: node))
        }
        return ranks.sorted()
    }

    /// Signals that have to come before this rank can do anything worth waking up for: those of all who have not
    /// entered, and once it has sent everything one of each stream whose rows stay where they land.
    var awaitedArrivals: Int {
        let absent = entered.count { !$0 }
        guard isSized else { return absent }
        guard toTarget.allSatisfy(\.isDone), toNode.allSatisfy(\.isDone), landing[wiring.rank].staysInPlace,
            fromNode.allSatisfy({ $0.taken == $0.total })
        else { return 1 }
        return absent + fromSource.count { $0.arrived < $0.total }
    }

    /// Enters the exchange.
    mutating func start(_ actions: inout [ExchangeAction]) {
        let known = counts.allSatisfy { $0 != nil }
        for step in 0..<wiring.rankCount {
            let peer = (wiring.rank + step) % wiring.rankCount
            if !known { actions.append(.putCounts(to: peer)) }
            actions.append(
                .signal(
                    to: peer, word: wiring.entryWord(from: wiring.rank),
                    value: SignalValue.make(epoch: epoch, count: 0)))
        }
        if known { size(&actions) }
    }

    mutating func handle(_ event: ProtocolEvent, _ actions: inout [ExchangeAction]) {
        switch event {
        case .signal(let word, let value): signal(word, value, &actions)
        case .counts(let rank, let sent):
            guard counts[rank] == nil || !isSized else { return }
            counts[rank] = sent
            if !isSized, counts.allSatisfy({ $0 != nil }), entered.allSatisfy(\.self) { size(&actions) }
        case .records(let node, let targets):
            wanted[node] += targets
            forward(from: node, &actions)
        }
    }

    private mutating func signal(_ word: Int, _ value: UInt64, _ actions: inout [ExchangeAction]) {
        guard let word = wiring.word(at: word) else { return }
        if case .entry(let rank) = word {
            // A rank that finishes early may have entered the next exchange already.
            guard SignalValue.epoch(value) >= epoch, !entered[rank] else { return }
            entered[rank] = true
            if isSized {
                pump(&actions)
                for node in wanted.indices { forward(from: node, &actions) }
            } else {
                actions.append(.readCounts(from: rank))
            }
            return
        }
        guard SignalValue.epoch(value) == epoch else { return }
        guard isSized else {
            early.append((word, SignalValue.count(value)))
            return
        }
        progress(word, SignalValue.count(value), &actions)
    }

    private mutating func progress(_ word: ExchangeWiring.Word, _ count: Int, _ actions: inout [ExchangeAction]) {
        switch word {
        case .entry: break
        case .target(let source):
            fromSource[source].arrive(count)
            drain(source, &actions)
        case .carrier(let key):
            toTarget[key].release(count)
            if key / wiring.nodeSize == wiring.node {
                pump(&actions)
            } else {
                forward(from: key / wiring.nodeSize, &actions)
            }
        case .relay(let node):
            let before = fromNode[node].arrived
            fromNode[node].arrive(count)
            readRecords(of: node, from: before, &actions)
        case .source(let node):
            toNode[node].release(count)
            pump(&actions)
        }
    }

    /// Lays everything out, once all counts are known.
    private mutating func size(_ actions: inout [ExchangeAction]) {
        let all = counts.compactMap(\.self)
        isSized = true
        landing = (0..<wiring.rankCount).map { target in
            LandingPlan(counts: all.map { Int($0.toRank[target]) }, landingRows: capacity.landingRows)
        }
        toTarget = (0..<wiring.rankCount).map { key in
            let source = wiring.source(ofKey: key)
            let plan = landing[wiring.target(ofKey: key)]
            return RowSender(total: plan.count(of: source), capacity: plan.capacity(of: source))
        }
        let own = landing[wiring.rank]
        fromSource = (0..<wiring.rankCount).map { source in
            RowReceiver(total: own.count(of: source), capacity: own.capacity(of: source))
        }
        toNode = (0..<wiring.nodeCount).map { node in
            let total = node == wiring.node ? 0 : Int(all[wiring.rank].toNode[node])
            return RowSender(total: total, capacity: capacity.relayRows)
        }
        fromNode = (0..<wiring.nodeCount).map { node in
            let total = node == wiring.node ? 0 : Int(all[wiring.counterpart(onNode: node)].toNode[wiring.node])
            return RowReceiver(total: total, capacity: capacity.relayRows)
        }
        actions.append(.sized)
        pump(&actions)
        let waiting = early
        early = []
        for (word, count) in waiting { progress(word, count, &actions) }
    }

    /// Sends what there is room for: first away from the node, since that way is longer; each rank begins with its
    /// next neighbour, so that not all send to one.
    private mutating func pump(_ actions: inout [ExchangeAction]) {
        guard isSized else { return }
        var moved = true
        while moved {
            moved = false
            for step in 1..<max(wiring.nodeCount, 1) {
                let node = (wiring.node + step) % wiring.nodeCount
                let peer = wiring.counterpart(onNode: node)
                guard entered[peer] else { continue }
                let slot = toNode[node].total == 0 ? 0 : toNode[node].slot
                let rows = toNode[node].take(limit: capacity.chunkRows)
                guard !rows.isEmpty else { continue }
                moved = true
                actions.append(.putRecords(toNode: node, rows: rows, slot: slot))
                tell(peer, wiring.relayWord(fromNode: wiring.node), rows.upperBound, &actions)
            }
            for step in 1...wiring.nodeSize {
                let index = (wiring.index + step) % wiring.nodeSize
                let key = wiring.node * wiring.nodeSize + index
                let target = wiring.target(ofKey: key)
                guard entered[target], toTarget[key].hasRoom else { continue }
                let slot = landing[target].base(of: wiring.rank) + toTarget[key].slot
                let rows = toTarget[key].take(limit: capacity.chunkRows)
                moved = true
                actions.append(.putRows(to: target, rows: rows, slot: slot))
                // Rows that stay where they land are of no use before all have come: one signal is enough.
                guard !landing[target].staysInPlace || toTarget[key].isDone else { continue }
                tell(target, wiring.targetWord(source: wiring.rank), rows.upperBound, &actions)
            }
        }
    }

    /// Takes rows out as they arrive, unless they stay where they land.
    private mutating func drain(_ source: Int, _ actions: inout [ExchangeAction]) {
        guard !landing[wiring.rank].staysInPlace else { return }
        var taken = false
        while case let rows = fromSource[source].nextRun, !rows.isEmpty {
            let slot = landing[wiring.rank].base(of: source) + rows.lowerBound % fromSource[source].capacity
            actions.append(.takeRows(source: source, rows: rows, slot: slot))
            fromSource[source].take(rows.count)
            taken = true
        }
        guard taken, fromSource[source].turnsOver else { return }
        let key = wiring.key(source: source, target: wiring.rank)
        tell(
            wiring.carrier(from: source, to: wiring.rank), wiring.carrierWord(key: key), fromSource[source].taken,
            &actions)
    }

    private func readRecords(of node: Int, from first: Int, _ actions: inout [ExchangeAction]) {
        var row = first
        while row < fromNode[node].arrived {
            let slot = row % capacity.relayRows
            let end = min(fromNode[node].arrived, row + capacity.relayRows - slot)
            actions.append(
                .readRecords(fromNode: node, rows: row..<end, slot: node * capacity.relayRows + slot))
            row = end
        }
    }

    /// Hands records on, in order, while every target that wants the next one has room.
    private mutating func forward(from node: Int, _ actions: inout [ExchangeAction]) {
        var touched: Set<Int> = []
        var released = false
        while fromNode[node].taken < wanted[node].count {
            let record = fromNode[node].taken
            let keys = wanted[node][record].map { node * wiring.nodeSize + Int($0) }
            guard keys.allSatisfy({ toTarget[$0].hasRoom && entered[wiring.target(ofKey: $0)] }) else { break }
            for key in keys {
                let target = wiring.target(ofKey: key)
                let base = landing[target].base(of: wiring.source(ofKey: key))
                actions.append(
                    .forward(
                        fromNode: node, relaySlot: node * capacity.relayRows + record % capacity.relayRows,
                        to: target, row: toTarget[key].sent, slot: base + toTarget[key].slot))
                toTarget[key].advance()
                touched.insert(key)
            }
            fromNode[node].take(1)
            released = true
        }
        for key in touched.sorted() {
            tell(
                wiring.target(ofKey: key), wiring.targetWord(source: wiring.source(ofKey: key)), toTarget[key].sent,
                &actions)
        }
        if released, fromNode[node].turnsOver {
            tell(
                wiring.counterpart(onNode: node), wiring.sourceWord(toNode: wiring.node), fromNode[node].taken,
                &actions)
        }
    }

    private func tell(_ rank: Int, _ word: Int, _ count: Int, _ actions: inout [ExchangeAction]) {
        actions.append(.signal(to: rank, word: word, value: SignalValue.make(epoch: epoch, count: count)))
    }
}
