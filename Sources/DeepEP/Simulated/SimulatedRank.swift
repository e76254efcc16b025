// SPDX-License-Identifier: MIT

internal import Platform

/// A rank that takes part in a row of exchanges on simulated memory, and checks everything that it reads.
///
/// A round is a dispatch, its combine, a dispatch that uses the counts again, and its combine.
struct SimulatedRank {
    private enum Machine {
        case dispatch(DispatchProtocol)
        case combine(CombineProtocol)
    }

    static let exchangesPerRound = 4

    let rank: Int
    private let group: SimulatedGroup
    private let wiring: ExchangeWiring
    var memory: SimulatedMemory
    private(set) var epoch = 0
    private var machine: Machine?
    private var lists: SendLists
    private var finishedDispatch: DispatchProtocol?
    /// Rows taken out of rings, by source.
    private var taken: [[SimulatedRow]] = []
    private var summed = 0
    /// What the shell has to send.
    private(set) var outbox: [(to: Int, message: SimulatedMessage)] = []

    init(rank: Int, group: SimulatedGroup) {
        self.rank = rank
        self.group = group
        wiring = ExchangeWiring(placement: group.placement, rank: rank, twoHop: group.twoHop)
        memory = SimulatedMemory(
            rankCount: wiring.rankCount, nodeCount: wiring.nodeCount, capacity: group.capacity)
        lists = SendLists(group.rounds[0][rank], wiring: wiring)
    }

    var isFinished: Bool { epoch > group.rounds.count * Self.exchangesPerRound }

    var awaited: [Int] {
        switch machine {
        case .dispatch(let machine): machine.awaited
        case .combine(let machine): machine.awaited
        case nil: []
        }
    }

    private var layouts: [DispatchLayout] { group.rounds[(epoch - 1) / Self.exchangesPerRound] }

    /// Takes the outbox.
    mutating func takeOutbox() -> [(to: Int, message: SimulatedMessage)] {
        defer { outbox = [] }
        return outbox
    }

    /// Enters the next exchange.
    mutating func enterNext() throws(FathomError) {
        epoch += 1
        guard !isFinished else { return }
        lists = SendLists(layouts[rank], wiring: wiring)
        var actions: [ExchangeAction] = []
        switch (epoch - 1) % Self.exchangesPerRound {
        case 0, 2:
            var counts = [ExchangeCounts?](repeating: nil, count: wiring.rankCount)
            if (epoch - 1) % Self.exchangesPerRound == 2, let earlier = finishedDispatch {
                counts = earlier.counts
            } else {
                counts[rank] = lists.counts(layouts[rank])
            }
            taken = Array(repeating: [], count: wiring.rankCount)
            var dispatch = DispatchProtocol(wiring: wiring, epoch: epoch, capacity: group.capacity, counts: counts)
            dispatch.start(&actions)
            machine = .dispatch(dispatch)
        default:
            guard let dispatch = finishedDispatch else { throw violation("no dispatch before a combine") }
            summed = 0
            var plan = CombineProtocol.Plan(dispatch, layout: layouts[rank])
            plan.startsAtOnce = dispatch.landing.allSatisfy(\.staysInPlace) && plan.hasRoomForAll
            var combine = CombineProtocol(plan: plan, epoch: epoch)
            combine.start(&actions)
            machine = .combine(combine)
        }
        try perform(actions)
        for (word, value) in memory.words.enumerated() { try step(.signal(word: word, value: value)) }
        try finishIfDone()
    }

    mutating func receive(_ message: SimulatedMessage, from sender: Int) throws(FathomError) {
        switch message {
        case .counts(let epoch, let counts): memory.counts[epoch & 1][sender] = counts
        case .cell(let area, let slot, let cell): memory[area, slot] = cell
        case .signal(let word, let value):
            guard value >= memory.words[word] else { throw violation("word \(word) goes back to \(value)") }
            memory.words[word] = value
            try step(.signal(word: word, value: value))
            try finishIfDone()
        }
    }

