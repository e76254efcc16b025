// SPDX-License-Identifier: MIT

internal import Platform

/// A rank that takes part in low-latency exchanges on simulated memory, and checks everything that it reads.
struct LowLatencyRank {
    let rank: Int
    private let group: LowLatencyGroup
    private(set) var memory: LowLatencyCells
    private(set) var machine: LowLatencyProtocol
    private(set) var membership: MembershipProtocol
    /// By operation from 1, who took no part.
    private(set) var masks: [[Bool]] = []
    /// The next half of the program.
    private(set) var step = 0
    private var streams: [LowLatencyStreams?] = [nil, nil]
    /// By buffer: the rows of each local expert.
    private var received: [[[LowLatencyCell]]] = [[], []]
    /// By buffer, source and local expert: the first slot.
    private var firstSlots: [[[Int]]] = [[], []]
    /// What has to be read, which takes a while.
    private var reading: [LowLatencyProtocol.Action] = []
    /// Whether something is being done that takes a while; `read` ends it.
    var isWorking = false
    /// Whether a timer runs that lets the membership go on.
    var isTicking = false
    var ticks = 0
    private(set) var outbox: [(to: Int, message: LowLatencyMessage)] = []

    init(rank: Int, group: LowLatencyGroup) {
        self.rank = rank
        self.group = group
        memory = LowLatencyCells(group.shape)
        let count = group.shape.placement.rankCount
        machine = LowLatencyProtocol(rankCount: count)
        membership = MembershipProtocol(rankCount: count, rank: rank, stepsUnderWay: 2)
    }

    private var placement: ExpertPlacement { group.shape.placement }
    private var experts: Range<Int> { placement.experts(of: rank) }

    var isFinished: Bool { step == group.program.count }

    /// The ranks without which this one cannot go on.
    var awaited: [Int] {
        guard !isFinished else { return [] }
        let (half, operation) = group.program[step]
        if half == .dispatch { return [] }
        return machine.awaited(half == .receive ? .out : .back, operation)
    }

    /// Takes the outbox.
    mutating func takeOutbox() -> [(to: Int, message: LowLatencyMessage)] {
        defer { outbox = [] }
        return outbox + membership.takeOutbox().map { ($0.to, .membership($0.message)) }
    }

    // MARK: What happens

    mutating func receive(_ message: LowLatencyMessage, from sender: Int) {
        switch message {
        case .notice(let operation, let counts, let tokens):
            memory.notices[operation & 1][sender] = (operation, counts, tokens)
        case .landing(let row, let cell): memory.land(cell, from: sender, row: row)
        case .answer(let operation, let slots): memory.answers[operation & 1][sender] = (operation, slots)
        case .returned(let row, let cell): memory.giveBack(cell, from: sender, row: row)
        case .signal(let leg, let value): machine.arrive(leg, from: sender, value: value)
        case .view(let number): membership.hear(view: number, from: sender)
        case .membership(let message): membership.receive(message, from: sender)
        }
        for other in membership.isLost.indices where membership.isLost[other] { machine.lose(other) }
    }

    mutating func lose(_ other: Int, isCertain: Bool) {
        membership.lose(other, isCertain: isCertain)
        machine.lose(other)
    }

    mutating func tick() {
        isTicking = false
        ticks += 1
        membership.tick()
    }

    /// What a rank does after an event.
    enum Progress {
        /// Waits for others, or is through.
        case waits
        /// Does something that takes a while before it goes on.
        case works
    }

    /// Goes on with the program as far as possible.
    mutating func proceed() throws(FathomError) -> Progress {
        guard !isFinished else { return .waits }
        let (half, operation) = group.program[step]
        switch half {
        case .dispatch:
            guard membership.mayBegin else { return .waits }
            try dispatch(operation)
        case .receive:
            if machine.isReceiving(operation) {
                reading = machine.receive(operation)
                return reading.isEmpty ? .waits : .works
            }
            try checkReceived(operation)
        case .combine: combine(operation)
        case .finish:
            reading = machine.finish(operation)
            return reading.isEmpty ? .waits : .works
        }
        step += 1
        return .works
    }

