// SPDX-License-Identifier: MIT

internal import Platform
internal import Ranks
internal import Synchronization
internal import Tensors

// SAFETY: In this file addresses lie in the ranks' shared regions, at the places of `ExchangeLayout`. Who writes
// where when is arranged by the signals: an inbox is written between a rank's reading of the outputs of one call and
// its signal of the next, and read after it; places of the outbox are written once per call, each by one rank.

/// Carries rows and outputs between ranks through one-sided writes.
///
/// For each call a rank writes every row that another needs once into its inbox there, with the list of experts that
/// want it, and signals; when all inboxes are full it groups what came by expert. Outputs are written straight to the
/// place of their token and choice at the source. Two signals for each pair of ranks and call; their values are the
/// call's number, so that nothing has to be reset.
final class RankExpertExchange: ExpertExchange, @unchecked Sendable {
    // SAFETY: @unchecked Sendable because steps take turns, and a step uses it from one thread.

    private let region: SymmetricRegion
    private let layout: ExchangeLayout
    private let rank: Int
    private let timeoutMilliseconds: Int
    /// The received rows, grouped.
    private var grouped: AlignedBuffer<Float>
    private var received = ReceivedPlan([])
    private var choices: [[Router.Choice]] = []

    /// The number of the last call; the same on all ranks.
    private var call: UInt64 = 0
    /// The step that is given up if `aborted` reaches it.
    private var step: UInt64 = 0
    private(set) var slabCount = 0

    /// Ranks that take part, ascending.
    private var members: [Int]
    /// Where each layer's experts are.
    private var placements: [LayerPlacement]

    var slabTokens: Int { layout.slabTokens }

    init(region: SymmetricRegion, layout: ExchangeLayout, timeoutMilliseconds: Int) throws(FathomError) {
        self.region = region
        self.layout = layout
        self.timeoutMilliseconds = timeoutMilliseconds
        rank = region.rank
        let members = Array(0..<region.rankCount)
        self.members = members
        placements = Array(
            repeating: LayerPlacement(expertCount: max(layout.expertCount, 1), ranks: members),
            count: layout.layerCount)
        grouped = try AlignedBuffer(count: 1 << 16, purpose: "experts' rows")
    }

    /// Begins a step with what its message says of members and places.
    ///
    /// - Throws: `badData` for places that leave an expert out.
    func begin(_ message: StepMessage, step: UInt64) throws(FathomError) {
        self.step = step
        slabCount = message.slabCount
        call = message.firstCall
        if members != message.members.map(Int.init) {
            members = message.members.map(Int.init)
            let inOrder = LayerPlacement(expertCount: max(layout.expertCount, 1), ranks: members)
            placements = placements.map { _ in inOrder }
        }
        for layer in message.slots {
            guard placements.indices.contains(layer.layer) else {
                throw FathomError(.badData, "a step gives places for layer \(layer.layer) of \(layout.layerCount)")
            }
            placements[layer.layer] = try LayerPlacement(
                experts: layer.experts.map(Int.init), expertCount: layout.expertCount, ranks: members)
        }
    }

    /// Counts the tokens that chose each expert, for all to read.
    private func count(_ choices: [[Router.Choice]], layer: Int) {
        let loads = (region.local + layout.loads).assumingMemoryBound(to: UInt64.self) + layer * layout.expertCount
        for token in choices {
            for choice in token { loads[choice.expert] += 1 }
        }
    }

    // MARK: Out

    func dispatch(
        layer: Int, rows: UnsafeMutablePointer<Float>, choices: [[Router.Choice]]
    ) throws(FathomError) -> ExpertRows {
        call += 1
        self.choices = choices
        count(choices, layer: layer)
        let plan = DispatchPlan(
            choices: choices, placement: placements[layer], source: rank, rankCount: layout.rankCount)
        for target in others + [rank] {
            send(plan.messages[target], rows: rows, to: target)
            region.signal(target, layout.arrived(from: rank), call)
        }
        var entries = [[DispatchPlan.Entry]](repeating: [], count: layout.rankCount)
        for source in members {
            try wait(layout.arrived(from: source), for: source)
            entries[source] = try readEntries(from: source)
        }
        received = ReceivedPlan(entries)
        return ExpertRows(groups: received.groups, rows: try gather())
    }