    private mutating func step(_ event: ProtocolEvent) throws(FathomError) {
        var actions: [ExchangeAction] = []
        handle(event, &actions)
        try perform(actions)
    }

    private mutating func handle(_ event: ProtocolEvent, _ actions: inout [ExchangeAction]) {
        switch machine {
        case .dispatch(var dispatch):
            machine = nil
            dispatch.handle(event, &actions)
            machine = .dispatch(dispatch)
        case .combine(var combine):
            machine = nil
            combine.handle(event, &actions)
            machine = .combine(combine)
        case nil: break
        }
    }

    private mutating func finishIfDone() throws(FathomError) {
        switch machine {
        case .dispatch(let dispatch) where dispatch.isFinished:
            try check(dispatch)
            finishedDispatch = dispatch
        case .combine(let combine) where combine.isFinished:
            guard summed == layouts[rank].ranksOfToken.count else { throw violation("\(summed) tokens summed") }
        default: return
        }
        machine = nil
        try enterNext()
    }

    // MARK: Actions

    /// Performs actions in order, and those that answers lead to.
    private mutating func perform(_ actions: [ExchangeAction]) throws(FathomError) {
        var actions = actions
        var next = 0
        while next < actions.count {
            if let answer = try perform(actions[next]) { handle(answer, &actions) }
            next += 1
        }
    }

    private mutating func perform(_ action: ExchangeAction) throws(FathomError) -> ProtocolEvent? {
        switch action {
        case .putCounts(let peer):
            outbox.append((peer, .counts(epoch: epoch, lists.counts(layouts[rank]))))
        case .readCounts(let peer):
            guard let counts = memory.counts[epoch & 1][peer] else { throw violation("no counts of rank \(peer)") }
            return .counts(from: peer, counts)
        case .sized: break
        case .putRows(let target, let rows, let slot):
            for row in rows {
                let token = Int(lists.toRank[target][row])
                put(.landing, slot + row - rows.lowerBound, to: target, row, token: token, wanted: [])
            }
        case .putRecords(let node, let rows, let slot):
            for row in rows {
                let token = Int(lists.toNode[node][row])
                let wanted = layouts[rank].ranksOfToken[token].filter { Int($0) / wiring.nodeSize == node }
                    .map { $0 % Int32(wiring.nodeSize) }
                let first = wiring.node * group.capacity.relayRows + slot
                put(
                    .relay, first + row - rows.lowerBound, to: wiring.counterpart(onNode: node), row, token: token,
                    wanted: wanted)
            }
        case .readRecords(let node, let rows, let slot):
            var targets: [[Int32]] = []
            for row in rows {
                let cell = try read(
                    .relay, slot + row - rows.lowerBound, stream: wiring.counterpart(onNode: node), row: row)
                if case .token(_, _, let wanted) = cell { targets.append(wanted) }
            }
            return .records(fromNode: node, targets: targets)
        case .signal(let peer, let word, let value): outbox.append((peer, .signal(word: word, value: value)))
        default: try performCopy(action)
        }
        return nil
    }

    private mutating func performCopy(_ action: ExchangeAction) throws(FathomError) {
        switch action {
        case .forward(let node, let relaySlot, let target, let row, let slot):
            let source = wiring.counterpart(onNode: node)
            guard let cell = memory[.relay, relaySlot], cell.epoch == epoch, cell.stream == source else {
                throw violation("relay slot \(relaySlot) is not written")
            }
            guard case .token(_, let token, _) = cell.content else { throw violation("no token in the relay") }
            outbox.append(
                (
                    target,
                    .cell(
                        .landing, slot: slot,
                        SimulatedCell(
                            epoch: epoch, stream: source, row: row,
                            content: .token(source: source, token: token, wanted: [])))
                ))
        case .takeRows(let source, let rows, let slot):
            for row in rows {
                taken[source].append(try read(.landing, slot + row - rows.lowerBound, stream: source, row: row))
            }
        case .returnRows(let source, let peer, let rows, let slot):
            for row in rows {
                let cell = SimulatedCell(
                    epoch: epoch, stream: wiring.key(source: source, target: rank), row: row,
                    content: .returned(rank: rank, source: source, row: row))
                outbox.append((peer, .cell(.back, slot: slot + row - rows.lowerBound, cell)))
            }
        case .relaySum(let node, let record, let parts, let slot):
            let cell = SimulatedCell(
                epoch: epoch, stream: wiring.rankCount + wiring.node, row: record,
                content: .sum(try rows(of: parts)))
            outbox.append((wiring.counterpart(onNode: node), .cell(.back, slot: slot, cell)))
        case .sum(let token, let parts): try checkSum(token: token, parts: parts)
        default: throw violation("an action that nobody performs")
        }
    }

