// SPDX-License-Identifier: MIT

internal import DeepEP
internal import DeepGEMM
internal import EPLB
internal import Platform
internal import Ranks
internal import Tensors

// SAFETY: In this file addresses are of rows that a step keeps until its call has ended, and of rows in an exchange's
// memory, which are valid until its next operation.

/// Rows that this process multiplies with experts' weights, grouped by expert.
struct ExpertRows {
    /// Experts and their rows, each at least one.
    var groups: [ExpertPlan.Group]
    /// The rows of all groups, side by side.
    var rows: LayerInput
    /// For each token, where the outputs of its choices will be. Empty where an exchange knows it.
    var places: [[ExpertPlan.Place]] = []
}

/// Where the experts of the layers are when they are spread over ranks: takes rows there and brings the outputs back,
/// through DeepEP.
///
/// In each step every member makes the same calls in the same order: for each layer with experts `slabCount` times
/// `dispatch`, then `combine`, with or without tokens of its own. Rows travel as the experts take them, floats or codes
/// with their scales, and each choice's output comes back as floats, to be summed where the token is; so a token's bits
/// are those of one process.
///
/// What DeepEP calls an expert is a place here, member × `slotsPerMember` + index: replicas of an expert have several.
final class LayerExchange: @unchecked Sendable {
    // SAFETY: @unchecked Sendable because steps take turns, and a step uses it from one thread.

    /// Tokens of one call at most; the same on all ranks.
    let slabTokens: Int
    /// Calls of each layer in this step; the same on all ranks.
    private(set) var slabCount = 0
    /// Tokens of this rank that chose each expert of each layer since the start [layers, experts].
    private(set) var counts: [UInt64]

    private let group: RankGroup
    private let expertCount: Int
    private let expertsPerToken: Int
    private let hiddenSize: Int
    /// One for each way in which layers take their rows.
    private let exchanges: [LinearProblem.Coding: ExpertExchange]
    /// Members, ascending, and this rank's index among them.
    private var members: [Int]
    private var own: Int
    private var generation = 0
    private var slotsPerMember: Int
    /// Where each layer's experts are.
    private var placements: [LayerPlacement]
    /// Between `dispatch` and `combine`.
    private var underway: (exchange: ExpertExchange, handle: DispatchHandle, expanded: ExpandedTokens)?

    /// All ranks call it with the same arguments.
    ///
    /// - Parameter codings: how layers take their rows.
    /// - Throws: `unavailable` without memory, or a rank that is lost.
    init(
        group: RankGroup, configuration: DeepSeekConfiguration, codings: [LinearProblem.Coding], slabTokens: Int,
        timeoutMilliseconds: Int
    ) throws(FathomError) {
        self.group = group
        self.slabTokens = slabTokens
        expertCount = max(configuration.routedExpertCount, 1)
        expertsPerToken = max(configuration.expertsPerToken, 1)
        hiddenSize = configuration.hiddenSize
        members = Array(0..<group.rankCount)
        own = group.rank
        slotsPerMember = expertCount
        counts = Array(repeating: 0, count: configuration.layerCount * expertCount)
        let inOrder = LayerPlacement(expertCount: expertCount, memberCount: group.rankCount)
        placements = Array(repeating: inOrder, count: configuration.layerCount)
        var exchanges: [LinearProblem.Coding: ExpertExchange] = [:]
        for coding in codings {
            exchanges[coding] = try ExpertExchange(
                group: group,
                // Room for whatever places there may be later.
                placement: ExpertPlacement(
                    rankCount: group.rankCount, expertCount: group.rankCount * expertCount),
                format: Self.format(of: coding, width: hiddenSize),
                returning: RowFormat(hidden: hiddenSize, element: .float32), topK: expertsPerToken,
                capacity: Self.capacity(slabTokens, group.rankCount, expertsPerToken),
                timeoutMilliseconds: timeoutMilliseconds)
        }
        self.exchanges = exchanges
    }

    /// FP8 rows with a scale for every 128 numbers are a format of DeepEP; others are so many floats to it, whatever
    /// they mean.
    private static func format(of coding: LinearProblem.Coding, width: Int) throws(FathomError) -> RowFormat {
        if coding == .float8E4M3(blockColumns: RowFormat.scaleBlock) {
            return try RowFormat(hidden: width, element: .float8E4M3(.float32))
        }
        return try RowFormat(hidden: coding.floatCount(width), element: .float32)
    }

    /// Rows behind one signal: few enough that the way back overlaps with sums.
    private static let chunkRows = 128

    /// Every row has a slot of its own, so that no rank waits for another to take rows out.
    private static func capacity(_ tokens: Int, _ ranks: Int, _ topK: Int) throws(FathomError) -> ExchangeCapacity {
        try ExchangeCapacity(
            landingRows: tokens * ranks, relayRows: 1, returnRows: tokens * topK, chunkRows: chunkRows,
            rankCount: ranks)
    }

