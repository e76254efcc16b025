// SPDX-License-Identifier: MIT

// SAFETY: In this file addresses are of whole rows that the caller keeps or that lie in slots of the shared region.

internal import CFathom
public import Platform
internal import Tensors

extension ExpertExchange {
    /// Returns a row for each choice, and sums them at the source alone, in top-k order, in floats, rounded once to
    /// BF16 (floats are not rounded).
    ///
    /// So the result does not depend on where experts are or how many ranks there are, bit for bit; it costs a row of
    /// traffic for each choice instead of one for each rank. Goes directly, over one hop.
    ///
    /// - Parameters:
    ///   - returned: `expanded.rowCount` rows in the format of the result; padding is not read.
    ///   - expanded: made from the tokens of `handle`'s dispatch.
    ///   - weighted: whether each row is multiplied by its choice's weight; the source's own, which need not travel.
    /// - Throws: `usage` for arguments that do not fit, `unavailable` naming a rank that is lost or does not come.
    public func combineChoices(
        _ returned: TokenRows, expanded: ExpandedTokens, handle: DispatchHandle, weighted: Bool
    ) throws(FathomError) -> CombinedTokens {
        try awaitBegun()
        return try performChoices(returned, expanded, handle, weighted: weighted, take: nil)
    }

    /// Returns a row for each choice, and hands them to `take`, for which the sum is whatever it wants: in the order of
    /// tokens, each token's in top-k order, as soon as all of them have come.
    ///
    /// Where `returnRows` holds every row that one rank returns to another, rows stay where they are until the next
    /// operation; else they are gone when `take` returns.
    ///
    /// - Parameters:
    ///   - returned: `expanded.rowCount` rows in the format of the result; padding is not read.
    ///   - expanded: made from the tokens of `handle`'s dispatch.
    ///   - take: a token and the rows of its choices that are not −1.
    /// - Throws: as `combineChoices`.
    public func gatherChoices(
        _ returned: TokenRows, expanded: ExpandedTokens, handle: DispatchHandle,
        take: @escaping (_ token: Int, _ rows: [UnsafeRawPointer]) -> Void
    ) throws(FathomError) {
        try awaitBegun()
        _ = try performChoices(returned, expanded, handle, weighted: false, take: take)
    }

    func performChoices(
        _ returned: TokenRows, _ expanded: ExpandedTokens, _ handle: DispatchHandle, weighted: Bool,
        take: ((Int, [UnsafeRawPointer]) -> Void)?
    ) throws(FathomError) -> CombinedTokens {
        var run: CombineRun
        do throws(FathomError) {
            run = try prepareChoices(returned, expanded, handle, weighted, take)
        } catch {
            fail(error)
            throw error
        }
        var plan = CombineProtocol.Plan(
            wiring: ExchangeWiring(placement: placement, rank: rank, twoHop: false), capacity: capacity,
            rowsOfSource: [], rowsOfKey: Array(repeating: 0, count: placement.rankCount), wanted: [[]],
            ownKeys: Lists(),
            otherNodes: Lists(repeatingEmpty: handle.tokenCount), recordsToNode: [0])
        plan.rowsOfSource = (0..<placement.rankCount).map { run.firstRow[$0 + 1] - run.firstRow[$0] }
        for token in 0..<handle.tokenCount {
            for expert in handle.selection.choices(of: token) where expert >= 0 {
                let key = placement.rank(ofExpert: Int(expert))
                plan.ownKeys.add(Int32(key))
                plan.rowsOfKey[key] += 1
            }
            plan.ownKeys.endList()
        }
        run.streams = streams(plan)
        plan.startsAtOnce = mayStartAtOnce(plan, handle)
        epoch += 1
        var machine = CombineProtocol(plan: plan, epoch: epoch)
        var weights: [Float]?
        try self.run(&machine, named: "combine") { (action, _) throws(FathomError) in
            perform(action, run, &weights)
            return nil
        }
        if run.streams { fathom_store_fence() }
        return CombinedTokens(rows: run.sums, weights: nil)
    }

    private func prepareChoices(
        _ returned: TokenRows, _ expanded: ExpandedTokens, _ handle: DispatchHandle, _ weighted: Bool,
        _ take: ((Int, [UnsafeRawPointer]) -> Void)?
    ) throws(FathomError) -> CombineRun {
        let tokens = handle.plan.rowsOfSource.reduce(0, +)
        guard expanded.rowOfChoice.count == tokens * topK, returned.count == expanded.rowCount else {
            throw FathomError(
                .usage,
                """
                rank \(rank): \(returned.count) rows for \(expanded.rowCount) expanded ones of \
                \(expanded.rowOfChoice.count / topK) tokens; \(tokens) tokens were received
                """)
        }
        guard capacity.returnRows >= topK else {
            throw FathomError(
                .usage, "rank \(rank): \(capacity.returnRows) return slots; a sum of top-\(topK) choices needs \(topK)")
        }
        guard !weighted || handle.selection.weights != nil else {
            throw FathomError(.usage, "rank \(rank): choices without weights cannot be weighted")
        }
        var order: [Int32] = []
        var firstRow = [0]
        var token = 0
        for count in handle.plan.rowsOfSource {
            order += expanded.rowOfChoice[token * topK..<(token + count) * topK].filter { $0 >= 0 }
            token += count
            firstRow.append(order.count)
        }
        return CombineRun(
            returned: returned, options: CombineOptions(), firstRow: firstRow,
            sums: try AlignedBuffer(
                count: take == nil ? handle.tokenCount * memory.returnDataBytes : 0, purpose: "combined tokens"),
            partial: try AlignedBuffer(count: memory.returnStride, purpose: "a sum on the way"), order: order,
            choiceWeights: (handle.selection, weighted), take: take)
    }

    /// Sums a token's choices, whose rows come in top-k order.
    func sumChoices(
        _ token: Int, _ rows: [UnsafeRawPointer], _ choices: (selection: TopKSelection, weighted: Bool),
        to out: UnsafeMutableRawPointer, streams: Bool
    ) {
        guard choices.weighted, let all = choices.selection.weights else {
            sum(rows, to: out, streams: streams)
            return
        }
        let weights = (0..<topK).filter { choices.selection.experts[token * topK + $0] >= 0 }
            .map { all[token * topK + $0] }
        let parts = Array(zip(rows, weights).map { (row: $0, weight: $1) })
        if memory.returnElementBytes == 4 {
            RowSum.weightedFloat32(parts, to: out, count: returnFormat.hidden, streams: streams)
        } else {
            RowSum.weightedBFloat16(parts, to: out, count: returnFormat.hidden, streams: streams)
        }
    }
}