    /// The other members, beginning behind this rank, so that not all write to the same one first.
    private var others: [Int] { members.filter { $0 > rank } + members.filter { $0 < rank } }

    private func send(_ message: DispatchPlan.Message, rows: UnsafeMutablePointer<Float>, to target: Int) {
        // Tokens side by side travel together.
        var first = 0
        while first < message.tokens.count {
            var end = first + 1
            while end < message.tokens.count, message.tokens[end] == message.tokens[end - 1] + 1 { end += 1 }
            region.put(
                UnsafeRawBufferPointer(
                    start: rows + message.tokens[first] * layout.hiddenSize,
                    count: (end - first) * layout.rowByteCount),
                to: target, at: layout.rows(from: rank) + first * layout.rowByteCount)
            first = end
        }
        message.entries.withUnsafeBytes { region.put($0, to: target, at: layout.entries(from: rank)) }
        [Int32(message.entries.count), Int32(message.tokens.count)].withUnsafeBytes {
            region.put($0, to: target, at: layout.inbox(from: rank))
        }
    }

    private func readEntries(from source: Int) throws(FathomError) -> [DispatchPlan.Entry] {
        let inbox = region.local + layout.inbox(from: source)
        let count = Int(inbox.load(as: Int32.self))
        let rowCount = Int(inbox.load(fromByteOffset: 4, as: Int32.self))
        let limit = layout.slabTokens * layout.expertsPerToken
        guard (0...limit).contains(count), (0...layout.slabTokens).contains(rowCount) else {
            throw FathomError(
                .internal, "rank \(source) sent \(count) choices of \(rowCount) rows; legal are up to \(limit)")
        }
        let base = region.local + layout.entries(from: source)
        return (0..<count).map {
            base.load(fromByteOffset: $0 * ExchangeLayout.entryByteCount, as: DispatchPlan.Entry.self)
        }
    }

    /// The received rows side by side, by expert.
    private func gather() throws(FathomError) -> UnsafeMutablePointer<Float> {
        let count = received.rows.count * layout.hiddenSize
        if grouped.count < count { grouped = try AlignedBuffer(count: count, purpose: "experts' rows") }
        for (index, row) in received.rows.enumerated() {
            let source = region.local + layout.rows(from: row.source) + Int(row.entry.row) * layout.rowByteCount
            UnsafeMutableRawPointer(grouped.baseAddress + index * layout.hiddenSize)
                .copyMemory(from: source, byteCount: layout.rowByteCount)
        }
        return grouped.baseAddress
    }

    // MARK: Back

    func combine(
        outputs: [UnsafeMutablePointer<Float>], groups: [ExpertPlan.Group]
    ) throws(FathomError) -> [[UnsafeMutablePointer<Float>]] {
        for (output, group) in zip(outputs, groups) {
            for (index, row) in received.rows[group.rows].enumerated() {
                region.put(
                    UnsafeRawBufferPointer(start: output + index * layout.hiddenSize, count: layout.rowByteCount),
                    to: row.source,
                    at: layout.output(token: Int(row.entry.token), choice: Int(row.entry.choice)))
            }
        }
        for target in others + [rank] { region.signal(target, layout.returned(from: rank), call) }
        for peer in members { try wait(layout.returned(from: peer), for: peer) }
        return choices.enumerated().map { token, chosen in
            chosen.indices.map { choice in
                (region.local + layout.output(token: token, choice: choice)).assumingMemoryBound(to: Float.self)
            }
        }
    }

    // MARK: Waiting

    /// How long to wait before looking whether the step was given up.
    private static let sliceMilliseconds = 20

    /// Waits until `signal` reaches this call.
    private func wait(_ signal: Int, for peer: Int) throws(FathomError) {
        var waited = 0
        while !(try region.wait(signal, atLeast: call, timeoutMilliseconds: Self.sliceMilliseconds, watching: [peer])) {
            waited += Self.sliceMilliseconds
            guard region.value(layout.aborted) < step else {
                throw FathomError(.unavailable, "another rank gave up step \(step)")
            }
            guard waited < timeoutMilliseconds else {
                throw FathomError(
                    .unavailable, "rank \(peer) did not come within \(timeoutMilliseconds) ms of call \(call)")
            }
        }
    }
}