    /// Reads what was to be read, now that the time for it is over.
    ///
    /// - Parameter peer: another rank's memory, as it is now.
    mutating func read(_ peer: (Int) -> LowLatencyCells) throws(FathomError) {
        isWorking = false
        defer { reading = [] }
        if !isFinished, case (.combine, let operation) = group.program[step] { try checkInPlace(operation, peer) }
        for action in reading {
            switch action {
            case .take(let operation, let source): try take(operation, source, peer)
            case .skip(let operation, let source):
                firstSlots[operation & 1][source + 1] = firstSlots[operation & 1][source]
            case .sum(let operation):
                try sum(operation, peer)
                step += 1
            default: throw violation("an action that is not read")
            }
        }
    }

    // MARK: Out

    private mutating func dispatch(_ operation: Int) throws(FathomError) {
        guard machine.canDispatch else { throw violation("no buffer for dispatch \(operation)") }
        membership.begin(operation)
        let isMasked = membership.view(at: operation).isMasked
        masks.append(isMasked)
        for other in 0..<placement.rankCount where other != rank {
            outbox.append((other, .view(membership.view.number)))
        }
        let selection = group.selections[operation - 1][rank]
        let own = try LowLatencyStreams(selection, placement: placement, isMasked: isMasked)
        streams[operation & 1] = own
        received[operation & 1] = Array(repeating: [], count: experts.count)
        firstSlots[operation & 1] = Array(
            repeating: Array(repeating: 0, count: experts.count), count: placement.rankCount + 1)
        for action in machine.dispatch(isMasked: isMasked) {
            switch action {
            case .stage:
                for token in 0..<selection.tokenCount {
                    memory.stage[operation & 1][token] = LowLatencyCell(
                        operation: operation, source: rank, token: token)
                }
            case .send(_, let target):
                let stream = own.stream(to: target)
                outbox.append(
                    (
                        target,
                        .notice(
                            operation: operation, counts: own.counts[placement.experts(of: target)].map { -$0 - 1 },
                            tokens: Array(own.tokens[stream]))
                    ))
                guard !group.readsInPlace else { continue }
                for (row, index) in stream.enumerated() {
                    let cell = LowLatencyCell(operation: operation, source: rank, token: Int(own.tokens[index]))
                    outbox.append((target, .landing(row: row, cell)))
                }
            case .signal(let leg, let target, let value):
                outbox.append((target, .signal(leg, value: value)))
            default: throw violation("\(action) in a dispatch")
            }
        }
    }

    private mutating func take(
        _ operation: Int, _ source: Int, _ peer: (Int) -> LowLatencyCells
    ) throws(FathomError) {
        guard let notice = memory.notices[operation & 1][source], notice.operation == operation else {
            throw violation("no notice of rank \(source)")
        }
        var row = 0
        for expert in 0..<experts.count {
            let count = -Int(notice.counts[expert]) - 1
            let first = firstSlots[operation & 1][source][expert]
            guard first == received[operation & 1][expert].count else { throw violation("slot \(first) leaves a gap") }
            firstSlots[operation & 1][source + 1][expert] = first + count
            for _ in 0..<max(count, 0) {
                let token = Int(notice.tokens[row])
                let cell =
                    group.readsInPlace
                    ? peer(source).stage[operation & 1][token] : memory.landing(operation, from: source, row: row)
                guard let cell, cell == LowLatencyCell(operation: operation, source: source, token: token) else {
                    throw violation("row \(row) of rank \(source) holds \(String(describing: cell))")
                }
                received[operation & 1][expert].append(cell)
                row += 1
            }
        }
    }