    private mutating func put(
        _ area: SimulatedArea, _ slot: Int, to peer: Int, _ row: Int, token: Int, wanted: [Int32]
    ) {
        let cell = SimulatedCell(
            epoch: epoch, stream: rank, row: row, content: .token(source: rank, token: token, wanted: wanted))
        outbox.append((peer, .cell(area, slot: slot, cell)))
    }

    // MARK: Checks

    /// Reads a slot that has to hold a certain row of a certain stream.
    private func read(
        _ area: SimulatedArea, _ slot: Int, stream: Int, row: Int
    ) throws(FathomError) -> SimulatedRow {
        guard let cell = memory[area, slot] else { throw violation("\(area) slot \(slot) is read and not written") }
        guard cell.epoch == epoch, cell.stream == stream, cell.row == row else {
            throw violation("\(area) slot \(slot) holds \(cell), not row \(row) of stream \(stream)")
        }
        return cell.content
    }

    private func rows(of parts: [SumPart]) throws(FathomError) -> [SimulatedRow] {
        var rows: [SimulatedRow] = []
        for part in parts {
            switch part {
            case .fromRank(let key, let row, let slot): rows.append(try read(.back, slot, stream: key, row: row))
            case .fromNode(let node, let row, let slot):
                rows.append(try read(.back, slot, stream: wiring.rankCount + node, row: row))
            }
        }
        return rows
    }

    /// Everything that was sent here has arrived once, in order.
    private func check(_ dispatch: DispatchProtocol) throws(FathomError) {
        let plan = dispatch.landing[rank]
        for source in 0..<wiring.rankCount {
            let peer = SendLists(layouts[source], wiring: wiring).toRank[rank]
            var rows = taken[source]
            if plan.staysInPlace {
                for row in 0..<plan.count(of: source) {
                    rows.append(try read(.landing, plan.firstRow[source] + row, stream: source, row: row))
                }
            }
            let wanted = peer.map { SimulatedRow.token(source: source, token: Int($0), wanted: []) }
            guard rows == wanted else { throw violation("rows of rank \(source) are \(rows), not \(wanted)") }
        }
    }

    /// A token's sum has all its parts once, ranks ascending.
    private mutating func checkSum(token: Int, parts: [SumPart]) throws(FathomError) {
        guard token == summed else { throw violation("token \(token) is summed after \(summed - 1)") }
        summed += 1
        var wanted: [SimulatedRow] = []
        var others: [SimulatedRow] = []
        var lastNode = -1
        for target in layouts[rank].ranksOfToken[token].map(Int.init) {
            let row = lists.toRank[target].firstIndex(of: Int32(token)) ?? -1
            let part = SimulatedRow.returned(rank: target, source: rank, row: row)
            let node = target / wiring.nodeSize
            if node == wiring.node {
                wanted.append(part)
            } else if node == lastNode, case .sum(let parts) = others.last {
                others[others.count - 1] = .sum(parts + [part])
            } else {
                others.append(.sum([part]))
            }
            lastNode = node
        }
        let found = try rows(of: parts)
        guard found == wanted + others else { throw violation("token \(token) sums \(found)") }
    }

    private func violation(_ text: String) -> FathomError {
        FathomError(.internal, "rank \(rank), exchange \(epoch): \(text)")
    }
}