    /// Begins a step with what its message says of members and places.
    ///
    /// - Throws: `badData` for places that leave an expert out; `unavailable` naming a member that is lost.
    func begin(_ message: StepMessage) throws(FathomError) {
        slabCount = message.slabCount
        underway = nil
        let next = message.members.map(Int.init)
        if members != next {
            // What a rank that shares memory could still write, the first rank has seen to.
            if !group.sharesMemory { for rank in members where !next.contains(rank) { group.expel(rank) } }
            members = next
            own = next.firstIndex(of: group.rank) ?? 0
            let inOrder = LayerPlacement(expertCount: expertCount, memberCount: members.count)
            placements = placements.map { _ in inOrder }
        }
        for layer in message.slots {
            guard placements.indices.contains(layer.layer) else {
                throw FathomError(.badData, "a step gives places for layer \(layer.layer) of \(placements.count)")
            }
            placements[layer.layer] = try LayerPlacement(
                experts: layer.experts.map(Int.init), expertCount: expertCount, memberCount: members.count)
        }
        guard message.generation != generation else { return }
        guard message.generation > generation else {
            throw FathomError(.badData, "a step of generation \(message.generation) after one of \(generation)")
        }
        generation = message.generation
        slotsPerMember = min(expertCount, message.slotsPerMember)
        for exchange in inOrder {
            try exchange.renew(
                members: members,
                placement: ExpertPlacement(
                    rankCount: members.count, expertCount: members.count * slotsPerMember),
                capacity: Self.capacity(slabTokens, members.count, expertsPerToken), generation: generation)
        }
    }

    /// The exchanges in the same order at every rank.
    private var inOrder: [ExpertExchange] {
        exchanges.sorted { $0.value.format.rowBytes < $1.value.format.rowBytes }.map(\.value)
    }

    /// Tells all members that this rank has given up the step.
    func abandon() {
        for exchange in exchanges.values { exchange.abandon() }
    }

    /// Sends each row to the members that have its experts.
    ///
    /// - Parameters:
    ///   - layer: the layer's index in the model.
    ///   - rows: of as many tokens as `choices`.
    ///   - choices: of each token, experts ascending.
    /// - Returns: what the members sent here, by expert, then by member and token; valid until `combine`.
    /// - Throws: `unavailable` naming a member that is lost or did not come in time.
    func dispatch(
        layer: Int, rows: LayerInput, choices: [[Router.Choice]]
    ) throws(FathomError) -> ExpertRows {
        guard let exchange = exchanges[rows.coding] else {
            throw FathomError(.internal, "layer \(layer) has rows of \(rows.coding), for which there is no exchange")
        }
        let placement = placements[layer]
        var places: [Int32] = []
        places.reserveCapacity(choices.count * expertsPerToken)
        for (token, chosen) in choices.enumerated() {
            for choice in chosen {
                counts[layer * expertCount + choice.expert] += 1
                let place = placement.place(of: choice.expert, token: token, source: own)
                places.append(Int32(place.member * slotsPerMember + place.index))
            }
            for _ in chosen.count..<expertsPerToken { places.append(-1) }
        }
        let selection = try TopKSelection(topK: expertsPerToken, experts: places)
        let base = UnsafeRawPointer(rows.rows)
        let input = TokenRows(
            base: base, count: choices.count, stride: rows.stride * 4, scales: base + exchange.format.scaleOffset,
            scaleStride: rows.stride * 4)
        let (tokens, handle) = try exchange.dispatch(input, selection)
        let expanded = try ExpandedTokens(tokens, joined: true)
        underway = (exchange, handle, expanded)
        let experts = placement.experts[own]
        let groups = expanded.counts.indices.filter { expanded.counts[$0] > 0 }.map { index in
            ExpertPlan.Group(
                expert: experts[index],
                rows: expanded.starts[index]..<expanded.starts[index] + expanded.counts[index])
        }
        let grouped = UnsafeMutableRawPointer(expanded.rows.baseAddress).assumingMemoryBound(to: Float.self)
        return ExpertRows(groups: groups, rows: LayerInput(grouped, width: rows.width, coding: rows.coding))
    }

    /// Sends the outputs of the received rows back to where the rows came from.
    ///
    /// - Parameter outputs: [rows of all groups, hidden], dense.
    /// - Returns: for each token of `dispatch` and each of its choices the output [hidden]; valid until the next call.
    /// - Throws: as `dispatch`.
    func combine(outputs: UnsafeMutablePointer<Float>) throws(FathomError) -> [[UnsafePointer<Float>]] {
        guard let (exchange, handle, expanded) = underway else {
            throw FathomError(.internal, "outputs without rows")
        }
        underway = nil
        let returned = TokenRows(base: UnsafeRawPointer(outputs), count: expanded.rowCount, stride: hiddenSize * 4)
        let chosen = ChosenRows(count: handle.tokenCount)
        try exchange.gatherChoices(returned, expanded: expanded, handle: handle) { token, rows in
            chosen.rows[token] = rows.map { $0.assumingMemoryBound(to: Float.self) }
        }
        return chosen.rows
    }

    /// Filled while a combine runs.
    private final class ChosenRows {
        var rows: [[UnsafePointer<Float>]]

        init(count: Int) { rows = Array(repeating: [], count: count) }
    }
}