    /// Everything that was sent here has arrived once, in order; but for lost ranks, of which nothing has.
    private mutating func checkReceived(_ operation: Int) throws(FathomError) {
        let isMissing = machine.isMissing(operation)
        let isMasked = machine.isMasked(operation)
        for (local, expert) in experts.enumerated() {
            var wanted: [LowLatencyCell] = []
            for source in 0..<placement.rankCount where !isMissing[source] && !isMasked[source] {
                let selection = group.selections[operation - 1][source]
                for token in 0..<selection.tokenCount where selection.choices(of: token).contains(Int32(expert)) {
                    wanted.append(LowLatencyCell(operation: operation, source: source, token: token))
                }
            }
            guard received[operation & 1][local] == wanted else {
                throw violation("expert \(expert) has \(received[operation & 1][local]), not \(wanted)")
            }
            // Experts may write from now on.
            for (slot, var cell) in wanted.enumerated() {
                cell.expert = expert
                memory.make(cell, expert: local, slot: slot)
            }
        }
        for other in isMissing.indices where isMissing[other] && !machine.isLost[other] {
            throw violation("rank \(other) is missing and not lost")
        }
    }

    /// Experts have read rows until now, where they were taken: those are still there.
    private func checkInPlace(_ operation: Int, _ peer: (Int) -> LowLatencyCells) throws(FathomError) {
        guard group.readsInPlace else { return }
        for cell in received[operation & 1].joined() where !machine.isLost[cell.source] {
            let now = peer(cell.source).stage[operation & 1][cell.token]
            guard now == cell else { throw violation("\(cell) has become \(String(describing: now))") }
        }
    }

    // MARK: Back

    private mutating func combine(_ operation: Int) {
        let slots = firstSlots[operation & 1]
        let inPlace = group.readsInPlace && group.givesBackInPlace[operation - 1][rank]
        for action in machine.combine(operation) {
            switch action {
            case .giveBack(_, let target):
                outbox.append((target, .answer(operation: operation, firstSlots: inPlace ? slots[target] : nil)))
                guard !inPlace else { continue }
                var row = 0
                for expert in 0..<experts.count {
                    for slot in slots[target][expert]..<slots[target + 1][expert] {
                        var cell = received[operation & 1][expert][slot]
                        cell.expert = experts.lowerBound + expert
                        outbox.append((target, .returned(row: row, cell)))
                        row += 1
                    }
                }
            case .signal(let leg, let target, let value):
                outbox.append((target, .signal(leg, value: value)))
            default: break
            }
        }
    }

    /// Reads what came back for each choice: a token's choices are all there, but for those of lost ranks.
    private func sum(_ operation: Int, _ peer: (Int) -> LowLatencyCells) throws(FathomError) {
        guard let own = streams[operation & 1] else { throw violation("nothing was sent") }
        let selection = group.selections[operation - 1][rank]
        for choice in selection.experts.indices where own.rowOfChoice[choice] >= 0 {
            let expert = Int(selection.experts[choice])
            let owner = placement.rank(ofExpert: expert)
            guard machine.isReturned(operation, by: owner) else {
                guard machine.isLost[owner] else { throw violation("expert \(expert) is not there and not lost") }
                continue
            }
            guard let answer = memory.answers[operation & 1][owner], answer.operation == operation else {
                throw violation("no answer of rank \(owner)")
            }
            let row = Int(own.rowOfChoice[choice])
            let local = expert - placement.experts(of: owner).lowerBound
            let cell =
                if let slots = answer.firstSlots {
                    peer(owner).made(
                        operation, expert: local, slot: slots[local] + row - own.firstRow(ofExpert: expert))
                } else {
                    memory.returned(operation, from: owner, row: row - own.starts[owner])
                }
            let wanted = LowLatencyCell(
                operation: operation, source: rank, token: choice / selection.topK, expert: expert)
            guard cell == wanted else {
                throw violation("choice \(choice) of rank \(owner) holds \(String(describing: cell)), not \(wanted)")
            }
        }
    }

    private func violation(_ text: String) -> FathomError {
        FathomError(.internal, "rank \(rank), step \(step): \(text)")
    }
}
